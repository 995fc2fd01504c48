//! Sorting, top-k and binary search.

use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::movement::fill;
use crosslatch_kernels::reduce::{Order, order, scratch_bytes, search_sorted};
use crosslatch_kernels::{DType, Dims, Layout, Operands, TensorMut, TensorRef};

use crate::ir::catalogue::{Table, op};
use crate::ir::schema::ArgType;
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::outside_memory;
use crate::ops::operands::range::value_of;
use crate::ops::operands::shapes::length;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
        |c| {
            let this = c.tensor("self")?;
            let dim = this.dim(c.int("dim")?)?;
            let k = length(c.int("k")?, "`k`")?;
            let order = Order {
                dim,
                descending: c.bool("largest")?,
                sorted: c.bool("sorted")?,
            };
            lower_sort(this, order, k, true)
        },
    ),
    op(
        "aten::sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
        sort,
    ),
    op(
        "aten::sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
        sort,
    ),
    op(
        "aten::argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor",
        argsort,
    ),
    op(
        "aten::argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor",
        argsort,
    ),
    op("aten::msort(Tensor self) -> Tensor", |c| {
        let this = c.tensor("self")?;
        let by = Order {
            dim: 0,
            descending: false,
            sorted: true,
        };
        let of = this.index;
        let run = move |o: &mut Operands<'_, '_>| {
            order(o.outputs.first_mut(), None, &o.inputs[of], by, o.scratch);
            Ok(())
        };
        Ok(Lowering::compute(
            this.dtype,
            this.shape(),
            WithScratch {
                bytes: scratch(this, 0)?,
                run,
            },
        ))
    }),
    op(
        "aten::searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
        |c| search(c, c.tensor("sorted_sequence")?),
    ),
    op(
        "aten::searchsorted.Scalar(Tensor sorted_sequence, Scalar self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
        |c| search(c, c.tensor("sorted_sequence")?),
    ),
    op(
        "aten::bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
        |c| search(c, c.tensor("boundaries")?),
    ),
    op(
        "aten::bucketize.Scalar(Scalar self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
        |c| search(c, c.tensor("boundaries")?),
    ),
    op(
        "aten::_unique2(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> (Tensor, Tensor, Tensor)",
        refuse_data_dependence,
    ),
    op(
        "aten::unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> (Tensor, Tensor, Tensor)",
        refuse_data_dependence,
    ),
    op(
        "aten::bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor",
        refuse_data_dependence,
    ),
];

fn refuse_data_dependence(call: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::unsupported(format!(
        "the size of the result of `{}` depends on data, which is not supported",
        call.schema.name
    )))
}

/// Scratch memory for sorting lines along `dim`.
fn scratch(this: &TensorArg, dim: usize) -> Result<usize, OpError> {
    scratch_bytes(this.shape().get(dim).copied().unwrap_or(1))
        .ok_or_else(|| OpError::new("the sorted dimension is too long"))
}

/// The first `keep` elements of each sorted line and their indices, or the indices alone.
fn lower_sort(
    this: &TensorArg,
    by: Order,
    keep: usize,
    with_values: bool,
) -> Result<Lowering, OpError> {
    let mut shape = this.layout.shape.clone();
    let len = shape.get(by.dim).copied().unwrap_or(1);
    if keep > len {
        return Err(OpError::new(format!(
            "`k` is {keep}, but the dimension has length {len}"
        )));
    }
    // A tensor without dimensions has one element, whatever `k` is.
    if let Some(size) = shape.get_mut(by.dim) {
        *size = keep;
    }
    let of = this.index;
    let run = move |o: &mut Operands<'_, '_>| {
        match o.outputs {
            [values, indices] => order(Some(values), Some(indices), &o.inputs[of], by, o.scratch),
            [indices] => order(None, Some(indices), &o.inputs[of], by, o.scratch),
            _ => {}
        }
        Ok(())
    };
    let mut results = vec![(DType::I64, shape.clone())];
    if with_values {
        results.insert(0, (this.dtype, shape));
    }
    let kernel = WithScratch {
        bytes: scratch(this, by.dim)?,
        run,
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}

/// The operand, the order that a call asks for, and the length of the sorted lines.
fn sort_arguments<'c>(call: &'c Call<'_>) -> Result<(&'c TensorArg, Order, usize), OpError> {
    let this = call.tensor("self")?;
    let dim = this.dim(call.int("dim")?)?;
    let len = this.shape().get(dim).copied().unwrap_or(1);
    Ok((
        this,
        Order {
            dim,
            descending: call.bool("descending")?,
            sorted: true,
        },
        len,
    ))
}

fn sort(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, order, len) = sort_arguments(call)?;
    lower_sort(this, order, len, true)
}

fn argsort(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, order, len) = sort_arguments(call)?;
    lower_sort(this, order, len, false)
}

/// `searchsorted` and `bucketize` for a tensor or a number.
fn search(call: &Call<'_>, boundaries: &TensorArg) -> Result<Lowering, OpError> {
    let mut right = call.bool("right")?;
    if call.has("side") {
        right = match call.optional_str("side")? {
            Some("right") => true,
            Some("left") if right => {
                return Err(OpError::new("`right` and `side` contradict each other"));
            }
            Some("left") | None => right,
            Some(other) => return Err(OpError::new(format!("unknown side `{other}`"))),
        };
        if call.optional_tensor("sorter")?.is_some() {
            return Err(OpError::unsupported(
                "searchsorted with a sorter is not supported",
            ));
        }
    }
    let dtype = if call.bool("out_int32")? {
        DType::I32
    } else {
        DType::I64
    };
    let sorted = boundaries.index;
    if call.arg_type("self") != Some(ArgType::Tensor) {
        if boundaries.rank() != 1 {
            return Err(OpError::new(
                "a number can be searched for in one dimension only",
            ));
        }
        let number = call.number("self")?;
        let value = value_of(number);
        let dtype_of_number = if number.is_float() {
            DType::F64
        } else {
            DType::I64
        };
        return Ok(Lowering::compute(
            dtype,
            &[],
            move |o: &mut Operands<'_, '_>| {
                let mut memory = [0i64];
                let layout = Layout::contiguous(&[]);
                let bytes = bytemuck::cast_slice_mut(&mut memory);
                let mut tensor =
                    TensorMut::new(dtype_of_number, &layout, bytes).map_err(outside_memory)?;
                fill(&mut tensor, value);
                search_sorted(
                    &mut o.outputs[0],
                    &o.inputs[sorted],
                    &tensor.as_ref(),
                    right,
                );
                Ok(())
            },
        ));
    }
    let this = call.tensor("self")?;
    let lead = boundaries.rank().saturating_sub(1);
    let fits = boundaries.rank() == 1
        || (boundaries.rank() == this.rank() && boundaries.shape()[..lead] == this.shape()[..lead]);
    if !fits || boundaries.rank() == 0 {
        return Err(OpError::new(format!(
            "values of shape {:?} cannot be searched for in lines of shape {:?}",
            this.shape(),
            boundaries.shape()
        )));
    }
    let of = this.index;
    let shape: Dims = this.layout.shape.clone();
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let values: TensorRef<'_> = o.inputs[of];
            search_sorted(&mut o.outputs[0], &o.inputs[sorted], &values, right);
            Ok(())
        },
    ))
}
