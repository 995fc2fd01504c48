//! Graphs that run in the place of the node that carries them.
//!
//! `torch.no_grad` and its like are nodes of an exported program: they run a graph while something is set
//! that means nothing to an engine which computes no gradients. The nodes of that graph are converted
//! into the graph around it. A graph has names of its own, so its values are named behind its name.

use super::arguments::{Names, argument, lookup};
use super::convert::{ConvertError, Converter};
use super::schema::{Argument, Node as FileNode, SymArgument};
use crate::ir::TooDeep;
use crate::ir::graph::{Arg, Graph};

impl Converter<'_> {
    /// Converts the nodes of the graph that a node carries.
    pub(super) fn inline<'f>(
        &mut self,
        node: &'f FileNode,
        graph: &mut Graph,
        names: &mut Names<'f>,
        nesting: usize,
    ) -> Result<(), ConvertError> {
        TooDeep::check(nesting + 1).map_err(|e| format!("branches are {e}"))?;
        let is_graph = |argument: &Argument| matches!(argument, Argument::AsGraph { .. });
        let args = || node.inputs.iter().map(|input| &input.arg);
        let at = args()
            .position(is_graph)
            .ok_or("it carries no graph".to_owned())?;
        let Argument::AsGraph { graph: inner, name } = &node.inputs[at].arg else {
            unreachable!("found as a graph")
        };
        if node.target.ends_with("wrap_with_autocast") {
            check_autocast(&node.inputs[..at].iter().map(|i| &i.arg).collect::<Vec<_>>())?;
        }
        let mut own = Names::new();
        let is_text = |argument: &&Argument| matches!(argument, Argument::AsString(_));
        let operands = args().skip(at + 1).filter(|argument| !is_text(argument));
        for (input, operand) in inner.inputs.iter().zip(operands) {
            let name = match input {
                Argument::AsTensor(tensor) => &tensor.name,
                Argument::AsSymInt(SymArgument::AsName(name)) => name,
                _ => {
                    return Err("its graph takes something that is no value"
                        .to_owned()
                        .into());
                }
            };
            match argument(operand, names)? {
                Arg::Value(id) => own.insert(name, id),
                _ => return Err("it is given something that is no value".to_owned().into()),
            };
        }
        let outer = self.prefix.len();
        self.prefix.push_str(&format!("{name}."));
        let converted = inner
            .nodes
            .iter()
            .try_for_each(|node| self.node(node, inner, graph, &mut own, nesting + 1));
        self.prefix.truncate(outer);
        converted?;
        let mut returned = inner.outputs.iter().flat_map(values);
        for output in node.outputs.iter().flat_map(values) {
            let missing = || "its graph does not return all its results".to_owned();
            let inner = returned.next().ok_or_else(missing)?;
            names.insert(output, lookup(inner, &own)?);
        }
        Ok(())
    }
}

/// The names of the values of a result: tensors and sizes.
fn values(output: &Argument) -> Vec<&str> {
    match output {
        Argument::AsTensor(tensor) => vec![&tensor.name],
        Argument::AsTensors(list) => list.iter().map(|tensor| tensor.name.as_str()).collect(),
        Argument::AsSymInt(SymArgument::AsName(name))
        | Argument::AsSymFloat(SymArgument::AsName(name))
        | Argument::AsSymBool(SymArgument::AsName(name)) => vec![name],
        _ => Vec::new(),
    }
}

/// Refuses a graph that runs in another type than its nodes say: `(device, type, enabled, …)`.
fn check_autocast(settings: &[&Argument]) -> Result<(), String> {
    match settings.get(2) {
        Some(Argument::AsBool(false)) => Ok(()),
        _ if matches!(settings.first(), Some(Argument::AsString(device)) if device != "cpu") => Ok(()),
        _ => Err(
            "it casts automatically (torch.autocast), which the nodes do not say; export without it, \
             or after run_decompositions()"
                .to_owned(),
        ),
    }
}
