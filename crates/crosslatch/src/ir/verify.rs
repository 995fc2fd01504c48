//! The rules of the IR.
//!
//! Whoever builds or rewrites a program relies on these and has to keep them: values are defined
//! once and before they are used, arguments have the types that the schema asks for, branches of a
//! `cond` fit its operands and results, outputs fit the signature.

use std::collections::HashSet;

use super::arg::{Arg, ValueId};
use super::graph::{Graph, Node, Output, Program, SlotKind, ValueType};
use super::nesting::TooDeep;
use super::schema::ArgType;

/// A broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VerifyError(pub String);

/// Checks that no `cond` is nested too deep: what walks a graph relies on it, this does not.
pub fn verify_depth(graph: &Graph) -> Result<(), VerifyError> {
    let mut open = vec![(graph, 0)];
    while let Some((graph, depth)) = open.pop() {
        TooDeep::check(depth).map_err(|e| VerifyError(format!("branches are {e}")))?;
        let branches = graph.nodes.iter().flat_map(|node| &node.branches);
        open.extend(branches.map(|branch| (branch, depth + 1)));
    }
    Ok(())
}

/// Checks a program.
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    let graph = &program.graph;
    if program.slots.len() != graph.inputs.len() {
        return fail("the numbers of slots and of inputs differ");
    }
    if program.outputs.len() != graph.outputs.len() {
        return fail("the numbers of outputs in the signature and in the graph differ");
    }
    for (output, value) in program.outputs.iter().zip(&graph.outputs) {
        let Output::Mutation { slot } = output else {
            continue;
        };
        match program.slots.get(*slot) {
            Some(s) if matches!(s.kind, SlotKind::Weight | SlotKind::Latched) => {
                return fail(format!("slot `{}` is written but is no state", s.name));
            }
            Some(_) if matches!(value, Arg::Value(_)) => {}
            _ => return fail("an output writes a slot that does not exist, or no value to it"),
        }
    }
    verify_depth(graph)?;
    verify_graph(graph)?;
    verify_names(program)?;
    verify_inputs(program)
}

/// Inputs are given and outputs are asked for by name.
fn verify_names(program: &Program) -> Result<(), VerifyError> {
    let outputs = program.outputs.iter().filter_map(|output| match output {
        Output::User(name) => Some(name.as_str()),
        Output::Mutation { .. } => None,
    });
    let inputs = program.slots.iter().filter(|s| s.kind == SlotKind::Input);
    for (what, names) in [
        ("outputs", outputs.collect::<Vec<_>>()),
        ("inputs", inputs.map(|s| s.name.as_str()).collect()),
    ] {
        let mut seen = HashSet::new();
        if let Some(name) = names.into_iter().find(|name| !seen.insert(*name)) {
            return fail(format!("two {what} are called `{name}`"));
        }
    }
    Ok(())
}

/// What a caller gives are tensors. An exporter also lists numbers that it burnt into the graph;
/// those are never used.
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
            return fail(format!(
                "input `{}` is a number; export it as a tensor or as a constant",
                slot.name
            ));
        }
    }
    Ok(())
}

fn fail<T>(message: impl Into<String>) -> Result<T, VerifyError> {
    Err(VerifyError(message.into()))
}

fn verify_graph(graph: &Graph) -> Result<(), VerifyError> {
    let mut defined = vec![false; graph.values.len()];
    let mut define = |id: ValueId| match defined.get_mut(id.index()) {
        Some(d) if !*d => {
            *d = true;
            Ok(())
        }
        Some(_) => fail(format!("`{}` is defined twice", graph.value(id).name)),
        None => fail("a value that does not exist is defined"),
    };
    for &input in &graph.inputs {
        define(input)?;
    }
    // Definitions come in order, so a second walk with the first one's marks would accept uses
    // before definitions; check uses as definitions arrive.
    let mut known = vec![false; graph.values.len()];
    for &input in &graph.inputs {
        known[input.index()] = true;
    }
    for node in &graph.nodes {
        for id in node.operands() {
            if !known.get(id.index()).copied().unwrap_or(false) {
                return fail(format!(
                    "{}: an argument is not defined before",
                    label(graph, node)
                ));
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
            return fail("an output is not defined");
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

fn verify_node(graph: &Graph, node: &Node) -> Result<(), VerifyError> {
    let at = || label(graph, node);
    let schema = &node.op.schema;
    if node.args.len() != schema.params.len() {
        return fail(format!("{}: wrong number of arguments", at()));
    }
    for (arg, param) in node.args.iter().zip(&schema.params) {
        if !fits(graph, arg, param.ty, param.optional) {
            return fail(format!(
                "{}: argument `{}` has the wrong type",
                at(),
                param.name
            ));
        }
    }
    let list = schema.returns.len() == 1 && schema.returns[0].list;
    if !list && node.results.len() > schema.returns.len() {
        return fail(format!("{}: too many results", at()));
    }
    if node.is_cond() {
        verify_cond(graph, node)?;
    }
    Ok(())
}

fn fits(graph: &Graph, arg: &Arg, ty: ArgType, optional: bool) -> bool {
    let tensor = |id: &ValueId| matches!(graph.value(*id).ty, ValueType::Tensor(_));
    match (arg, ty) {
        (Arg::None, ArgType::Ignored) => true,
        (Arg::None, _) => optional,
        // PyTorch takes a number where a schema asks for a tensor.
        (Arg::Value(_) | Arg::Int(_) | Arg::Float(_) | Arg::Bool(_), ArgType::Tensor) => true,
        (Arg::Values(list), ArgType::Tensors) => list.iter().flatten().all(tensor),
        // An empty list does not tell what it is a list of.
        (Arg::Ints(list), ArgType::Tensors) => list.is_empty(),
        (Arg::Values(list), ArgType::Ints) => list.is_empty(),
        (Arg::Value(id), ArgType::Int | ArgType::Float | ArgType::Bool | ArgType::Number) => {
            !tensor(id)
        }
        (Arg::Int(_), ArgType::Int | ArgType::Float | ArgType::Number | ArgType::Ints) => true,
        (Arg::Int(_), ArgType::Bool) => true,
        (Arg::Bool(_), ArgType::Bool | ArgType::Number | ArgType::Int) => true,
        (Arg::Float(_), ArgType::Float | ArgType::Number) => true,
        (Arg::Value(id), ArgType::Ints) => !tensor(id),
        (Arg::Ints(list), ArgType::Ints) => list.iter().all(|a| match a {
            Arg::Value(id) => !tensor(id),
            Arg::Int(_) => true,
            _ => false,
        }),
        (Arg::Str(_), ArgType::Str) | (Arg::DType(_), ArgType::DType) => true,
        (_, ArgType::Ignored) => true,
        _ => false,
    }
}

fn verify_cond(graph: &Graph, node: &Node) -> Result<(), VerifyError> {
    let at = || label(graph, node);
    let operands: Vec<ValueId> = match node.args.get(1) {
        Some(Arg::Values(list)) => list.iter().flatten().copied().collect(),
        _ => return fail(format!("{}: operands are no list", at())),
    };
    if node.branches.len() != 2 {
        return fail(format!("{}: needs two branches", at()));
    }
    for branch in &node.branches {
        if branch.inputs.len() != operands.len() {
            return fail(format!("{}: a branch takes other operands", at()));
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
                return fail(format!("{}: a branch takes other types", at()));
            }
        }
        if branch.outputs.len() != node.results.len() {
            return fail(format!(
                "{}: a branch returns another number of results",
                at()
            ));
        }
        if !branch.outputs.iter().all(|o| matches!(o, Arg::Value(_))) {
            return fail(format!(
                "{}: a branch returns something that is no tensor",
                at()
            ));
        }
        verify_graph(branch)?;
    }
    Ok(())
}
