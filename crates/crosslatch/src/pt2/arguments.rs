//! Arguments of nodes: from the tagged values of the file to those of the IR, in the order of a
//! schema.

use std::collections::HashMap;

use crosslatch_kernels::DType;

use super::schema::{Argument, Node, OptionalTensor, SymArgument, SymInt, TensorMeta};
use crate::ir::graph::{Arg, TensorType, ValueId};
use crate::ir::schema::Schema;
use crate::ir::{Operator, Size};

/// The values that are defined so far, by their names in the file.
pub(super) type Names<'f> = HashMap<&'f str, ValueId>;

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

pub(super) fn tensor_type(meta: &TensorMeta) -> Result<TensorType, String> {
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

pub(super) fn lookup(name: &str, names: &Names<'_>) -> Result<ValueId, String> {
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

pub(super) fn argument(arg: &Argument, names: &Names<'_>) -> Result<Arg, String> {
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
        Argument::AsInts(list) => Arg::List(list.iter().copied().map(Arg::Int).collect()),
        Argument::AsBools(list) => Arg::List(list.iter().map(|b| Arg::Int(*b as i64)).collect()),
        Argument::AsFloat(x) => Arg::Float(x.0),
        Argument::AsFloats(list) => Arg::List(list.iter().map(|x| Arg::Float(x.0)).collect()),
        Argument::AsBool(b) => Arg::Bool(*b),
        Argument::AsString(s) => Arg::Str(s.clone()),
        Argument::AsSymInt(s) | Argument::AsSymBool(s) | Argument::AsSymFloat(s) => {
            symbolic(s, names)?
        }
        Argument::AsSymInts(list) => Arg::List(
            list.iter()
                .map(|s| symbolic(s, names))
                .collect::<Result<_, _>>()?,
        ),
        Argument::AsScalarType(t) => Arg::DType(dtype_of(*t)?),
        Argument::AsMemoryFormat(_) | Argument::AsLayout(_) | Argument::AsDevice(_) => Arg::None,
        Argument::AsGraph { .. } | Argument::Other(_) => {
            return Err(format!("unsupported kind of argument: {arg:?}"));
        }
    })
}

/// Puts the arguments of a node in the order of the schema and fills in defaults.
pub(super) fn bind_args(
    schema: &Schema,
    node: &Node,
    names: &Names<'_>,
) -> Result<Vec<Arg>, String> {
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

/// The arguments of `cond(predicate, graph, graph, operands)` without the graphs.
pub(super) fn cond_args(op: &Operator, node: &Node, names: &Names<'_>) -> Result<Vec<Arg>, String> {
    let mut args = Vec::new();
    let mut graphs = 0;
    for given in &node.inputs {
        match &given.arg {
            Argument::AsGraph { .. } => graphs += 1,
            other => args.push(argument(other, names)?),
        }
    }
    // An empty list of operands has no element to tell its type.
    if let Some(operands @ Arg::List(_)) = args.get_mut(1)
        && matches!(operands, Arg::List(list) if list.is_empty())
    {
        *operands = Arg::Values(Vec::new());
    }
    if graphs != 2 || args.len() != op.schema.params.len() {
        return Err("is not a predicate, two branches and a list of operands".into());
    }
    Ok(args)
}
