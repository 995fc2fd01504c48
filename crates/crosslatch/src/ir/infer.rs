//! What a call returns, found by lowering it.
//!
//! An operator's shape rule is part of its lowering, next to its kernel. So whoever wants to know
//! the types of results without running anything (the builder, a pass that weighs costs) lowers the
//! call and looks at the answer.

use crosslatch_kernels::{DType, Dims, Layout};

use super::arg::ValueId;
use super::bind::{BoundCall, Known, bind_call};
use super::call::{Call, KernelSet, OpError};
use super::graph::Node;
use super::lowering::{Assign, Lowering, Update};

/// What a call comes down to, without its kernel.
pub struct Inferred {
    /// What is known of each result.
    pub results: Vec<Known>,
    /// What kind of work it is.
    pub kind: Kind,
}

/// What kind of work a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: the results are known before anything runs, as sizes and checks of sizes are.
    Known,
    /// A view of an operand's memory.
    View,
    /// A copy of an operand or of a part of it.
    Copy,
    /// A computation.
    Compute {
        /// Approximate number of arithmetic operations.
        flops: u64,
    },
}

/// Lowers a call of an operator; `known` says what is known of its operands.
///
/// # Errors
/// If the arguments are invalid or unsupported.
pub fn infer(node: &Node, known: &dyn Fn(ValueId) -> Option<Known>) -> Result<Inferred, OpError> {
    let bound = bind_call(node, known, &|_| None)?;
    let operand = |i: usize| operand(&bound, i, known);
    let fresh = |dtype: DType, shape: &Dims| Known::Tensor(dtype, Layout::contiguous(shape));
    let call = Call {
        schema: &node.op.schema,
        args: &bound.args,
        kernels: KernelSet::Fast,
        // The builder asks before it has named any.
        results: (!node.results.is_empty()).then_some(node.results.len()),
    };
    let in_place = call.is_in_place();
    let (results, kind) = match node.op.lower(&call)? {
        Lowering::Nothing => (Vec::new(), Kind::Known),
        Lowering::Numbers(numbers) => {
            let numbers = numbers.into_iter().map(Known::Number);
            (numbers.collect(), Kind::Known)
        }
        Lowering::Views(views) => {
            let views = views.into_iter();
            let results = views.map(|view| Ok(Known::Tensor(operand(view.of)?.0, view.layout)));
            (results.collect::<Result<_, OpError>>()?, Kind::View)
        }
        Lowering::Copy(copy) => {
            let copied = fresh(operand(copy.view.of)?.0, &copy.shape);
            (vec![copied], Kind::Copy)
        }
        Lowering::Compute(compute) if in_place => {
            let (dtype, layout) = operand(0)?;
            let flops = compute.flops;
            (vec![Known::Tensor(dtype, layout)], Kind::Compute { flops })
        }
        Lowering::Compute(compute) => {
            let results = compute.results.iter();
            let results = results.map(|(dtype, shape)| fresh(*dtype, shape)).collect();
            let flops = compute.flops;
            (results, Kind::Compute { flops })
        }
        Lowering::Update(Update { of, .. }) | Lowering::Assign(Assign { of, .. }) => {
            let (dtype, layout) = operand(of)?;
            let result = match in_place {
                true => Known::Tensor(dtype, layout),
                false => fresh(dtype, &layout.shape),
            };
            (vec![result], Kind::Compute { flops: 0 })
        }
    };
    Ok(Inferred { results, kind })
}

fn operand(
    bound: &BoundCall,
    index: usize,
    known: &dyn Fn(ValueId) -> Option<Known>,
) -> Result<(DType, Layout), OpError> {
    match bound.operands.get(index).and_then(|id| known(*id)) {
        Some(Known::Tensor(dtype, layout)) => Ok((dtype, layout)),
        _ => Err(OpError::new("an operand of the lowering is not a tensor")),
    }
}
