//! What fixed nodes cost, for typical sizes.
//!
//! The numbers guide a choice and need not be exact, but the choice must not depend on the sizes of a
//! run: a value that is kept for one step must be the one that the next step needs. So a symbol
//! counts with its upper bound or, if it has none, with the usual length of a text.

use std::collections::HashMap;

use crate::ir::bind::Known;
use crate::ir::graph::{Program, Symbol, ValueId, ValueType};
use crate::ir::infer::{Kind, infer};

use super::dependence::Fixed;

/// The length for a symbol without an upper bound.
const USUAL_LENGTH: i64 = 1024;
/// Operations that a CPU does in the time of loading one byte from memory, within a small factor.
const OPERATIONS_PER_BYTE: u64 = 10;
/// How many bytes moved at every step outweigh one byte kept in the session. With two, a value that is
/// made of something much smaller, at hardly more than the cost of writing it, is not kept.
const COST_OF_KEPT_BYTE: u64 = 2;

/// The cost of one node.
pub struct Cost {
    /// What kind of work it is.
    pub kind: Kind,
    /// Cost of computing it: bytes moved, and operations converted to bytes.
    pub work: u64,
    /// Bytes of its results.
    pub made: u64,
    /// Cost of keeping its result, in the same unit; `None` if that is not a single tensor.
    pub keeping: Option<u64>,
    /// Whether the result is contiguous.
    pub contiguous: bool,
}

/// The cost of each fixed node; `None` for other nodes, and if it cannot be computed.
pub fn costs(program: &Program, fixed: &Fixed) -> Vec<Option<Cost>> {
    let graph = &program.graph;
    let sizes: HashMap<&str, i64> = program
        .symbols
        .iter()
        .map(|s| (s.name.as_str(), typical(s)))
        .collect();
    let mut known: Vec<Option<Known>> = vec![None; graph.values.len()];
    for id in &graph.inputs {
        if let ValueType::Tensor(ty) = &graph.value(*id).ty {
            let tensor = ty.with_sizes(&|name| sizes.get(name).copied());
            known[id.index()] = tensor.map(|(dtype, layout)| Known::Tensor(dtype, layout));
        }
    }
    let mut costs = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        if !fixed.node(index) {
            costs.push(None);
            continue;
        }
        let lookup = |id: ValueId| known[id.index()].clone();
        let Ok(inferred) = infer(node, &lookup) else {
            costs.push(None);
            continue;
        };
        let read: u64 = node.operands().filter_map(lookup).map(|k| bytes(&k)).sum();
        let made: u64 = inferred.results.iter().map(bytes).sum();
        let work = match inferred.kind {
            Kind::Known | Kind::View => 0,
            Kind::Copy => read + made,
            Kind::Compute { flops } => read + made + flops / OPERATIONS_PER_BYTE,
        };
        let single = match inferred.results.as_slice() {
            [Known::Tensor(_, layout)] => Some(layout.is_contiguous()),
            _ => None,
        };
        costs.push(Some(Cost {
            kind: inferred.kind,
            work,
            made,
            keeping: single.map(|_| made.saturating_mul(COST_OF_KEPT_BYTE)),
            contiguous: single == Some(true),
        }));
        for (id, result) in node.results.iter().zip(inferred.results) {
            known[id.index()] = Some(result);
        }
    }
    costs
}

fn typical(symbol: &Symbol) -> i64 {
    // What the tracer writes for "no bound" is far more than any memory.
    const BOUND: i64 = 1 << 31;
    symbol
        .max
        .filter(|max| *max < BOUND)
        .unwrap_or(USUAL_LENGTH.max(symbol.min))
}

fn bytes(known: &Known) -> u64 {
    match known {
        Known::Tensor(dtype, layout) => (layout.numel() * dtype.size()) as u64,
        Known::Number(_) => 0,
    }
}
