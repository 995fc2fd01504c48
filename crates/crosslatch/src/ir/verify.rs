//! The rules of the IR.
//!
//! Whoever builds or rewrites a program must keep them, and may rely on them: a value is defined once
//! and before it is used, arguments have the types that the schema asks for, the branches of a `cond`
//! fit its operands and results, and the outputs fit the signature.

use std::collections::HashSet;

use super::arg::{Arg, ValueId};
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
    /// Branches are nested too deep.
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
    /// The operands of a `cond` are not a list of values.
    #[error("the operands are not a list")]
    CondOperands,
    /// A `cond` does not have two branches.
    #[error("a `cond` needs two branches")]
    BranchCount,
    /// A branch has other operands than its `cond`, by number or type.
    #[error("the inputs of a branch do not match the operands")]
    BranchInputs,
    /// A branch does not return one value for each result of its `cond`.
    #[error("the outputs of a branch do not match the results")]
    BranchOutputs,
    /// A branch returns something other than a value.
    #[error("a branch returns something that is not a value")]
    BranchOutputKind,
}

/// Checks that no `cond` is nested too deep. Recursive walks rely on it; this walk is not recursive.
pub fn verify_depth(graph: &Graph) -> Result<(), VerifyError> {
    let mut open = vec![(graph, 0)];
    while let Some((graph, depth)) = open.pop() {
        TooDeep::check(depth)?;
        let branches = graph.nodes.iter().flat_map(|node| &node.branches);
        open.extend(branches.map(|branch| (branch, depth + 1)));
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
            Some(s) if matches!(s.kind, SlotKind::Weight | SlotKind::Latched) => {
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

/// Checks that inputs are tensors. An exporter also lists numbers that it has made constants of the
/// graph, but nothing reads those.
fn verify_inputs(program: &Program) -> Result<(), VerifyError> {
    let graph = &program.graph;
    let operands = graph.nodes.iter().flat_map(Node::operands);
    let mut is_used = vec![false; graph.values.len()];
    for id in operands.chain(graph.outputs.iter().flat_map(Arg::values)) {
        is_used[id.index()] = true;
    }
    for (slot, &input) in program.slots.iter().zip(&graph.inputs) {
        let is_tensor = matches!(graph.value(input).ty, ValueType::Tensor(_));
        if !is_tensor && is_used[input.index()] {
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
    if node.is_cond() {
        verify_cond(graph, node)?;
    }
    Ok(())
}

/// Whether an argument is of a type that a schema asks for.
fn fits(graph: &Graph, arg: &Arg, ty: ArgType, optional: bool) -> bool {
    let tensor = |id: &ValueId| matches!(graph.value(*id).ty, ValueType::Tensor(_));
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

fn verify_cond(graph: &Graph, node: &Node) -> Result<(), VerifyError> {
    let fail = |rule| Err(broken(graph, node, rule));
    let operands: Vec<ValueId> = match node.args.get(1) {
        Some(Arg::Values(list)) => list.iter().flatten().copied().collect(),
        _ => return fail(NodeRule::CondOperands),
    };
    if node.branches.len() != 2 {
        return fail(NodeRule::BranchCount);
    }
    for branch in &node.branches {
        if branch.inputs.len() != operands.len() {
            return fail(NodeRule::BranchInputs);
        }
        for (input, operand) in branch.inputs.iter().zip(&operands) {
            let (inner, outer) = (&branch.value(*input).ty, &graph.value(*operand).ty);
            let agree = match (inner, outer) {
                (ValueType::Tensor(a), ValueType::Tensor(b)) => {
                    a.dtype == b.dtype && a.sizes.len() == b.sizes.len()
                }
                (a, b) => a == b,
            };
            if !agree {
                return fail(NodeRule::BranchInputs);
            }
        }
        if branch.outputs.len() != node.results.len() {
            return fail(NodeRule::BranchOutputs);
        }
        if !branch.outputs.iter().all(|o| matches!(o, Arg::Value(_))) {
            return fail(NodeRule::BranchOutputKind);
        }
        verify_graph(branch)?;
    }
    Ok(())
}
