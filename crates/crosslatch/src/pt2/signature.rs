//! The signature: which inputs and outputs of the graph are parameters or buffers, and which belong
//! to the caller.

use std::collections::HashSet;

use super::arguments::{Names, lookup};
use super::schema::{ExportedProgram, InputSpec, OutputSpec};
use crate::ir::TooDeep;
use crate::ir::graph::{Arg, Graph, Output, Slot, SlotKind};

/// Slots, and for each that is not an input the name of its payload.
pub(super) type SlotsAndPayloads = (Vec<Slot>, Vec<Option<String>>);

/// Makes a slot for each input of the graph.
pub(super) fn slots(specs: &[InputSpec], graph: &Graph) -> Result<SlotsAndPayloads, String> {
    if specs.len() != graph.inputs.len() {
        return Err("the signature and the graph have different numbers of inputs".into());
    }
    let mut slots = Vec::new();
    let mut payloads = Vec::new();
    for (spec, &input) in specs.iter().zip(&graph.inputs) {
        let (name, kind, payload) = match spec {
            InputSpec::UserInput { .. } | InputSpec::ConstantInput { .. } => {
                (graph.value(input).name.clone(), SlotKind::Input, None)
            }
            InputSpec::Parameter { parameter_name, .. } => (
                parameter_name.clone(),
                SlotKind::Weight,
                Some(parameter_name),
            ),
            InputSpec::Buffer { buffer_name, .. } => {
                (buffer_name.clone(), SlotKind::Weight, Some(buffer_name))
            }
            InputSpec::TensorConstant {
                tensor_constant_name,
                ..
            } => (
                tensor_constant_name.clone(),
                SlotKind::Weight,
                Some(tensor_constant_name),
            ),
            InputSpec::CustomObj(_) | InputSpec::Token(_) => {
                return Err("inputs that are objects or tokens are not supported".into());
            }
        };
        slots.push(Slot { name, kind });
        payloads.push(payload.cloned());
    }
    Ok((slots, payloads))
}

/// What each output of the graph is for.
pub(super) fn outputs(
    specs: &[OutputSpec],
    slots: &[Slot],
    user_names: &[String],
    graph: &Graph,
    names: &Names<'_>,
) -> Result<Vec<Output>, String> {
    if specs.len() != graph.outputs.len() {
        return Err("the signature and the graph have different numbers of outputs".into());
    }
    let slot = |name: &str| {
        slots
            .iter()
            .position(|s| s.name == name)
            .ok_or_else(|| format!("the signature writes `{name}`, which is not an input"))
    };
    let user_count = specs
        .iter()
        .filter(|s| {
            matches!(
                s,
                OutputSpec::UserOutput { .. } | OutputSpec::LossOutput { .. }
            )
        })
        .count();
    let mut user = 0;
    let mut seen = HashSet::new();
    let mut outputs = Vec::new();
    for (spec, value) in specs.iter().zip(&graph.outputs) {
        outputs.push(match spec {
            OutputSpec::UserOutput { .. } | OutputSpec::LossOutput { .. } => {
                let own = match value {
                    Arg::Value(id) => graph.value(*id).name.clone(),
                    _ => format!("output_{user}"),
                };
                let mut name = match user_names.get(user) {
                    Some(name) if user_names.len() == user_count => name.clone(),
                    _ => own,
                };
                user += 1;
                // A value that is returned twice has a number in its second name, so that both are
                // reachable.
                if !seen.insert(name.clone()) {
                    name = format!("{name}_{user}");
                    seen.insert(name.clone());
                }
                Output::User(name)
            }
            OutputSpec::BufferMutation { buffer_name, .. } => Output::Mutation {
                slot: slot(buffer_name)?,
            },
            OutputSpec::ParameterMutation { parameter_name, .. } => Output::Mutation {
                slot: slot(parameter_name)?,
            },
            OutputSpec::UserInputMutation {
                user_input_name, ..
            } => {
                // Inputs are named after their values.
                lookup(user_input_name, names)?;
                Output::Mutation {
                    slot: slot(user_input_name)?,
                }
            }
            OutputSpec::GradientToParameter(_)
            | OutputSpec::GradientToUserInput(_)
            | OutputSpec::Token(_) => {
                return Err("outputs that are gradients or tokens are not supported".into());
            }
        });
    }
    Ok(outputs)
}

/// The names of the results in what the model returned: the keys of a dictionary or of an output
/// class of transformers, joined by points where nested. Empty if the model returned something without
/// names.
pub(super) fn output_names(file: &ExportedProgram) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Tree {
        #[serde(rename = "type")]
        kind: Option<String>,
        context: Option<String>,
        children_spec: Vec<Tree>,
    }
    /// The keys of a dictionary or of an output class of transformers.
    fn keys(tree: &Tree) -> Vec<String> {
        let context = tree.context.as_deref().unwrap_or("null");
        let keys: Vec<String> = serde_json::from_str(context).unwrap_or_default();
        match keys.len() == tree.children_spec.len() {
            true => keys,
            false => Vec::new(),
        }
    }
    fn walk(tree: &Tree, prefix: &str, names: &mut Vec<String>, depth: usize) {
        if TooDeep::check(depth).is_err() {
            return;
        }
        if tree.kind.is_none() {
            names.push(prefix.to_owned());
            return;
        }
        let keys = keys(tree);
        for (i, child) in tree.children_spec.iter().enumerate() {
            let key = keys.get(i).cloned().unwrap_or_else(|| i.to_string());
            let path = match prefix {
                "" => key,
                _ => format!("{prefix}.{key}"),
            };
            walk(child, &path, names, depth + 1);
        }
    }
    let spec = file
        .graph_module
        .module_call_graph
        .first()
        .and_then(|call| call.signature.as_ref())
        .map(|s| s.out_spec.as_str());
    let tree = spec.and_then(|s| serde_json::from_str::<(i64, Tree)>(s).ok());
    match tree {
        Some((_, tree)) if tree.kind.is_some() && !keys(&tree).is_empty() => {
            let mut names = Vec::new();
            walk(&tree, "", &mut names, 0);
            names
        }
        _ => Vec::new(),
    }
}
