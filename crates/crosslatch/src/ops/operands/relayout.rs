//! Operands under other layouts: what lowerings need when a view has to become a copy.
//!
//! A layout that a lowering computed belongs to its operand as it was planned; a kernel gets the
//! operand as it is. So kernels make their layouts when they run, from those that they are given.

use crosslatch_kernels::{KernelError, Layout, Operands, TensorMut, TensorRef, movement::copy};

use crate::ir::operator::{Call, Compute, Lowering, OpError, View, ViewCopy};

/// Memory of `to` under another layout. That layouts fit was seen to when they were made.
pub(in crate::ops) fn relaid<'a>(
    to: &'a mut TensorMut<'_>,
    layout: &'a Layout,
) -> Result<TensorMut<'a>, KernelError> {
    to.with_layout(layout)
        .map_err(|e| KernelError::Assertion(e.to_string()))
}

/// The same for a tensor that is read.
pub(in crate::ops) fn reread<'a>(
    from: &TensorRef<'a>,
    layout: &'a Layout,
) -> Result<TensorRef<'a>, KernelError> {
    from.with_layout(layout)
        .map_err(|e| KernelError::Assertion(e.to_string()))
}

/// The views of `self` that a lowering made, copied into fresh memory.
pub(in crate::ops) fn copied(call: &Call<'_>, lowering: Lowering) -> Result<Lowering, OpError> {
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
        // The operand may have been put elsewhere in its memory since.
        let moved = input.layout().offset.wrapping_sub(offset);
        for (view, to) in views.iter().zip(o.outputs.iter_mut()) {
            let mut layout = view.layout.clone();
            layout.offset = layout.offset.wrapping_add(moved);
            let from = input
                .with_layout(&layout)
                .map_err(|e| KernelError::Assertion(e.to_string()))?;
            copy(to, &from, o.threads);
        }
        Ok(())
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
