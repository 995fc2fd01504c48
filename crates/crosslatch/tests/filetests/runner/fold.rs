//! `#! test: fold`: what is made of quantized weights when a program is loaded.
//!
//! | expectation | meaning |
//! |---|---|
//! | `computed when loaded` | below a value: it is a weight of the loaded program |
//! | `nothing is computed when loaded` | below `program` |
//!
//! Whatever was decided, planned and interpreted runs must return bit for bit what the interpreter returns
//! where the weights are inputs, which no pass touches.

use crosslatch::ir::Program;
use crosslatch::ir::verify::verify;
use crosslatch::passes::fold::fold;

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::as_with_inputs_for_weights;
use crate::random::Random;

/// The pass that computes what is made of quantized weights.
pub const PASS: Pass = Pass {
    name: "fold",
    options: &[],
    expectations: &["computed when loaded", "nothing is computed when loaded"],
    least: 4,
    check,
};

/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 5;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let folded = fold(&program);
    if let Some(folded) = &folded {
        verify(&folded.rest.program).map_err(|e| e.to_string())?;
        for kept in &folded.kept {
            let name = &program.graph.value(kept.id).name;
            decisions.value(name, "computed when loaded".to_owned())?;
        }
    } else {
        decisions.program("nothing is computed when loaded".to_owned());
    }
    decisions.settle(mode)?;
    as_with_inputs_for_weights(program, &mut Random(7), ROWS)
}
