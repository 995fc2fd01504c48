//! `#! test: linear`: which products are written as linear layers.
//!
//! | expectation | meaning |
//! |---|---|
//! | `linear with %NAME` | below a value: it becomes the result of a linear layer with this weight, or of a `cond` that has such a layer in a branch |
//! | `no linear layer` | below `program`: nothing is rewritten |
//!
//! Whatever was decided, planned and interpreted runs must return bit for bit what the interpreter returns
//! where the weights are inputs, which no pass touches.

use crosslatch::ir::verify::verify;
use crosslatch::ir::{Arg, Graph, Node, Program};
use crosslatch::passes::linear::as_linear;

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::as_with_inputs_for_weights;
use crate::random::Random;

/// The pass that finds linear layers.
pub const PASS: Pass = Pass {
    name: "linear",
    options: &[],
    expectations: &["linear", "no linear layer"],
    least: 4,
    check,
};

/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 5;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let mut rewritten = program.clone();
    as_linear(&mut rewritten);
    verify(&rewritten).map_err(|e| e.to_string())?;
    let pairs = program.graph.nodes.iter().zip(&rewritten.graph.nodes);
    let mut is_rewritten = false;
    for (old, new) in pairs {
        for weight in weights(&rewritten.graph, old, new) {
            let name = &rewritten.graph.value(new.results[0]).name;
            decisions.value(name, format!("linear with %{weight}"))?;
            is_rewritten = true;
        }
    }
    if !is_rewritten {
        decisions.program("no linear layer".to_owned());
    }
    decisions.settle(mode)?;
    as_with_inputs_for_weights(program, &mut Random(7), ROWS)
}

/// The weights of the linear layers that a node has become, or has in its regions.
fn weights(graph: &Graph, old: &Node, new: &Node) -> Vec<String> {
    if old.op.schema.name != new.op.schema.name {
        let weight = new.args.get(1).into_iter().flat_map(Arg::values);
        return weight.map(|id| graph.value(id).name.clone()).collect();
    }
    let regions = old.regions.iter().zip(&new.regions);
    let inside = regions.flat_map(|(old, region)| {
        let nodes = old.nodes.iter().zip(&region.nodes);
        nodes.flat_map(|(old, new)| weights(region, old, new))
    });
    inside.collect()
}
