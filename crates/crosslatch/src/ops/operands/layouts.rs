//! Operands under other layouts.
//!
//! A lowering computes a layout for an operand as it was planned, but a kernel may get the operand
//! elsewhere. So kernels that view an operand make the layout when they run, from the one that
//! they are given, or from the operand's first element
//! ([`TensorArg::layout_from_start`](crate::ir::TensorArg::layout_from_start)).

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::tensor::TensorError;
use crosslatch_kernels::{KernelError, Layout, Operands, TensorMut, TensorRef};

use crate::ir::{Call, Compute, Lowering, OpError, View, ViewCopy};

/// A tensor under another layout. Whether the layout makes sense was checked when it was made; here
/// it is only checked against the memory.
pub(in crate::ops) fn view<'a>(
    tensor: &TensorRef<'a>,
    layout: &'a Layout,
) -> Result<TensorRef<'a>, KernelError> {
    tensor.with_layout(layout).map_err(outside_memory)
}

/// The same for a tensor that is written.
pub(in crate::ops) fn view_mut<'a>(
    tensor: &'a mut TensorMut<'_>,
    layout: &'a Layout,
) -> Result<TensorMut<'a>, KernelError> {
    tensor.with_layout(layout).map_err(outside_memory)
}

/// An operand that may be missing, under the layout that the kernel wants.
pub(in crate::ops) fn optional_view<'t>(
    inputs: &'t [TensorRef<'t>],
    operand: &'t Option<(usize, Layout)>,
) -> Result<Option<TensorRef<'t>>, KernelError> {
    match operand {
        None => Ok(None),
        Some((i, layout)) => view(&inputs[*i], layout).map(Some),
    }
}

/// A layout that does not fit its memory: a bug in the lowering that made it.
pub(in crate::ops) fn outside_memory(error: TensorError) -> KernelError {
    KernelError::Assertion(error.to_string())
}

/// A result in a layout that its kernel has not accepted: a bug in the plan.
pub(in crate::ops) fn layout_not_accepted() -> KernelError {
    KernelError::Assertion("the kernel cannot write its result in this layout".into())
}

/// Dimension `dim` as two dimensions, the first of length `outer`, which must divide its length.
pub(in crate::ops) fn split_dim(layout: &Layout, dim: usize, outer: usize) -> Layout {
    let inner = layout.shape[dim] / outer;
    let mut result = layout.clone();
    result.shape[dim] = inner;
    result.shape.insert(dim, outer);
    let stride = layout.strides[dim].saturating_mul(inner);
    result.strides.insert(dim, stride);
    result
}

/// The views of `self` that a lowering made, copied into fresh memory.
pub(in crate::ops) fn copy_views(call: &Call<'_>, lowering: Lowering) -> Result<Lowering, OpError> {
    let Lowering::Views(views) = lowering else {
        return Ok(lowering);
    };
    let this = call.tensor("self")?;
    let views = match <[View; 1]>::try_from(views) {
        Ok([view]) => {
            let shape = view.layout.shape.clone();
            return Ok(Lowering::Copy(ViewCopy { view, shape }));
        }
        Err(views) => views,
    };
    let dtype = this.dtype;
    let results = views
        .iter()
        .map(|v| (dtype, v.layout.shape.clone()))
        .collect();
    let (of, offset) = (this.index, this.layout.offset);
    let kernel = move |o: &mut Operands<'_, '_>| -> Result<(), KernelError> {
        let input = o.inputs[of];
        // The operand may lie elsewhere in its memory now.
        let moved = input.layout().offset.wrapping_sub(offset);
        for (planned, to) in views.iter().zip(o.outputs.iter_mut()) {
            let mut layout = planned.layout.clone();
            layout.offset = layout.offset.wrapping_add(moved);
            copy(to, &view(&input, &layout)?, o.threads);
        }
        Ok(())
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
