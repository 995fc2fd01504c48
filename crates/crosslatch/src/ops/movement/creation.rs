//! Tensors made without operands: constants, ranges, the identity.
//!
//! Uninitialised tensors (`empty`) are zeros here, so that a program that reads one by mistake gives
//! the same answer in every run. Random numbers are refused: a model that draws them at inference
//! was exported in training mode.

use crosslatch_kernels::movement::{Integers, Scalar, arange, eye, fill, linspace, read_one};
use crosslatch_kernels::{DType, Dims, Element, KernelError, Operands, TensorMut, with_element};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::elements::pointwise::number_in;
use crate::ops::operands::range::{checked_value, value_of};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        full,
    )
    .takes_complex(),
    op(
        "aten::new_full(Tensor self, SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        full,
    )
    .takes_complex(),
    op(
        "aten::full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        full,
    )
    .takes_complex(),
    op(
        "aten::zeros(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::new_zeros(Tensor self, SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::zeros_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::ones(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        ones,
    )
    .takes_complex(),
    op(
        "aten::new_ones(Tensor self, SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        ones,
    )
    .takes_complex(),
    op(
        "aten::ones_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        ones,
    )
    .takes_complex(),
    op(
        "aten::empty.memory_format(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::empty_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::empty_strided(SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::empty_permuted(SymInt[] size, int[] physical_layout, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::new_empty(Tensor self, SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::new_empty_strided(Tensor self, SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        zeros,
    )
    .takes_complex(),
    op(
        "aten::scalar_tensor(Scalar s, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        |c| {
            let dtype = c.optional_dtype("dtype")?.unwrap_or(DType::F32);
            constant(dtype, Dims::new(), checked_value(c.number("s")?, dtype)?)
        },
    ),
    op(
        "aten::arange(Scalar end, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        lower_arange,
    ),
    op(
        "aten::arange.start(Scalar start, Scalar end, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        lower_arange,
    ),
    op(
        "aten::arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        lower_arange,
    ),
    op(
        "aten::linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        |c| {
            let dtype = c.optional_dtype("dtype")?.unwrap_or(DType::F32);
            let end_of = |name| match (dtype.is_float(), c.number(name)?) {
                // In an integer type PyTorch converts both ends first.
                (false, n) => Ok(number_in::<f64>(n, dtype)),
                (true, n) => Ok(n.to_f64()),
            };
            let (start, end) = (end_of("start")?, end_of("end")?);
            let shape = Dims::from_slice(&[length(c.int("steps")?, "`steps`")?]);
            create(dtype, shape, move |to| linspace(to, start, end))
        },
    ),
    op(
        "aten::eye(SymInt n, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        identity,
    ),
    op(
        "aten::eye.m(SymInt n, SymInt m, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        identity,
    ),
    op(
        "aten::tril_indices(int row, int col, int offset=0, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        |c| triangle_indices(c, true),
    ),
    op(
        "aten::triu_indices(int row, int col, int offset=0, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        |c| triangle_indices(c, false),
    ),
    op(
        "aten::one_hot(Tensor self, int num_classes=-1) -> Tensor",
        one_hot,
    ),
    op_with_in_place(
        "aten::fill.Scalar(Tensor self, Scalar value) -> Tensor",
        |c| {
            let dtype = c.tensor("self")?.dtype;
            lower_fill(c, Some(checked_value(c.number("value")?, dtype)?))
        },
    ),
    op_with_in_place(
        "aten::fill.Tensor(Tensor self, Tensor value) -> Tensor",
        |c| lower_fill(c, None),
    ),
    op_with_in_place("aten::zero(Tensor self) -> Tensor", |c| {
        lower_fill(c, Some(Scalar::Int(0)))
    }),
];

/// Lowers an operator without operands.
fn create(
    dtype: DType,
    shape: Dims,
    make: impl Fn(&mut TensorMut<'_>) + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            make(&mut o.outputs[0]);
            Ok::<(), KernelError>(())
        },
    ))
}

fn constant(dtype: DType, shape: Dims, value: Scalar) -> Result<Lowering, OpError> {
    create(dtype, shape, move |to| fill(to, value))
}

/// Element type and shape of a constant: as its own arguments say, else those of the tensor `self`
/// that it is modelled on, else the default type.
fn dtype_and_shape(call: &Call<'_>, default: DType) -> Result<(DType, Dims), OpError> {
    let model = match call.has("self") {
        true => Some(call.tensor("self")?),
        false => None,
    };
    let dtype = match (call.optional_dtype("dtype")?, model) {
        (Some(dtype), _) => dtype,
        (None, Some(model)) => model.dtype,
        (None, None) => default,
    };
    let shape = match (call.has("size"), model) {
        (false, Some(model)) => model.layout.shape.clone(),
        _ => call.sizes("size")?,
    };
    Ok((dtype, shape))
}

fn full(call: &Call<'_>) -> Result<Lowering, OpError> {
    let number = call.number("fill_value")?;
    let default = match number {
        Number::Int(_) => DType::I64,
        Number::Float(_) => DType::F32,
        Number::Bool(_) => DType::Bool,
    };
    let (dtype, shape) = dtype_and_shape(call, default)?;
    constant(dtype, shape, checked_value(number, dtype)?)
}

fn zeros(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (dtype, shape) = dtype_and_shape(call, DType::F32)?;
    constant(dtype, shape, Scalar::Int(0))
}

fn ones(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (dtype, shape) = dtype_and_shape(call, DType::F32)?;
    constant(dtype, shape, Scalar::Int(1))
}

/// `fill` with a number, or else with the element of the tensor `value`.
fn lower_fill(call: &Call<'_>, value: Option<Scalar>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let Some(value) = value else {
        let value = call.tensor("value")?;
        if value.layout.numel() != 1 {
            return Err(OpError::new("`value` is not a single number"));
        }
        let of = value.index;
        return Ok(fill_with(call, this, move |o| read_one(&o.inputs[of])));
    };
    Ok(fill_with(call, this, move |_| value))
}

fn fill_with(
    call: &Call<'_>,
    this: &TensorArg,
    value: impl Fn(&Operands<'_, '_>) -> Scalar + Send + Sync + 'static,
) -> Lowering {
    let kernel = move |o: &mut Operands<'_, '_>| {
        let value = value(o);
        fill(&mut o.outputs[0], value);
        Ok(())
    };
    match call.is_in_place() {
        true => Lowering::update(this, kernel),
        // Nothing of `self` is left, so a fresh tensor is filled.
        false => Lowering::compute(this.dtype, this.shape(), kernel),
    }
}

/// Number of elements from `start` up to `end`, which is excluded.
fn range_len(start: Number, end: Number, step: Number) -> Result<usize, OpError> {
    let wrong = || {
        OpError::new(format!(
            "there is no range from {start:?} to {end:?} by {step:?}"
        ))
    };
    if [start, end, step].iter().any(|n| n.is_float()) {
        let count = ((end.to_f64() - start.to_f64()) / step.to_f64()).ceil();
        // A range in the wrong direction or with NaN is an error, and so is one that is too long.
        return match count {
            n if (0.0..1e18).contains(&n) => Ok(n as usize),
            _ => Err(wrong()),
        };
    }
    let (start, end, step) = (
        start.to_i64() as i128,
        end.to_i64() as i128,
        step.to_i64() as i128,
    );
    if step == 0 || (end - start).signum() * step.signum() < 0 {
        return Err(wrong());
    }
    let count = ((end - start).abs() + step.abs() - 1) / step.abs();
    usize::try_from(count).map_err(|_| wrong())
}

fn lower_arange(call: &Call<'_>) -> Result<Lowering, OpError> {
    let number = |name: &str, default: i64| match call.has(name) {
        true => call.number(name),
        false => Ok(Number::Int(default)),
    };
    let (start, end, step) = (number("start", 0)?, number("end", 0)?, number("step", 1)?);
    let is_float = [start, end, step].iter().any(|n| n.is_float());
    let default = if is_float { DType::F32 } else { DType::I64 };
    let dtype = call.optional_dtype("dtype")?.unwrap_or(default);
    // Both are converted to the kind of the result first, as in PyTorch.
    let cast = |n: Number| match dtype.is_float() {
        true => Number::Float(n.to_f64()),
        false => Number::Int(n.to_i64()),
    };
    let count = range_len(start, end, step)?;
    let (start, step) = (value_of(cast(start)), value_of(cast(step)));
    create(dtype, Dims::from_slice(&[count]), move |to| {
        arange(to, start, step)
    })
}

fn identity(call: &Call<'_>) -> Result<Lowering, OpError> {
    let rows = length(call.int("n")?, "`n`")?;
    let columns = match call.has("m") {
        true => length(call.int("m")?, "`m`")?,
        false => rows,
    };
    let dtype = call.optional_dtype("dtype")?.unwrap_or(DType::F32);
    create(dtype, Dims::from_slice(&[rows, columns]), eye)
}

/// Row and column of each element below (or above) a diagonal, as `[2, count]`.
fn triangle_indices(call: &Call<'_>, lower: bool) -> Result<Lowering, OpError> {
    let (rows, columns) = (
        length(call.int("row")?, "`row`")?,
        length(call.int("col")?, "`col`")?,
    );
    let offset = call.int("offset")?;
    let dtype = call.optional_dtype("dtype")?.unwrap_or(DType::I64);
    checked_shape(Dims::from_slice(&[rows, columns]))?;
    // The columns of row `i` that lie in the triangle.
    let columns_of = move |i: usize| {
        let edge = (i as i64).saturating_add(offset);
        match lower {
            true => (0, edge.saturating_add(1).clamp(0, columns as i64)),
            false => (edge.clamp(0, columns as i64), columns as i64),
        }
    };
    // Only rows that have any are visited, however many rows there are.
    let row = |edge: i128| edge.clamp(0, rows as i128) as usize;
    let rows_with_any = match lower {
        true if columns > 0 => row(-(offset as i128))..rows,
        true => 0..0,
        false => 0..row(columns as i128 - offset as i128),
    };
    let below = count_below(rows, columns, offset.saturating_add(lower.into()));
    let count = match lower {
        true => below,
        false => rows * columns - below,
    };
    create(dtype, Dims::from_slice(&[2, count]), move |to| {
        let layout = to.layout().clone();
        with_element!(to.dtype(), T => {
            let data = to.data::<T>();
            let mut at = layout.offset;
            for i in rows_with_any.clone() {
                for j in columns_of(i).0..columns_of(i).1 {
                    data[at] = <T as Element>::from_i64(i as i64);
                    data[at + layout.strides[0]] = <T as Element>::from_i64(j);
                    at += layout.strides[1];
                }
            }
        });
    })
}

/// Number of elements of a matrix that lie before column `i + offset` of their row `i`.
fn count_below(rows: usize, columns: usize, offset: i64) -> usize {
    let [rows, columns, offset] = [rows as i128, columns as i128, offset as i128];
    // Rows before `first` have none, rows from `full` on have all their elements.
    let first = (1 - offset).clamp(0, rows);
    let full = (columns - offset).clamp(first, rows);
    let slope = (full - first) * (first + offset) + (full - first) * (full - first - 1) / 2;
    (slope + (rows - full) * columns) as usize
}

fn one_hot(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let classes = usize::try_from(call.int("num_classes")?).map_err(|_| {
        OpError::unsupported(
            "the size of one_hot without `num_classes` depends on data, which is not supported",
        )
    })?;
    let of = this.index;
    let mut shape = this.layout.shape.clone();
    shape.push(classes);
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(
        DType::I64,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (from, to) = (&o.inputs[of], &mut o.outputs[0]);
            fill(to, Scalar::Int(0));
            let layout = to.layout().clone();
            let stride = layout.strides[layout.rank() - 1];
            let rows = if classes == 0 {
                layout.clone()
            } else {
                layout.select(layout.rank() - 1, 0)
            };
            let classes_of = Integers::of(from);
            let mut result = Ok(());
            with_element!(to.dtype(), T => {
                let data = to.data::<T>();
                for (a, b) in rows.positions().zip(from.layout().positions()) {
                    // A negative class is an error; it does not count from the end.
                    match usize::try_from(classes_of.at(b)) {
                        Ok(class) if class < classes => {
                            data[a + class * stride] = <T as Element>::from_i64(1);
                        }
                        _ => {
                            result = Err(KernelError::IndexOutOfRange {
                                index: classes_of.at(b),
                                len: classes,
                            });
                        }
                    }
                }
            });
            result
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::count_below;

    #[test]
    fn a_triangle_has_as_many_elements_as_are_counted_one_by_one() {
        for rows in 0..6 {
            for columns in 0..6 {
                for offset in (-8..9).chain([i64::MIN, i64::MAX]) {
                    let row = |i: i64| i.saturating_add(offset).clamp(0, columns);
                    let counted: i64 = (0..rows).map(row).sum();
                    let found = count_below(rows as usize, columns as usize, offset);
                    assert_eq!(found, counted as usize, "{rows} by {columns}, {offset}");
                }
            }
        }
    }
}
