//! From the serialised program to IR.
//!
//! Names become indices, arguments are put in the order of the operator's schema and completed by its
//! defaults, and the graphs that `cond` and loops carry become regions. If the catalogue lacks operators, all
//! of them are reported at once.

use std::sync::Arc;

use super::arguments::{Names, argument, bind_args, control_args, tensor_type};
use super::schema::{
    Argument, ExportedProgram, Graph as FileGraph, Node as FileNode, OptionalTensor,
    RangeConstraint, SymArgument,
};
use super::signature::{output_names, outputs, slots};
use crate::error::{MissingCall, MissingOperators};
use crate::ir::catalogue::refusal;
use crate::ir::graph::{Arg, Graph, Node, Output, Program, Provenance, Symbol, ValueId, ValueType};
use crate::ir::{COND, Catalogue, SCAN, TooDeep, WHILE_LOOP};

/// Why a program cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Something in it is malformed or not supported.
    #[error("{0}")]
    Invalid(String),
    /// The catalogue lacks operators.
    #[error("{0}")]
    Missing(MissingOperators),
}

impl From<String> for ConvertError {
    fn from(reason: String) -> Self {
        ConvertError::Invalid(reason)
    }
}

/// A converted program and the payloads that its slots are bound to.
pub struct Converted {
    /// The program.
    pub program: Program,
    /// Name of the payload of each slot; `None` for inputs.
    pub payloads: Vec<Option<String>>,
}

/// Converts a program.
pub fn convert(
    name: &str,
    file: &ExportedProgram,
    catalogue: &Catalogue,
) -> Result<Converted, ConvertError> {
    let module = &file.graph_module;
    let mut converter = Converter {
        method: name,
        catalogue,
        missing: MissingOperators::default(),
        prefix: String::new(),
    };
    let (mut graph, names) = converter.graph(&module.graph, 0)?;
    let (slots, payloads) = slots(&module.signature.input_specs, &graph)?;
    let mut outputs = outputs(
        &module.signature.output_specs,
        &slots,
        &output_names(file),
        &graph,
        &names,
    )?;
    remove_what_is_no_tensor(&mut graph, &mut outputs);
    if !converter.missing.calls.is_empty() {
        return Err(ConvertError::Missing(converter.missing));
    }
    let symbols = file
        .range_constraints
        .iter()
        .map(|(name, range)| Symbol {
            name: name.clone(),
            min: smallest(range),
            max: range.max_val,
        })
        .collect();
    let mut program = Program {
        name: name.to_owned(),
        symbols,
        slots,
        graph,
        outputs,
    };
    crate::effects::mark_state(&mut program);
    Ok(Converted { program, payloads })
}

/// The smallest size that a symbol may be. PyTorch writes 2 for every size that it was not told to keep
/// above that, and runs such a program on sizes of 0 and 1 as well (`_check_input_constraints_for_graph`
/// in torch/_export/utils.py).
fn smallest(range: &RangeConstraint) -> i64 {
    match range.min_val {
        Some(min) if min > 2 => min,
        _ => 0,
    }
}

/// Removes results that are `None` or a text, which are the same for every run and no tensors. The others
/// keep their names.
fn remove_what_is_no_tensor(graph: &mut Graph, outputs: &mut Vec<Output>) {
    let all = outputs.drain(..).zip(graph.outputs.drain(..));
    let is_tensor = |(output, value): &(Output, Arg)| {
        let is_other = matches!(value, Arg::None | Arg::Str(_));
        !(is_other && matches!(output, Output::User(_)))
    };
    (*outputs, graph.outputs) = all
        .filter(is_tensor)
        .collect::<Vec<_>>()
        .into_iter()
        .unzip();
}

/// Operators that run a graph in their place.
const INLINED: [&str; 3] = [
    "higher_order::wrap_with_set_grad_enabled",
    "higher_order::wrap_with_autocast",
    "higher_order::invoke_subgraph",
];

pub(super) struct Converter<'c> {
    method: &'c str,
    catalogue: &'c Catalogue,
    missing: MissingOperators,
    /// What the names of values begin with, within a graph that is inlined.
    pub(super) prefix: String,
}

impl Converter<'_> {
    fn graph<'f>(
        &mut self,
        file: &'f FileGraph,
        nesting: usize,
    ) -> Result<(Graph, Names<'f>), ConvertError> {
        TooDeep::check(nesting).map_err(|e| format!("branches are {e}"))?;
        let mut graph = Graph::default();
        let mut names = Names::new();
        for input in &file.inputs {
            let id = match input {
                Argument::AsTensor(t) => self.define(&mut graph, &mut names, file, &t.name)?,
                Argument::AsSymInt(SymArgument::AsName(name)) => {
                    self.define_number(&mut graph, &mut names, name, ValueType::Int)?
                }
                // The exporter has made constants of such inputs; nothing reads them.
                _ => graph.add_value(format!("constant_{}", graph.values.len()), ValueType::Int),
            };
            graph.inputs.push(id);
        }
        for node in &file.nodes {
            self.node(node, file, &mut graph, &mut names, nesting)?;
        }
        graph.outputs = file
            .outputs
            .iter()
            .map(|a| argument(a, &names))
            .collect::<Result<_, _>>()?;
        Ok((graph, names))
    }

    pub(super) fn node<'f>(
        &mut self,
        node: &'f FileNode,
        file: &'f FileGraph,
        graph: &mut Graph,
        names: &mut Names<'f>,
        nesting: usize,
    ) -> Result<(), ConvertError> {
        let op_name = canonical_name(&node.target);
        let label = node_label(node);
        let within = |e: String| format!("node `{label}` ({op_name}): {e}");
        if INLINED.contains(&op_name.as_str()) {
            return self
                .inline(node, graph, names, nesting)
                .map_err(|e| match e {
                    ConvertError::Invalid(reason) => within(reason).into(),
                    missing => missing,
                });
        }
        let trace = node.metadata.get("stack_trace");
        let source = trace.and_then(|trace| source_line(trace));
        let mut regions = Vec::new();
        let op = self.catalogue.get(&op_name);
        let args = match op {
            Some(op) if [COND, WHILE_LOOP, SCAN].contains(&op_name.as_str()) => {
                for arg in &node.inputs {
                    if let Argument::AsGraph { graph, .. } = &arg.arg {
                        regions.push(self.graph(graph, nesting + 1)?.0);
                    }
                }
                control_args(op, node, names).map_err(within)?
            }
            Some(op) => bind_args(&op.schema, node, names).map_err(within)?,
            None => {
                self.missing.calls.push(MissingCall {
                    method: self.method.to_owned(),
                    operator: op_name.clone(),
                    node: label.to_owned(),
                    source: source.clone(),
                    reason: refusal(&op_name),
                });
                Vec::new()
            }
        };
        let mut results = Vec::new();
        for output in &node.outputs {
            match output {
                Argument::AsTensor(t) => results.push(self.define(graph, names, file, &t.name)?),
                Argument::AsTensors(list) => {
                    for t in list {
                        results.push(self.define(graph, names, file, &t.name)?);
                    }
                }
                Argument::AsOptionalTensor(OptionalTensor::AsTensor(t)) => {
                    results.push(self.define(graph, names, file, &t.name)?)
                }
                Argument::AsSymInt(SymArgument::AsName(name)) => {
                    results.push(self.define_number(graph, names, name, ValueType::Int)?)
                }
                Argument::AsSymFloat(SymArgument::AsName(name)) => {
                    results.push(self.define_number(graph, names, name, ValueType::Float)?)
                }
                Argument::AsSymBool(SymArgument::AsName(name)) => {
                    results.push(self.define_number(graph, names, name, ValueType::Bool)?)
                }
                Argument::AsNone(_) => {}
                other => {
                    return Err(within(format!("unsupported kind of result: {other:?}")).into());
                }
            }
        }
        if let Some(op) = op {
            if op.schema.renames()
                && let Some(Argument::AsTensor(operand)) = node.inputs.first().map(|a| &a.arg)
                && let Some(result) = results.first()
            {
                names.insert(&operand.name, *result);
            }
            graph.nodes.push(Node {
                op: op.clone(),
                args,
                regions,
                results,
                provenance: Provenance {
                    line: source.map(Arc::from),
                    module: module(node).map(Arc::from),
                },
            });
        }
        Ok(())
    }

    fn define<'f>(
        &self,
        graph: &mut Graph,
        names: &mut Names<'f>,
        file: &'f FileGraph,
        name: &'f str,
    ) -> Result<ValueId, String> {
        let meta = file
            .tensor_values
            .get(name)
            .ok_or_else(|| format!("the file does not describe the tensor `{name}`"))?;
        let ty = tensor_type(meta).map_err(|e| format!("tensor `{name}`: {e}"))?;
        let id = graph.add_value(format!("{}{name}", self.prefix), ValueType::Tensor(ty));
        insert(names, name, id)
    }

    fn define_number<'f>(
        &self,
        graph: &mut Graph,
        names: &mut Names<'f>,
        name: &'f str,
        ty: ValueType,
    ) -> Result<ValueId, String> {
        let id = graph.add_value(format!("{}{name}", self.prefix), ty);
        insert(names, name, id)
    }
}

fn insert<'f>(names: &mut Names<'f>, name: &'f str, id: ValueId) -> Result<ValueId, String> {
    match names.insert(name, id) {
        None => Ok(id),
        Some(_) => Err(format!("the name `{name}` is defined twice")),
    }
}

/// The name of an operator in the catalogue: `torch.ops.aten.add.Tensor` is `aten::add.Tensor`,
/// `.default` is left out, and Python's own functions on sizes are in the namespace `python`. A `map` is
/// a `scan` that carries nothing.
fn canonical_name(target: &str) -> String {
    if target == "torch.ops.higher_order.map_impl" {
        return SCAN.to_owned();
    }
    if let Some(rest) = target.strip_prefix("torch.ops.") {
        let mut parts = rest.splitn(3, '.');
        return match (parts.next(), parts.next(), parts.next()) {
            (Some(space), Some(name), None | Some("default")) => format!("{space}::{name}"),
            (Some(space), Some(name), Some(overload)) => format!("{space}::{name}.{overload}"),
            _ => target.to_owned(),
        };
    }
    for (prefix, replacement) in [
        ("_operator.", ""),
        ("operator.", ""),
        ("math.", "math_"),
        ("torch.", ""),
    ] {
        if let Some(name) = target.strip_prefix(prefix) {
            return format!("python::{replacement}{name}");
        }
    }
    target.to_owned()
}

fn node_label(node: &FileNode) -> &str {
    let first_output = node.outputs.first().and_then(|o| match o {
        Argument::AsTensor(t) => Some(t.name.as_str()),
        _ => None,
    });
    node.name
        .as_deref()
        .or(first_output)
        .unwrap_or(&node.target)
}

/// The innermost line of the model in the recorded stack. Code that a tracer has generated, in a file
/// called `<…>`, does not belong to the model.
fn source_line(trace: &str) -> Option<String> {
    let mut frames = trace.rsplit("File \"");
    let frame = frames.find(|frame| frame.contains("\", line ") && !frame.starts_with('<'))?;
    let mut lines = frame.lines();
    let (file, rest) = lines.next()?.split_once("\", line ")?;
    let number = rest.split(',').next()?;
    Some(match lines.next().map(str::trim) {
        Some(code) if !code.is_empty() => format!("{file}:{number}: {code}"),
        _ => format!("{file}:{number}"),
    })
}

/// The innermost module of the recorded stack: entries `key,path,class`, the outermost first.
fn module(node: &FileNode) -> Option<&str> {
    let stack = node.metadata.get("nn_module_stack")?;
    stack.rsplit(';').next()?.split(',').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_as_in_the_catalogue() {
        for (target, name) in [
            ("torch.ops.aten.add.Tensor", "aten::add.Tensor"),
            ("torch.ops.aten.linear.default", "aten::linear"),
            ("torch.ops.higher_order.cond", "higher_order::cond"),
            ("torch.ops.higher_order.map_impl", "higher_order::scan"),
            ("_operator.mul", "python::mul"),
            ("math.ceil", "python::math_ceil"),
            ("torch.sym_max", "python::sym_max"),
        ] {
            assert_eq!(canonical_name(target), name);
        }
    }

    #[test]
    fn a_node_comes_from_the_innermost_line_that_somebody_wrote() {
        let trace = "File \"model.py\", line 7, in forward\n    return self.attend(x)\n  \
            File \"attention.py\", line 12, in attend\n    y = cond(ready, a, b, (x,))\n  \
            File \"<generated>.3\", line 5, in forward\n    cond = torch.cond(l_x_)";
        let wanted = Some("attention.py:12: y = cond(ready, a, b, (x,))".to_owned());
        assert_eq!(source_line(trace), wanted);
        assert_eq!(
            source_line("File \"<generated>.3\", line 5, in f\n  x"),
            None
        );
        assert_eq!(source_line("no frame at all"), None);
    }
}
