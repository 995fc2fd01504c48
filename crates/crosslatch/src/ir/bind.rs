//! From a node, and what is known of its values, to a [`Call`].
//!
//! The interpreter and the planner walk graphs with different ideas of what a tensor is: owned
//! memory here, a place in a plan there. A lowering needs only the type and layout of a tensor and
//! the value of a number. This module collects those, and numbers the tensor operands in the order
//! in which kernels get them.

use crosslatch_kernels::{DType, Layout};

use super::arg::{Arg, ValueId};
use super::call::{Call, CallArg, KernelSet, Number, OpError, StoredAs, TensorArg};
use super::graph::Node;
use super::lowering::Lowering;

/// What a lowering may know of a value.
#[derive(Clone, Debug)]
pub enum Known {
    /// Type and layout of a tensor.
    Tensor(DType, Layout),
    /// A number.
    Number(Number),
}

/// The arguments of a call, and its tensor operands in the order of their indices.
pub struct BoundCall {
    /// One entry for each argument of the schema.
    pub args: Vec<CallArg>,
    /// The tensors among the arguments.
    pub operands: Vec<ValueId>,
}

impl BoundCall {
    /// Lowers the call of this node, which names its results.
    ///
    /// # Errors
    /// If the arguments are invalid or unsupported, or a result is too large for any memory.
    pub fn lower(&self, node: &Node, kernels: KernelSet) -> Result<Lowering, OpError> {
        node.op.lower(&Call {
            schema: &node.op.schema,
            args: &self.args,
            kernels,
            results: Some(node.results.len()),
        })
    }
}

/// Collects the arguments of a node. `stored` says how weights lie in memory that do not lie there in
/// their type.
///
/// # Errors
/// If an argument has no value or is of the wrong kind, or such a weight is an argument for which the
/// operator has no kernel.
pub fn bind_call(
    node: &Node,
    known: &dyn Fn(ValueId) -> Option<Known>,
    stored: &dyn Fn(ValueId) -> Option<StoredAs>,
) -> Result<BoundCall, OpError> {
    for (i, arg) in node.args.iter().enumerate() {
        let takes = node.op.quantized.is_some_and(|q| q.param == i);
        if !takes && arg.values().any(|id| stored(id).is_some()) {
            let name = &node.op.schema.params[i].name;
            return Err(OpError::new(format!(
                "argument `{name}` cannot be a quantized weight"
            )));
        }
    }
    let mut operands = Vec::new();
    let mut value = |id: ValueId| -> Result<CallArg, OpError> {
        Ok(match known(id) {
            Some(Known::Number(n)) => CallArg::Number(n),
            Some(Known::Tensor(dtype, layout)) => {
                operands.push(id);
                CallArg::Tensor(TensorArg {
                    index: operands.len() - 1,
                    dtype,
                    layout,
                    stored: stored(id),
                })
            }
            None => return Err(OpError::new("an argument is not defined")),
        })
    };
    let mut args = Vec::with_capacity(node.args.len());
    for arg in &node.args {
        args.push(match arg {
            Arg::None => CallArg::None,
            Arg::Value(id) => value(*id)?,
            Arg::Values(list) => CallArg::Tensors(
                list.iter()
                    .map(|id| match id.map(&mut value).transpose()? {
                        Some(CallArg::Tensor(t)) => Ok(Some(t)),
                        None => Ok(None),
                        Some(_) => Err(OpError::new("a list of tensors contains a number")),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Arg::Int(i) => CallArg::Number(Number::Int(*i)),
            Arg::Float(x) => CallArg::Number(Number::Float(*x)),
            Arg::Bool(b) => CallArg::Number(Number::Bool(*b)),
            Arg::List(list) if list.iter().any(|a| matches!(a, Arg::Float(_))) => CallArg::Floats(
                list.iter()
                    .map(|a| match a {
                        Arg::Int(i) => Ok(*i as f64),
                        Arg::Float(x) => Ok(*x),
                        _ => Err(OpError::new("a list of floats contains something else")),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Arg::List(list) => CallArg::Ints(
                list.iter()
                    .map(|a| match a {
                        Arg::Int(i) => Ok(*i),
                        Arg::Value(id) => match value(*id)? {
                            CallArg::Number(n) => Ok(n.to_i64()),
                            _ => Err(OpError::new("a list of integers contains a tensor")),
                        },
                        _ => Err(OpError::new("a list of integers contains something else")),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Arg::Str(s) => CallArg::Str(s.clone()),
            Arg::DType(d) => CallArg::DType(*d),
        });
    }
    Ok(BoundCall { args, operands })
}
