//! Segments: programs whose sizes depend on the contents of their tensors.
//!
//! Problem. `item()` makes a number of a tensor's contents. A number may be a size, an index or a choice of
//! code, and a plan is made for sizes that are known: such a program cannot be planned before it runs.
//!
//! Idea. The program is cut where a number is first needed. What comes before is a program of its own, a
//! *segment*, that can be planned, and so is what comes after, once the number is known. A session runs the
//! segments in order; the plan of each is for the sizes of its inputs and for its numbers, and is kept like any
//! other, so that numbers which return cost nothing. Operators whose results have as many rows as a tensor
//! has true elements (`nonzero`, an index that is a mask) are written as the count, its `item()`, and an
//! operator that is told the size ([`expand()`]).
//!
//! `schedule` distributes the nodes: in their order, except that arithmetic on numbers and assertions about
//! them wait for the segment that knows the numbers, so that several numbers need one cut. `split` makes the
//! programs, and decides how each value gets across a cut without a change of meaning. State is not
//! carried across: all segments work on the state of the session. The reference interpreter knows nothing of
//! this; it runs the program as a whole, and reads numbers where they are.

mod expand;
mod schedule;
mod split;

use std::collections::HashSet;

use crate::ir::graph::{Arg, Graph, Node, Program, ValueType};

use super::part::Part;

pub use expand::expand;

/// The operators that make a number of the one element of a tensor.
const ITEMS: [&str; 2] = ["aten::item", "aten::_local_scalar_dense"];

/// Whether a node makes a number of a tensor's contents.
pub fn is_item(node: &Node) -> bool {
    ITEMS.contains(&node.op.schema.name.as_str())
}

/// The most segments: each has all slots of the program, so that their sizes grow with the square of the
/// number of cuts.
const MOST_SEGMENTS: usize = 256;

/// Why a program cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node at which it would be.
    pub node: String,
    /// The reason.
    pub reason: String,
}

/// The segments of a program, in order; `None` if no plan needs a number of a tensor's contents. The last
/// one takes the inputs and returns the outputs of the program. Each of the others returns what those behind
/// it need: a slot that [is fed by a segment](crate::ir::SlotKind::Segment) has the name of an output of an
/// earlier one. The slots of each begin with those of the one before.
///
/// # Errors
/// If a value that has to get across a cut may be memory which is written behind it, or there are too many
/// cuts.
pub fn segments(program: &Program) -> Result<Option<Vec<Part>>, Refusal> {
    let schedule = schedule::schedule(&program.graph);
    match schedule.len() {
        0 | 1 => Ok(None),
        count if count > MOST_SEGMENTS => Err(Refusal {
            node: "segments".to_owned(),
            reason: format!(
                "numbers that are made of tensors' contents would cut the program into {count} pieces; \
                 {MOST_SEGMENTS} is the most"
            ),
        }),
        _ => split::split(program, &schedule).map(Some),
    }
}

/// Removes the numbers of contents that nothing reads, in a graph and its regions. Tracers leave them behind
/// where a model looked at a tensor and the trace did not depend on what it saw.
pub fn remove_unread_items(graph: &mut Graph) {
    for node in &mut graph.nodes {
        node.regions.iter_mut().for_each(remove_unread_items);
    }
    if !graph.nodes.iter().any(is_item) {
        return;
    }
    let mut read: HashSet<_> = graph.outputs.iter().flat_map(Arg::values).collect();
    let is_number = |graph: &Graph, node: &Node| {
        let mut results = node.results.iter();
        !node.results.is_empty()
            && results.all(|id| !matches!(graph.value(*id).ty, ValueType::Tensor(_)))
    };
    let mut keep = vec![true; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        keep[i] = !is_number(graph, node) || node.results.iter().any(|id| read.contains(id));
        if keep[i] {
            read.extend(node.operands());
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
}
