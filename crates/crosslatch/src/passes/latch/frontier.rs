//! Which fixed values to keep.
//!
//! What the rest of the program needs of the fixed part must be available at every step: kept, which
//! costs memory, or computed again, which costs work and needs its operands to be available. The
//! choice with the least total cost is a minimum cut. Every fixed node has an entry and an exit; what
//! lies on the sink's side is available at every step. An edge from the source to each entry has the
//! node's work as its capacity, an edge from the entry to the exit has the cost of keeping the
//! result, and edges that cannot be cut lead from the exit of an operand to the entry of its user and
//! from the last exits to the sink. If an exit is available and its entry is not, the value is kept.
//! Of several minimum cuts the one nearest to the users is taken, so that keys and values are kept in
//! the layout in which attention reads them.
//!
//! Sizes, tuples, values of weights alone (those belong to the program, not to a session) and copies
//! of an input are never kept.

use petgraph::algo::ford_fulkerson;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::ir::graph::{Program, ValueId};
use crate::ir::infer::Kind;

use crate::passes::costs::Cost;
use crate::passes::dependence::Fixed;

/// An edge that is never cut.
const UNCUT: u64 = u64::MAX / 4;

/// The values to keep.
pub struct Choice {
    /// Indices of nodes, in order; each has one result.
    pub kept: Vec<usize>,
    /// Nodes that depend on latched inputs and compute something, but are not kept, and why.
    pub left: Vec<(usize, &'static str)>,
}

/// Selects the values to keep.
pub fn choose(program: &Program, fixed: &Fixed, costs: &[Option<Cost>]) -> Choice {
    let nodes = &program.graph.nodes;
    let maker = makers(program);
    let mut network: DiGraph<(), u64> = DiGraph::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let gates: Vec<Option<[NodeIndex; 2]>> = (0..nodes.len())
        .map(|i| {
            fixed
                .node(i)
                .then(|| [network.add_node(()), network.add_node(())])
        })
        .collect();
    let reasons: Vec<Option<&'static str>> = (0..nodes.len())
        .map(|i| why_not(program, fixed, costs, &maker, i))
        .collect();
    let mut read_by_step = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let operands = node.operands().filter_map(|id| maker[id.index()]);
        let Some([entry, exit]) = gates[index] else {
            operands.for_each(|m| read_by_step[m] = true);
            continue;
        };
        let (work, bytes) = match (&costs[index], reasons[index]) {
            (Some(cost), None) => (cost.work, cost.keeping.unwrap_or(UNCUT)),
            (Some(cost), Some(_)) => (cost.work, UNCUT),
            (None, _) => (0, UNCUT),
        };
        network.add_edge(source, entry, work);
        network.add_edge(entry, exit, bytes);
        for operand in operands {
            if let Some([_, made]) = gates[operand] {
                network.add_edge(made, entry, UNCUT);
            }
        }
    }
    for id in program.graph.outputs.iter().flat_map(|arg| arg.values()) {
        if let Some(made) = maker[id.index()] {
            read_by_step[made] = true;
        }
    }
    for (index, gate) in gates.iter().enumerate() {
        if let (Some([_, exit]), true) = (gate, read_by_step[index]) {
            network.add_edge(*exit, sink, UNCUT);
        }
    }
    let available = sink_side(&network, source, sink);
    let mut choice = Choice {
        kept: Vec::new(),
        left: Vec::new(),
    };
    for (index, gate) in gates.iter().enumerate() {
        let Some([entry, exit]) = gate.map(|g| g.map(|n| available[n.index()])) else {
            continue;
        };
        if exit && !entry {
            choice.kept.push(index);
        } else if entry && fixed.is_latched(index) {
            let kind = costs[index].as_ref().map(|c| c.kind);
            if matches!(kind, None | Some(Kind::Compute { .. } | Kind::Copy)) {
                let why = reasons[index].unwrap_or("costs less than keeping it");
                choice.left.push((index, why));
            }
        }
    }
    choice
}

/// For each value, the node that defines it.
fn makers(program: &Program) -> Vec<Option<usize>> {
    let mut maker = vec![None; program.graph.values.len()];
    for (index, node) in program.graph.nodes.iter().enumerate() {
        for id in &node.results {
            maker[id.index()] = Some(index);
        }
    }
    maker
}

/// The reason why the value of a fixed node cannot be kept, or `None` if it can.
fn why_not(
    program: &Program,
    fixed: &Fixed,
    costs: &[Option<Cost>],
    maker: &[Option<usize>],
    index: usize,
) -> Option<&'static str> {
    let Some(cost) = &costs[index] else {
        return Some("its cost is not known");
    };
    if cost.keeping.is_none() {
        return Some("is not a single tensor");
    }
    if !fixed.is_latched(index) {
        return Some("depends on weights alone");
    }
    let is_view_or_copy = |i: usize| {
        let kind = costs[i].as_ref().map(|c| c.kind);
        matches!(kind, Some(Kind::View | Kind::Copy))
    };
    let mut node = index;
    while is_view_or_copy(node) {
        let operand: Option<ValueId> = program.graph.nodes[node].operands().next();
        match operand.and_then(|id| maker[id.index()]) {
            Some(made) => node = made,
            None => return Some("a copy of an input"),
        }
    }
    None
}

/// For each node of the network, whether it lies on the sink's side of the minimum cut that is nearest
/// to the sink: whether the sink can be reached from it in the residual network.
fn sink_side(network: &DiGraph<(), u64>, source: NodeIndex, sink: NodeIndex) -> Vec<bool> {
    let (_, flow) = ford_fulkerson(network, source, sink);
    let mut reaches = vec![false; network.node_count()];
    reaches[sink.index()] = true;
    let mut todo = vec![sink];
    while let Some(node) = todo.pop() {
        let edges = network.edge_references();
        for edge in edges {
            let used = flow[edge.id().index()];
            let from = if edge.target() == node && used < *edge.weight() {
                edge.source()
            } else if edge.source() == node && used > 0 {
                edge.target()
            } else {
                continue;
            };
            if !std::mem::replace(&mut reaches[from.index()], true) {
                todo.push(from);
            }
        }
    }
    reaches
}
