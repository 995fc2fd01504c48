//! Arguments of nodes: from the tagged values of the file to those of the IR, in the order of a
//! schema.

use std::collections::HashMap;

use crosslatch_kernels::DType;

use super::schema::{Argument, Node, OptionalTensor, SymArgument, SymInt, TensorMeta};
use crate::ir::graph::{Arg, TensorType, ValueId};
use crate::ir::schema::{ArgType, Schema};
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
        10 => DType::C64,
        11 => DType::C128,
        12 => DType::Bool,
        13 => DType::BF16,
        _ => {
            return Err(match unsupported_dtype(number) {
                Some(name) => format!("elements of type {name} are not supported"),
                None => format!("element type {number} of the file is not known"),
            });
        }
    })
}

/// The name of an element type that files may have and the engine does not compute with; its number is
/// that of `ScalarType` in torch/_export/serde/schema.py.
fn unsupported_dtype(number: i64) -> Option<&'static str> {
    Some(match number {
        9 => "complex32",
        28 => "uint16",
        29 => "float8_e4m3fn",
        30 => "float8_e5m2",
        31 => "float8_e4m3fnuz",
        32 => "float8_e5m2fnuz",
        _ => return None,
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

/// The arguments of an operator that carries graphs, without the graphs. What is missing in front is
/// empty: a `map` carries nothing.
pub(super) fn control_args(
    op: &Operator,
    node: &Node,
    names: &Names<'_>,
) -> Result<Vec<Arg>, String> {
    let mut args = Vec::new();
    for given in &node.inputs {
        match &given.arg {
            Argument::AsGraph { .. } => {}
            other => args.push(argument(other, names)?),
        }
    }
    let params = &op.schema.params;
    if args.len() + 1 == params.len() {
        args.insert(0, Arg::Values(Vec::new()));
    }
    for (arg, param) in args.iter_mut().zip(params) {
        // Lists of operands may hold sizes as well, and an empty list does not say what it is a list of.
        if let (Arg::List(list), ArgType::Tensors) = (&*arg, param.ty) {
            *arg = Arg::Values(values_of(list)?);
        }
    }
    match args.len() == params.len() {
        true => Ok(args),
        false => Err(format!(
            "does not have {} operands beside its graphs",
            params.len()
        )),
    }
}

fn values_of(list: &[Arg]) -> Result<Vec<Option<ValueId>>, String> {
    let value = |arg: &Arg| match arg {
        Arg::Value(id) => Ok(Some(*id)),
        Arg::None => Ok(None),
        _ => Err("has a constant among its operands".to_owned()),
    };
    list.iter().map(value).collect()
}
