//! Views that are copies here.
//!
//! In PyTorch, a complex number's parts, and the bytes of a tensor as another type, are views. A tensor here has
//! elements of one type, so these operators copy. Nobody can tell, unless the tensor or its view is written
//! while the other is still read: such a program is refused.

use std::collections::HashSet;

use super::{Memory, memory};
use crate::ir::graph::{Arg, Graph, Node, ValueId};
use crate::ir::verify::label;

/// The operators whose result is a view in PyTorch and a copy here.
const COPIED: [&str; 7] = [
    "aten::view_as_complex",
    "aten::view_as_real",
    "aten::real",
    "aten::imag",
    "aten::conj",
    "aten::_conj",
    "aten::view.dtype",
];

/// Checks that nobody can tell the copies of a graph and of its regions from views.
///
/// # Errors
/// The reason, if somebody can.
pub fn check_copied_views(graph: &Graph) -> Result<(), String> {
    let regions = graph.nodes.iter().flat_map(|node| &node.regions);
    regions.into_iter().try_for_each(check_copied_views)?;
    let is_copied = |node: &Node| COPIED.contains(&node.op.schema.name.as_str());
    if !graph.nodes.iter().any(is_copied) {
        return Ok(());
    }
    let memory = memory(graph);
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, n)| is_copied(n)) {
        if is_told(graph, &memory, at, node) {
            return Err(format!(
                "{}: the tensor or this view of it is written while the other is still read; PyTorch's \
                 view shares memory, and Crosslatch's is a copy: write a clone",
                label(graph, node)
            ));
        }
    }
    Ok(())
}

/// Whether a write behind the node at this index is seen, or not seen, through its result.
fn is_told(graph: &Graph, memory: &Memory, at: usize, node: &Node) -> bool {
    let Some(base) = node.operands().next().map(|id| &memory.values[id.index()]) else {
        return false;
    };
    // The result and its views.
    let mut views: HashSet<ValueId> = node.results.iter().copied().collect();
    let mut was_written = false;
    for (i, later) in graph.nodes.iter().enumerate().skip(at + 1) {
        let uses = later.operands().any(|id| views.contains(&id));
        let writes = !memory.writes[i].is_disjoint(base);
        if uses && (writes || was_written) {
            return true;
        }
        was_written |= writes;
        for (result, id) in later.results.iter().enumerate() {
            let params = later.op.schema.aliased_by(result);
            let mut sources = params.flat_map(|param| later.args[param].values());
            let is_region = later.control().is_some() && uses;
            if is_region || sources.any(|id| views.contains(&id)) {
                views.insert(*id);
            }
        }
    }
    let mut returned = graph.outputs.iter().flat_map(Arg::values);
    was_written && returned.any(|id| views.contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Catalogue;
    use crate::ir::parse::parse;

    fn check(nodes: &str) -> Result<(), String> {
        let text = format!(
            "program m\ninput %x: f32[2, 2]\n%own: f32[2, 2] = aten::neg(self=%x)\n\
             %c: c64[2] = aten::view_as_complex(self=%own)\n{nodes}"
        );
        check_copied_views(&parse(&text, Catalogue::builtin()).unwrap().graph)
    }

    #[test]
    fn a_copy_is_no_view_if_one_of_the_two_is_written_while_the_other_is_read() {
        let write = "%w: f32[2, 2] = aten::relu_(self=%own)\n";
        let read = "%r: c64[2] = aten::mul.Tensor(self=%c, other=%c)\n";
        assert!(check(&format!("{write}{read}return \"r\"=%r")).is_err());
        assert!(check(&format!("{write}return \"c\"=%c")).is_err());
        assert!(check(&format!("{read}{write}return \"r\"=%r, \"w\"=%w")).is_ok());
        let through = "%z: c64[2] = aten::mul_.Tensor(self=%c, other=%c)\n";
        assert!(check(&format!("{through}return \"own\"=%own")).is_err());
    }
}
