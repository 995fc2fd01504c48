//! Which segment each node runs in.

use std::collections::HashSet;

use super::is_item;
use crate::ir::graph::{Arg, Graph, Node, ValueType};

/// The nodes of each segment, by index, in the order in which they run. One segment if there is nothing
/// to cut.
pub(super) fn schedule(graph: &Graph) -> Vec<Vec<usize>> {
    let mut segments = vec![Vec::new()];
    // Numbers that the segment at hand makes, so that only the next one can use them.
    let mut late = HashSet::new();
    let mut waiting: Vec<usize> = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let is_late = node.operands().any(|id| late.contains(&id));
        if is_late && is_about_numbers(graph, node) {
            waiting.push(i);
            late.extend(node.results.iter().copied());
            continue;
        }
        if is_late {
            segments.push(std::mem::take(&mut waiting));
            late.clear();
        }
        if let Some(segment) = segments.last_mut() {
            segment.push(i);
        }
        if is_item(node) {
            late.extend(node.results.iter().copied());
        }
    }
    let is_assertion = |i: &usize| graph.nodes[*i].results.is_empty();
    let mut returned = graph.outputs.iter().flat_map(Arg::values);
    if waiting.iter().any(is_assertion) || returned.any(|id| late.contains(&id)) {
        segments.push(waiting);
    }
    segments
}

/// Whether a node computes with numbers or asserts something about them, and touches no memory.
fn is_about_numbers(graph: &Graph, node: &Node) -> bool {
    let is_number = |id| !matches!(graph.value(id).ty, ValueType::Tensor(_));
    node.regions.is_empty()
        && node.operands().all(is_number)
        && node.results.iter().copied().all(is_number)
}
