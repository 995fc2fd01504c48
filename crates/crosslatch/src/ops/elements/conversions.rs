//! Conversion of the element type.

use crosslatch_kernels::Operands;
use crosslatch_kernels::movement::copy;

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)",
        convert,
    )
    .takes_complex(),
    op(
        "aten::to.dtype_layout(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)",
        convert,
    )
    .takes_complex(),
    op(
        "aten::to.device(Tensor(a) self, Device device, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)",
        convert,
    )
    .takes_complex(),
    op(
        "aten::to.other(Tensor(a) self, Tensor other, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)",
        convert,
    )
    .takes_complex(),
    op(
        "aten::type_as(Tensor(a) self, Tensor other) -> Tensor(a)",
        convert,
    )
    .takes_complex(),
    op(
        "aten::_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor",
        convert,
    )
    .takes_complex(),
];

/// The operand converted to another type, or the operand itself if it is of that type already and
/// no copy is asked for.
fn convert(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?.unwrap_or(x.dtype),
        false => call.tensor("other")?.dtype,
    };
    let copies = match call.has("copy") {
        true => call.bool("copy")?,
        // The result of `_to_copy` has no alias set: it must not be the operand.
        false => call.schema.aliased_by(0).next().is_none(),
    };
    if dtype == x.dtype {
        return Ok(match copies {
            true => Lowering::copy(x),
            false => Lowering::view(x, x.layout.clone()),
        });
    }
    let index = x.index;
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            copy(&mut o.outputs[0], &o.inputs[index], o.threads);
            Ok(())
        },
    ))
}
