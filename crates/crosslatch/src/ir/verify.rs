//! The rules of the IR.
//!
//! Whoever builds or rewrites a program must keep them, and may rely on them: a value is defined once
//! and before it is used, arguments have the types that the schema asks for, the regions of a control
//! operator fit its operands and results, and the outputs fit the signature.

use std::collections::HashSet;

use super::arg::{Arg, ValueId};
use super::control::{Control, Entry};
use super::graph::{Graph, Node, Output, Program, SlotKind, ValueType};
use super::nesting::TooDeep;
use super::schema::ArgType;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is not one slot for each input of the graph.
    #[error("the numbers of slots and of inputs differ")]
    SlotCount,
    /// The signature does not list each output of the graph.
    #[error("the numbers of outputs in the signature and in the graph differ")]
    OutputCount,
    /// An output becomes the contents of a slot that no run may change.
    #[error("slot `{0}` is written but is not state")]
    WrittenSlot(String),
    /// An output that is stored is not a value, or the slot does not exist.
    #[error("an output is stored to a slot that does not exist, or is not a value")]
    StoredOutput,
    /// Two inputs or two outputs have one name.
    #[error("two {kind} are called `{name}`")]
    DuplicateName {
        /// "inputs" or "outputs".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// An input is a number and the graph reads it.
    #[error("input `{0}` is a number; export it as a tensor or as a constant")]
    NumberInput(String),
    /// The contents of a slot do not fit it.
    #[error("{0}")]
    Contents(String),
    /// Regions are nested too deep.
    #[error("branches are {0}")]
    TooDeep(#[from] TooDeep),
    /// A value is defined more than once.
    #[error("`{0}` is defined twice")]
    DefinedTwice(String),
    /// A definition refers to a value that the graph does not have.
    #[error("a value that does not exist is defined")]
    UnknownValue,
    /// An output of a graph is not defined in it.
    #[error("an output is not defined")]
    UndefinedOutput,
    /// A node breaks a rule.
    #[error("{node}: {rule}")]
    Node {
        /// The node, by its first result and its operator.
        node: String,
        /// The rule.
        rule: NodeRule,
    },
}

/// A rule that a node breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeRule {
    /// An argument is not defined before the node.
    #[error("an argument is used but not defined before")]
    UndefinedArgument,
    /// There is not one argument for each of the schema.
    #[error("the number of arguments is wrong")]
    ArgumentCount,
    /// An argument is not of the type that the schema asks for.
    #[error("argument `{0}` has the wrong type")]
    ArgumentType(String),
    /// The node names more results than the operator has.
    #[error("there are too many results")]
    ResultCount,
    /// What the operator returns as a number is declared as a tensor.
    #[error("a number is declared as a tensor")]
    NumberAsTensor,
    /// The operands of a control operator are not lists of values.
    #[error("the operands are not lists")]
    Operands,
    /// A control operator does not have as many graphs as it runs.
    #[error("it needs {0} graphs")]
    RegionCount(usize),
    /// A region has other inputs than its operator gives it, by number or type.
    #[error("the inputs of a branch or body do not match the operands")]
    RegionInputs,
    /// A region does not return what its operator asks for.
    #[error("the outputs of a branch or body do not match the results")]
    RegionOutputs,
    /// A region returns something other than a value.
    #[error("a branch or body returns something that is not a value")]
    RegionOutputKind,
    /// A loop carries a number, which a plan would have to know before it runs.
    #[error("it carries a number from turn to turn; carry a tensor with one element instead")]
    CarriedNumber,
}

/// Checks that no region is nested too deep. Recursive walks rely on it; this walk is not recursive.
pub fn verify_depth(graph: &Graph) -> Result<(), VerifyError> {
    let mut open = vec![(graph, 0)];
    while let Some((graph, depth)) = open.pop() {
        TooDeep::check(depth)?;
        let regions = graph.nodes.iter().flat_map(|node| &node.regions);
        open.extend(regions.map(|region| (region, depth + 1)));
    }
    Ok(())
}

/// Checks a program.
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    let graph = &program.graph;
    if program.slots.len() != graph.inputs.len() {
        return Err(VerifyError::SlotCount);
    }
    if program.outputs.len() != graph.outputs.len() {
        return Err(VerifyError::OutputCount);
    }
    for (output, value) in program.outputs.iter().zip(&graph.outputs) {
        let Output::Mutation { slot } = output else {
            continue;
        };
        match program.slots.get(*slot) {
            Some(s)
                if matches!(
                    s.kind,
                    SlotKind::Weight | SlotKind::Latched | SlotKind::Segment
                ) =>
            {
                return Err(VerifyError::WrittenSlot(s.name.clone()));
            }
            Some(_) if matches!(value, Arg::Value(_)) => {}
            _ => return Err(VerifyError::StoredOutput),
        }
    }
    verify_depth(graph)?;
    verify_graph(graph)?;
    verify_names(program)?;
    verify_inputs(program)
}

/// Checks that names are unique, because inputs are given and outputs are read by name.
fn verify_names(program: &Program) -> Result<(), VerifyError> {
    let outputs = program.outputs.iter().filter_map(|output| match output {
        Output::User(name) => Some(name.as_str()),
        Output::Mutation { .. } => None,
    });
    let inputs = program.slots.iter().filter(|s| s.kind == SlotKind::Input);
    for (kind, names) in [
        ("outputs", outputs.collect::<Vec<_>>()),
        ("inputs", inputs.map(|s| s.name.as_str()).collect()),
    ] {
        let mut seen = HashSet::new();
        if let Some(name) = names.into_iter().find(|name| !seen.insert(*name)) {
            return Err(VerifyError::DuplicateName {
                kind,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Checks that inputs are tensors, except what an earlier segment computes. An exporter also lists numbers
/// that it has made constants of the graph, but nothing reads those.
fn verify_inputs(program: &Program) -> Result<(), VerifyError> {
    let graph = &program.graph;
    let operands = graph.nodes.iter().flat_map(Node::operands);
    let mut is_used = vec![false; graph.values.len()];
    for id in operands.chain(graph.outputs.iter().flat_map(Arg::values)) {
        is_used[id.index()] = true;
    }
    for (slot, &input) in program.slots.iter().zip(&graph.inputs) {
        let is_tensor = matches!(graph.value(input).ty, ValueType::Tensor(_));
        if !is_tensor && slot.kind != SlotKind::Segment && is_used[input.index()] {
            return Err(VerifyError::NumberInput(slot.name.clone()));
        }
    }
    Ok(())
}

fn verify_graph(graph: &Graph) -> Result<(), VerifyError> {
    let mut defined = vec![false; graph.values.len()];
    let mut define = |id: ValueId| match defined.get_mut(id.index()) {
        Some(d) if !*d => {
            *d = true;
            Ok(())
        }
        Some(_) => Err(VerifyError::DefinedTwice(graph.value(id).name.clone())),
        None => Err(VerifyError::UnknownValue),
    };
    for &input in &graph.inputs {
        define(input)?;
    }
    // Uses are checked as definitions are met, so that a use before its definition is found.
    let mut known = vec![false; graph.values.len()];
    for &input in &graph.inputs {
        known[input.index()] = true;
    }
    for node in &graph.nodes {
        for id in node.operands() {
            if !known.get(id.index()).copied().unwrap_or(false) {
                return Err(broken(graph, node, NodeRule::UndefinedArgument));
            }
        }
        verify_node(graph, node)?;
        for &id in &node.results {
            define(id)?;
            known[id.index()] = true;
        }
    }
    for id in graph.outputs.iter().flat_map(Arg::values) {
        if !known.get(id.index()).copied().unwrap_or(false) {
            return Err(VerifyError::UndefinedOutput);
        }
    }
    Ok(())
}

/// How messages name a node: its first result and its operator.
pub fn label(graph: &Graph, node: &Node) -> String {
    let op = &node.op.schema.name;
    match node
        .results
        .first()
        .and_then(|id| graph.values.get(id.index()))
    {
        Some(value) => format!("`{}` ({op})", value.name),
        None => format!("({op})"),
    }
}

fn broken(graph: &Graph, node: &Node, rule: NodeRule) -> VerifyError {
    VerifyError::Node {
        node: label(graph, node),
        rule,
    }
}

fn verify_node(graph: &Graph, node: &Node) -> Result<(), VerifyError> {
    let fail = |rule| Err(broken(graph, node, rule));
    let schema = &node.op.schema;
    if node.args.len() != schema.params.len() {
        return fail(NodeRule::ArgumentCount);
    }
    for (arg, param) in node.args.iter().zip(&schema.params) {
        if !fits(graph, arg, param.ty, param.optional) {
            return fail(NodeRule::ArgumentType(param.name.clone()));
        }
    }
    let is_list = schema.returns.len() == 1 && schema.returns[0].list;
    if !is_list && node.results.len() > schema.returns.len() {
        return fail(NodeRule::ResultCount);
    }
    let mut results = node.results.iter().zip(&schema.returns);
    if results.any(|(id, ret)| !ret.tensor && is_tensor(graph, *id)) {
        return fail(NodeRule::NumberAsTensor);
    }
    if let Some(control) = node.control() {
        verify_control(graph, node, control)?;
    }
    Ok(())
}

fn is_tensor(graph: &Graph, id: ValueId) -> bool {
    let value = graph.values.get(id.index());
    value.is_some_and(|value| matches!(value.ty, ValueType::Tensor(_)))
}

/// Whether an argument is of a type that a schema asks for.
fn fits(graph: &Graph, arg: &Arg, ty: ArgType, optional: bool) -> bool {
    let tensor = |id: &ValueId| is_tensor(graph, *id);
    match (arg, ty) {
        (Arg::None, ArgType::Ignored) => true,
        (Arg::None, _) => optional,
        // PyTorch accepts a number where a schema asks for a tensor.
        (Arg::Value(_) | Arg::Int(_) | Arg::Float(_) | Arg::Bool(_), ArgType::Tensor) => true,
        (Arg::Values(list), ArgType::Tensors) => list.iter().flatten().all(tensor),
        // An empty list does not say what it is a list of.
        (Arg::List(list), ArgType::Tensors) => list.is_empty(),
        (Arg::Values(list), ArgType::Ints) => list.is_empty(),
        (Arg::Value(id), ArgType::Int | ArgType::Float | ArgType::Bool | ArgType::Number) => {
            !tensor(id)
        }
        (Arg::Int(_), ArgType::Int | ArgType::Float | ArgType::Number | ArgType::Ints) => true,
        (Arg::Int(_), ArgType::Bool) => true,
        (Arg::Bool(_), ArgType::Bool | ArgType::Number | ArgType::Int) => true,
        (Arg::Float(_), ArgType::Float | ArgType::Number) => true,
        (Arg::Value(id), ArgType::Ints) => !tensor(id),
        (Arg::List(list), ArgType::Ints) => list.iter().all(|a| match a {
            Arg::Value(id) => !tensor(id),
            Arg::Int(_) => true,
            _ => false,
        }),
        (Arg::List(list), ArgType::Floats) => {
            let is_number = |a: &Arg| matches!(a, Arg::Int(_) | Arg::Float(_));
            list.iter().all(is_number)
        }
        (Arg::Str(_), ArgType::Str) | (Arg::DType(_), ArgType::DType) => true,
        (_, ArgType::Ignored) => true,
        _ => false,
    }
}

fn verify_control(graph: &Graph, node: &Node, control: Control) -> Result<(), VerifyError> {
    let fail = |rule| Err(broken(graph, node, rule));
    let lists = match control {
        Control::Cond => &node.args[1..],
        Control::While | Control::Scan => &node.args[..],
    };
    if !lists.iter().all(|arg| matches!(arg, Arg::Values(_))) {
        return fail(NodeRule::Operands);
    }
    let count = control.keywords().len();
    if node.regions.len() != count {
        return fail(NodeRule::RegionCount(count));
    }
    let entries = node.entries();
    let is_carried = |entry: &&Entry| matches!(entry, Entry::Carried(_));
    let carried: Vec<&Entry> = entries.iter().filter(is_carried).collect();
    let tensor = |id: ValueId| matches!(graph.value(id).ty, ValueType::Tensor(_));
    let is_operand = |entry: &Entry| matches!(entry, Entry::Operand(_));
    if !entries.iter().all(|e| is_operand(e) || tensor(e.outer())) {
        return fail(NodeRule::CarriedNumber);
    }
    for (i, region) in node.regions.iter().enumerate() {
        if region.inputs.len() != entries.len() {
            return fail(NodeRule::RegionInputs);
        }
        for (input, entry) in region.inputs.iter().zip(&entries) {
            if !enters_as(&region.value(*input).ty, *entry, graph) {
                return fail(NodeRule::RegionInputs);
            }
        }
        let wanted = match (control, i) {
            // The condition.
            (Control::While, 0) => region.outputs.len() == 1,
            (Control::While, _) => {
                region.outputs.len() == carried.len() && node.results.len() == carried.len()
            }
            (Control::Scan, _) => {
                region.outputs.len() == node.results.len() && carried.len() <= node.results.len()
            }
            (Control::Cond, _) => region.outputs.len() == node.results.len(),
        };
        if !wanted {
            return fail(NodeRule::RegionOutputs);
        }
        let is_condition = control == Control::While && i == 0;
        let value = |o: &Arg| matches!(o, Arg::Value(_)) || is_condition;
        if !region.outputs.iter().all(value) {
            return fail(NodeRule::RegionOutputKind);
        }
        verify_graph(region)?;
    }
    Ok(())
}

/// Whether an input of a region has the type of what it is.
fn enters_as(inner: &ValueType, entry: Entry, graph: &Graph) -> bool {
    match (inner, &graph.value(entry.outer()).ty) {
        (ValueType::Tensor(a), ValueType::Tensor(b)) => {
            let rank = match entry {
                Entry::Row(_) => a.sizes.len() + 1,
                Entry::Operand(_) | Entry::Carried(_) => a.sizes.len(),
            };
            a.dtype == b.dtype && rank == b.sizes.len()
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Catalogue;
    use crate::ir::parse::parse;

    #[test]
    fn a_number_that_is_declared_as_a_tensor_is_refused() {
        let with = |ty: &str| {
            let text = format!(
                "program p\ninput %x: f32[2, 3]\n%y: {ty} = aten::item(self=%x)\nreturn \"y\"=%y\n"
            );
            parse(&text, Catalogue::builtin()).map(|program| verify(&program))
        };
        let refused = with("f32[2, 3]").unwrap().unwrap_err().to_string();
        assert!(
            refused.ends_with("a number is declared as a tensor"),
            "{refused}"
        );
        assert!(with("int").unwrap().is_ok());
    }
}
