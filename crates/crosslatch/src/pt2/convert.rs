//! From the serialised program to IR.
//!
//! Names become indices, arguments are put in the order of the operator's schema and completed by
//! its defaults, branches of `cond` become graphs of their own. Operators that the catalogue does
//! not have are collected, all of them, before anything is reported.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crosslatch_kernels::DType;

use super::schema::{
    Argument, ExportedProgram, Graph as FileGraph, InputSpec, Node as FileNode, OptionalTensor,
    OutputSpec, SymArgument, SymInt, TensorMeta,
};
use crate::error::MissingOperators;
use crate::ir::graph::{
    Arg, Graph, Node, Output, Program, Slot, SlotKind, Symbol, TensorType, ValueId, ValueType,
};
use crate::ir::schema::Schema;
use crate::ir::{Operator, Size};
use crate::ops::{COND, Catalogue};

/// Why a program could not be converted.
#[derive(Debug)]
pub enum ConvertError {
    /// Something is malformed or not supported.
    Reason(String),
    /// Operators are missing.
    Missing(MissingOperators),
}

impl From<String> for ConvertError {
    fn from(reason: String) -> Self {
        ConvertError::Reason(reason)
    }
}

/// A converted program, and for each slot that is not an input the name of its payload.
pub struct Converted {
    /// The program.
    pub program: Program,
    /// Name of the payload of each slot; `None` for inputs.
    pub payloads: Vec<Option<String>>,
}

/// Nesting of `cond` beyond this is refused: no exporter writes it, a hostile file might.
const MAX_NESTING: usize = 32;

/// Converts a program.
pub fn convert(
    name: &str,
    file: &ExportedProgram,
    catalogue: &Catalogue,
) -> Result<Converted, ConvertError> {
    let module = &file.graph_module;
    let mut converter = Converter {
        catalogue,
        missing: MissingOperators::default(),
    };
    let (graph, names) = converter.graph(&module.graph, 0)?;
    let (slots, payloads) = slots(&module.signature.input_specs, &graph)?;
    let outputs = outputs(
        &module.signature.output_specs,
        &slots,
        &output_names(file),
        &graph,
        &names,
    )?;
    if !converter.missing.calls.is_empty() {
        return Err(ConvertError::Missing(converter.missing));
    }
    let symbols = file
        .range_constraints
        .iter()
        .map(|(name, range)| Symbol {
            name: name.clone(),
            min: range.min_val.unwrap_or(0).max(0),
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

/// The element type with this number in the file.
pub fn dtype_of(number: i64) -> Result<DType, String> {
    Ok(match number {
        1 => DType::U8,
        2 => DType::I8,
        3 => DType::I16,
        4 => DType::I32,
        5 => DType::I64,
        6 => DType::F16,
        7 => DType::F32,
        8 => DType::F64,
        12 => DType::Bool,
        13 => DType::BF16,
        _ => {
            return Err(format!(
                "element type {number} of the file is not supported"
            ));
        }
    })
}

type Names<'f> = HashMap<&'f str, ValueId>;

struct Converter<'c> {
    catalogue: &'c Catalogue,
    missing: MissingOperators,
}

impl Converter<'_> {
    fn graph<'f>(
        &mut self,
        file: &'f FileGraph,
        nesting: usize,
    ) -> Result<(Graph, Names<'f>), ConvertError> {
        if nesting > MAX_NESTING {
            return Err("branches are nested too deeply".to_owned().into());
        }
        let mut graph = Graph::default();
        let mut names = Names::new();
        for input in &file.inputs {
            let id = match input {
                Argument::AsTensor(t) => define(&mut graph, &mut names, file, &t.name)?,
                Argument::AsSymInt(SymArgument::AsName(name)) => {
                    define_number(&mut graph, &mut names, name, ValueType::Int)?
                }
                // Constants among the inputs were burnt into the graph by the exporter.
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

    fn node<'f>(
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
        let source = source_line(node);
        let mut branches = Vec::new();
        let op = self.catalogue.get(&op_name);
        let args = match op {
            Some(op) if op_name == COND => {
                for arg in &node.inputs {
                    if let Argument::AsGraph { graph } = &arg.arg {
                        branches.push(self.graph(graph, nesting + 1)?.0);
                    }
                }
                cond_args(op, node, names).map_err(within)?
            }
            Some(op) => bind_args(&op.schema, node, names).map_err(within)?,
            None => {
                self.missing
                    .calls
                    .push((op_name.clone(), label.to_owned(), source.clone()));
                Vec::new()
            }
        };
        let mut results = Vec::new();
        for output in &node.outputs {
            match output {
                Argument::AsTensor(t) => results.push(define(graph, names, file, &t.name)?),
                Argument::AsTensors(list) => {
                    for t in list {
                        results.push(define(graph, names, file, &t.name)?);
                    }
                }
                Argument::AsOptionalTensor(OptionalTensor::AsTensor(t)) => {
                    results.push(define(graph, names, file, &t.name)?)
                }
                Argument::AsSymInt(SymArgument::AsName(name)) => {
                    results.push(define_number(graph, names, name, ValueType::Int)?)
                }
                Argument::AsSymFloat(SymArgument::AsName(name)) => {
                    results.push(define_number(graph, names, name, ValueType::Float)?)
                }
                Argument::AsSymBool(SymArgument::AsName(name)) => {
                    results.push(define_number(graph, names, name, ValueType::Bool)?)
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
                branches,
                results,
                source: source.map(Arc::from),
            });
        }
        Ok(())
    }
}

fn define<'f>(
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
    let id = graph.add_value(name, ValueType::Tensor(ty));
    insert(names, name, id)
}

fn define_number<'f>(
    graph: &mut Graph,
    names: &mut Names<'f>,
    name: &'f str,
    ty: ValueType,
) -> Result<ValueId, String> {
    let id = graph.add_value(name, ty);
    insert(names, name, id)
}

fn insert<'f>(names: &mut Names<'f>, name: &'f str, id: ValueId) -> Result<ValueId, String> {
    match names.insert(name, id) {
        None => Ok(id),
        Some(_) => Err(format!("the name `{name}` is defined twice")),
    }
}

fn tensor_type(meta: &TensorMeta) -> Result<TensorType, String> {
    let sizes = meta
        .sizes
        .iter()
        .map(|s| match s {
            SymInt::AsInt(i) if *i >= 0 => Ok(Size::Const(*i)),
            SymInt::AsInt(i) => Err(format!("negative size {i}")),
            SymInt::AsExpr { expr_str } => Size::parse(expr_str).map_err(|e| e.to_string()),
        })
        .collect::<Result<_, _>>()?;
    Ok(TensorType {
        dtype: dtype_of(meta.dtype)?,
        sizes,
    })
}

/// `torch.ops.aten.add.Tensor` is `aten::add.Tensor` here, `.default` is left out; Python's own
/// functions on sizes get the namespace `python`.
fn canonical_name(target: &str) -> String {
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

/// The innermost line of the model in the recorded stack.
fn source_line(node: &FileNode) -> Option<String> {
    let trace = node.metadata.get("stack_trace")?;
    let at = trace.rfind("File \"")?;
    let mut lines = trace[at..].lines();
    let place = lines.next()?.strip_prefix("File \"")?;
    let (file, rest) = place.split_once("\", line ")?;
    let number = rest.split(',').next()?;
    Some(match lines.next().map(str::trim) {
        Some(code) if !code.is_empty() => format!("{file}:{number}: {code}"),
        _ => format!("{file}:{number}"),
    })
}

fn lookup(name: &str, names: &Names<'_>) -> Result<ValueId, String> {
    names
        .get(name)
        .copied()
        .ok_or_else(|| format!("`{name}` is used but not defined before"))
}

fn symbolic(sym: &SymArgument, names: &Names<'_>) -> Result<Arg, String> {
    Ok(match sym {
        SymArgument::AsName(name) => Arg::Value(lookup(name, names)?),
        SymArgument::AsInt(i) => Arg::Int(*i),
        SymArgument::AsFloat(x) => Arg::Float(x.0),
        SymArgument::AsBool(b) => Arg::Bool(*b),
    })
}

fn argument(arg: &Argument, names: &Names<'_>) -> Result<Arg, String> {
    let optional = |t: &OptionalTensor| match t {
        OptionalTensor::AsTensor(t) => lookup(&t.name, names).map(Some),
        OptionalTensor::AsNone(_) => Ok(None),
    };
    Ok(match arg {
        Argument::AsNone(_) => Arg::None,
        Argument::AsTensor(t) => Arg::Value(lookup(&t.name, names)?),
        Argument::AsOptionalTensor(t) => optional(t)?.map_or(Arg::None, Arg::Value),
        Argument::AsTensors(list) => Arg::Values(
            list.iter()
                .map(|t| lookup(&t.name, names).map(Some))
                .collect::<Result<_, _>>()?,
        ),
        Argument::AsOptionalTensors(list) => {
            Arg::Values(list.iter().map(optional).collect::<Result<_, _>>()?)
        }
        Argument::AsInt(i) => Arg::Int(*i),
        Argument::AsInts(list) => Arg::Ints(list.iter().copied().map(Arg::Int).collect()),
        Argument::AsBools(list) => Arg::Ints(list.iter().map(|b| Arg::Int(*b as i64)).collect()),
        Argument::AsFloat(x) => Arg::Float(x.0),
        Argument::AsBool(b) => Arg::Bool(*b),
        Argument::AsString(s) => Arg::Str(s.clone()),
        Argument::AsSymInt(s) | Argument::AsSymBool(s) | Argument::AsSymFloat(s) => {
            symbolic(s, names)?
        }
        Argument::AsSymInts(list) => Arg::Ints(
            list.iter()
                .map(|s| symbolic(s, names))
                .collect::<Result<_, _>>()?,
        ),
        Argument::AsScalarType(t) => Arg::DType(dtype_of(*t)?),
        Argument::AsMemoryFormat(_) | Argument::AsLayout(_) | Argument::AsDevice(_) => Arg::None,
        Argument::AsFloats(_) | Argument::AsGraph { .. } | Argument::Other(_) => {
            return Err(format!("unsupported kind of argument: {arg:?}"));
        }
    })
}

/// Puts arguments in the order of the schema and fills in defaults.
fn bind_args(schema: &Schema, node: &FileNode, names: &Names<'_>) -> Result<Vec<Arg>, String> {
    let mut args: Vec<Option<Arg>> = vec![None; schema.params.len()];
    for (i, given) in node.inputs.iter().enumerate() {
        let position = if given.name.is_empty() {
            (i < args.len()).then_some(i)
        } else {
            schema.position(&given.name)
        };
        let position =
            position.ok_or_else(|| format!("the operator has no argument `{}`", given.name))?;
        args[position] = Some(argument(&given.arg, names)?);
    }
    args.into_iter()
        .zip(&schema.params)
        .map(|(arg, param)| {
            arg.or_else(|| param.default.clone())
                .or_else(|| param.optional.then_some(Arg::None))
                .ok_or_else(|| format!("argument `{}` is missing", param.name))
        })
        .collect()
}

/// `cond(predicate, graph, graph, operands)`: the graphs are kept apart from the arguments.
fn cond_args(op: &Operator, node: &FileNode, names: &Names<'_>) -> Result<Vec<Arg>, String> {
    let mut args = Vec::new();
    let mut graphs = 0;
    for given in &node.inputs {
        match &given.arg {
            Argument::AsGraph { .. } => graphs += 1,
            other => args.push(argument(other, names)?),
        }
    }
    // An empty list of operands has no element that would tell its type.
    if let Some(operands @ Arg::Ints(_)) = args.get_mut(1)
        && matches!(operands, Arg::Ints(list) if list.is_empty())
    {
        *operands = Arg::Values(Vec::new());
    }
    if graphs != 2 || args.len() != op.schema.params.len() {
        return Err("is not a predicate, two branches and a list of operands".into());
    }
    Ok(args)
}

type SlotsAndPayloads = (Vec<Slot>, Vec<Option<String>>);

fn slots(specs: &[InputSpec], graph: &Graph) -> Result<SlotsAndPayloads, String> {
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

fn outputs(
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
            .ok_or_else(|| format!("the signature writes `{name}`, which is no input"))
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
                // One value returned twice: both are reachable, the second with a number.
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
                // Inputs are named after their value.
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

/// Names of the results as the model returned them: keys of a dictionary, dotted where nested.
/// Empty where the model returned something without names.
fn output_names(file: &ExportedProgram) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Tree {
        #[serde(rename = "type")]
        kind: Option<String>,
        context: Option<String>,
        children_spec: Vec<Tree>,
    }
    fn walk(tree: &Tree, prefix: &str, names: &mut Vec<String>, depth: usize) {
        if depth > MAX_NESTING {
            return;
        }
        let Some(kind) = &tree.kind else {
            names.push(prefix.to_owned());
            return;
        };
        let context = tree.context.as_deref().unwrap_or("null");
        let keys: Vec<String> = match kind.as_str() {
            "builtins.dict" | "collections.OrderedDict" => {
                serde_json::from_str(context).unwrap_or_default()
            }
            _ => Vec::new(),
        };
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
        Some((_, tree)) if tree.kind.as_deref() == Some("builtins.dict") => {
            let mut names = Vec::new();
            walk(&tree, "", &mut names, 0);
            names
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_get_short_names() {
        for (target, name) in [
            ("torch.ops.aten.add.Tensor", "aten::add.Tensor"),
            ("torch.ops.aten.linear.default", "aten::linear"),
            ("torch.ops.higher_order.cond", "higher_order::cond"),
            ("_operator.mul", "python::mul"),
            ("math.ceil", "python::math_ceil"),
            ("torch.sym_max", "python::sym_max"),
        ] {
            assert_eq!(canonical_name(target), name);
        }
    }
}
