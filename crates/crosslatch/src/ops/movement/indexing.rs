//! Indexing with tensors: `x[i, :, j]`, read and written.
//!
//! A lowering checks all that can be known without the contents of the indices: types, shapes and
//! where the dimensions of the indices go in the result. To read with a mask as an index gives a
//! result whose size depends on data, and so does to write one value for each of its true elements: when a
//! program is loaded, such a mask becomes its indices ([`crate::passes::segments`]). To write the same
//! for all true elements of one mask is a selection.

use smallvec::SmallVec;

use crosslatch_kernels::kernel::Entries;
use crosslatch_kernels::movement::{
    Index, Indexing, Integers, Negative, Scalar, Write, fill, index, index_put, position, read_one,
    write_masked,
};
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{DType, Dims, Kernel, KernelError, Layout, Operands, TensorRef};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::range::{check_value, checked_value};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
        index_tensor,
    )
    .takes_complex(),
    op(
        "aten::_unsafe_index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
        index_tensor,
    )
    .takes_complex(),
    op(
        "aten::index_select(Tensor self, int dim, Tensor index) -> Tensor",
        index_select,
    )
    .takes_complex(),
    op_with_in_place(
        "aten::index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
        lower_index_put,
    ),
    op(
        "aten::_unsafe_index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
        lower_index_put,
    ),
    op_with_in_place(
        "aten::_index_put_impl(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False, bool unsafe=False) -> Tensor",
        lower_index_put,
    ),
    op_with_in_place(
        "aten::index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
        |c| lower_index_write(c, Write::Replace),
    ),
    op_with_in_place(
        "aten::index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
        |c| lower_index_write(c, Write::Add(c.float("alpha")?)),
    ),
    op_with_in_place(
        "aten::index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
        index_fill,
    ),
    op_with_in_place(
        "aten::index_fill.int_Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor",
        index_fill,
    ),
];

/// The layout with a dimension of length 1 if it has none, to which an index can refer.
pub(super) fn at_least_1d(layout: &Layout) -> Layout {
    match layout.rank() {
        0 => layout.unsqueeze(0),
        _ => layout.clone(),
    }
}

/// Fails if a tensor is not an index. An empty one may have any type, as in PyTorch.
pub(super) fn check_index(index: &TensorArg) -> Result<(), OpError> {
    match index.dtype {
        DType::I64 | DType::I32 => Ok(()),
        _ if index.layout.numel() == 0 => Ok(()),
        other => Err(OpError::new(format!(
            "an index of type {other}, which is not an integer type"
        ))),
    }
}

/// Which dimensions are indexed by which operand, and the shape that results.
struct IndexedShape {
    /// Pairs of a dimension and the operand that indexes it.
    indices: SmallVec<[(usize, usize); 4]>,
    /// The shape to which the indices are broadcast.
    shape: Dims,
    /// Position of that shape in the result.
    at: usize,
    /// The shape of the result, or of the values that are written.
    result: Dims,
}

impl IndexedShape {
    fn new(shape: &[usize], indices: &[Option<&TensorArg>]) -> Result<IndexedShape, OpError> {
        if indices.len() > shape.len() {
            return Err(OpError::new(format!(
                "{} indices for a tensor of rank {}",
                indices.len(),
                shape.len()
            )));
        }
        let given: Vec<(usize, &TensorArg)> = indices
            .iter()
            .enumerate()
            .filter_map(|(d, i)| Some((d, (*i)?)))
            .collect();
        for (_, index) in &given {
            if matches!(index.dtype, DType::Bool | DType::U8) {
                return Err(OpError::unsupported(
                    "the size of a tensor indexed with a mask depends on data, which is not \
                     supported here; use `where` or `masked_fill` in the model",
                ));
            }
            check_index(index)?;
        }
        let shapes: Vec<&[usize]> = given.iter().map(|(_, i)| i.shape()).collect();
        let broadcast = broadcast_shapes(&shapes).ok_or_else(|| {
            OpError::new(format!("indices of shapes {shapes:?} do not broadcast"))
        })?;
        let are_adjacent = given.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1);
        let at = match given.first() {
            Some((d, _)) if are_adjacent => *d,
            _ => 0,
        };
        let is_indexed = |d: &usize| given.iter().any(|(i, _)| i == d);
        let mut result: Dims = (0..shape.len())
            .filter(|d| !is_indexed(d))
            .map(|d| shape[d])
            .collect();
        result.insert_many(at, broadcast.iter().copied());
        let result = checked_shape(result)?;
        let empty = given.iter().any(|(d, _)| shape[*d] == 0);
        if empty && !result.contains(&0) {
            return Err(OpError::new("a dimension of length 0 is indexed"));
        }
        Ok(IndexedShape {
            indices: given.iter().map(|(d, i)| (*d, i.index)).collect(),
            shape: broadcast,
            at,
            result,
        })
    }

    /// The indices among the inputs of a kernel.
    fn indices<'m>(&self, inputs: &[TensorRef<'m>]) -> SmallVec<[Index<'m>; 4]> {
        self.indices
            .iter()
            .map(|&(dim, operand)| Index {
                dim,
                tensor: inputs[operand],
            })
            .collect()
    }
}

fn index_tensor(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let indexed = IndexedShape::new(this.shape(), &call.optional_tensors("indices")?)?;
    let of = this.index;
    let shape = indexed.result.clone();
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let from = o.inputs[of];
            let indices = indexed.indices(o.inputs);
            let indexing = Indexing {
                indices: &indices,
                shape: &indexed.shape,
                at: indexed.at,
                negative: Negative::FromEnd,
            };
            index(&mut o.outputs[0], &from, &indexing, o.threads)
        },
    ))
}

fn index_select(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, by) = (call.tensor("self")?, call.tensor("index")?);
    let dim = this.dim(call.int("dim")?)?;
    check_index(by)?;
    if by.rank() > 1 {
        return Err(OpError::new(
            "the index of index_select has more than one dimension",
        ));
    }
    let count = by.layout.numel();
    let mut shape = this.layout.shape.clone();
    match shape.get_mut(dim) {
        Some(size) => *size = count,
        None if count != 1 => {
            return Err(OpError::new(
                "several elements are selected of a tensor without dimensions",
            ));
        }
        None => {}
    }
    let shape = checked_shape(shape)?;
    let (of, by) = (this.index, by.index);
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let from_layout = at_least_1d(o.inputs[of].layout());
            let to_layout = at_least_1d(o.outputs[0].layout());
            let from = view(&o.inputs[of], &from_layout)?;
            let indexing = Indexing {
                indices: &[Index {
                    dim,
                    tensor: o.inputs[by],
                }],
                shape: &[count],
                at: dim,
                negative: Negative::Outside,
            };
            index(
                &mut view_mut(&mut o.outputs[0], &to_layout)?,
                &from,
                &indexing,
                o.threads,
            )
        },
    ))
}

fn same_dtype(this: &TensorArg, values: &TensorArg) -> Result<(), OpError> {
    match this.dtype == values.dtype {
        true => Ok(()),
        false => Err(OpError::new(format!(
            "values of type {} are written to a tensor of type {}",
            values.dtype, this.dtype
        ))),
    }
}

fn lower_index_put(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, values) = (call.tensor("self")?, call.tensor("values")?);
    let indices = call.optional_tensors("indices")?;
    let write = match call.bool("accumulate")? {
        true => Write::Add(1.0),
        false => Write::Replace,
    };
    same_dtype(this, values)?;
    let given: Vec<&TensorArg> = indices.iter().copied().flatten().collect();
    if let [mask] = given.as_slice()
        && mask.dtype == DType::Bool
    {
        let at = indices.iter().take_while(|i| i.is_none()).count();
        return put_masked(this, mask, at, values, write);
    }
    let indexed = IndexedShape::new(this.shape(), &indices)?;
    if values.layout.expand(&indexed.result).is_none() {
        return Err(OpError::new(format!(
            "values of shape {:?} do not fit the indexed shape {:?}",
            values.shape(),
            indexed.result.as_slice()
        )));
    }
    let values = values.index;
    Ok(Lowering::update(this, move |o: &mut Operands<'_, '_>| {
        let expanded = o.inputs[values].layout().expand(&indexed.result);
        let Some(layout) = expanded else {
            return Err(KernelError::Assertion(
                "the values do not fit the indices".into(),
            ));
        };
        let source = view(&o.inputs[values], &layout)?;
        let indices = indexed.indices(o.inputs);
        let indexing = Indexing {
            indices: &indices,
            shape: &indexed.shape,
            at: indexed.at,
            negative: Negative::FromEnd,
        };
        index_put(&mut o.outputs[0], &source, &indexing, write)
    }))
}

/// `x[mask] = values`, where the same values are written for each element of the mask: `values` may
/// differ along the dimensions that the mask does not cover, but not along the selected elements.
fn put_masked(
    this: &TensorArg,
    mask: &TensorArg,
    at: usize,
    values: &TensorArg,
    write: Write,
) -> Result<Lowering, OpError> {
    let (rank, covered) = (this.rank(), mask.rank());
    if at + covered > rank || this.shape()[at..at + covered] != *mask.shape() {
        return Err(OpError::new(format!(
            "a mask of shape {:?} does not fit a tensor of shape {:?}",
            mask.shape(),
            this.shape()
        )));
    }
    // Values broadcast against [before…, selected, after…], where `selected` has to be 1.
    let mut wanted: Dims = this.shape()[..at].into();
    wanted.push(1);
    wanted.extend_from_slice(&this.shape()[at + covered..]);
    if values.layout.expand(&wanted).is_none() {
        return Err(OpError::unsupported(
            "one value for each element of a mask: their number depends on data, which is not \
             supported; use `where` or `masked_scatter` in the model",
        ));
    }
    let (mask, values) = (mask.index, values.index);
    let shape = this.layout.shape.clone();
    Ok(Lowering::update(this, move |o: &mut Operands<'_, '_>| {
        let misfit = || KernelError::Assertion("the values do not fit the mask".into());
        let mut mask_layout = o.inputs[mask].layout().clone();
        for d in 0..at {
            mask_layout.shape.insert(d, shape[d]);
            mask_layout.strides.insert(d, 0);
        }
        for &size in &shape[at + covered..] {
            mask_layout.shape.push(size);
            mask_layout.strides.push(0);
        }
        let mut layout = o.inputs[values]
            .layout()
            .expand(&wanted)
            .ok_or_else(misfit)?;
        layout.shape.remove(at);
        layout.strides.remove(at);
        for d in at..at + covered {
            layout.shape.insert(d, shape[d]);
            layout.strides.insert(d, 0);
        }
        let mask = view(&o.inputs[mask], &mask_layout)?;
        let values = view(&o.inputs[values], &layout)?;
        write_masked(&mut o.outputs[0], &mask, &values, write);
        Ok(())
    }))
}

/// `index_copy` and `index_add`: entries of `source` along a dimension go where the index says.
fn lower_index_write(call: &Call<'_>, write: Write) -> Result<Lowering, OpError> {
    let (this, by) = (call.tensor("self")?, call.tensor("index")?);
    let source = call.tensor("source")?;
    let dim = this.dim(call.int("dim")?)?;
    check_index(by)?;
    same_dtype(this, source)?;
    let count = by.layout.numel();
    let mut expected = at_least_1d(&this.layout).shape;
    expected[dim] = count;
    let actual = at_least_1d(&source.layout).shape;
    if by.rank() > 1 || actual != expected {
        return Err(OpError::new(format!(
            "a source of shape {:?} and an index of shape {:?} do not fit a tensor of shape {:?} \
             along dimension {dim}",
            source.shape(),
            by.shape(),
            this.shape()
        )));
    }
    let (by, source) = (by.index, source.index);
    let kernel = IndexWrite {
        dim,
        by,
        source,
        count,
        write,
    };
    Ok(Lowering::update(this, kernel))
}

/// Writes entries of a dimension.
struct IndexWrite {
    dim: usize,
    /// Index of the operand that says which.
    by: usize,
    /// Index of the operand that they are written from.
    source: usize,
    count: usize,
    write: Write,
}

impl Kernel for IndexWrite {
    fn entries_written(&self, inputs: &[TensorRef<'_>]) -> Option<Entries> {
        let by = &inputs[self.by];
        let indices = Integers::of(by);
        let greatest = by.layout().positions().map(|at| indices.at(at)).max();
        let end = usize::try_from(greatest.map_or(0, |greatest| greatest.saturating_add(1)));
        Some(Entries {
            dim: self.dim,
            end: end.ok()?,
        })
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let from_layout = at_least_1d(o.inputs[self.source].layout());
        let to_layout = at_least_1d(o.outputs[0].layout());
        let from = view(&o.inputs[self.source], &from_layout)?;
        let indexing = Indexing {
            indices: &[Index {
                dim: self.dim,
                tensor: o.inputs[self.by],
            }],
            shape: &[self.count],
            at: self.dim,
            negative: Negative::Outside,
        };
        index_put(
            &mut view_mut(&mut o.outputs[0], &to_layout)?,
            &from,
            &indexing,
            self.write,
        )
    }
}

fn index_fill(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, by) = (call.tensor("self")?, call.tensor("index")?);
    let dim = this.dim(call.int("dim")?)?;
    check_index(by)?;
    if by.rank() > 1 {
        return Err(OpError::new(
            "the index of index_fill has more than one dimension",
        ));
    }
    let of = by.index;
    if call.arg_type("value") == Some(crate::ir::schema::ArgType::Tensor) {
        let value = call.tensor("value")?;
        if value.layout.numel() != 1 {
            return Err(OpError::new("`value` is not a single number"));
        }
        let value = value.index;
        let dtype = this.dtype;
        let read = move |o: &Operands<'_, '_>| check_value(read_one(&o.inputs[value]), dtype);
        return Ok(Lowering::update(this, index_fill_kernel(of, dim, read)));
    }
    let value = checked_value(call.number("value")?, this.dtype)?;
    Ok(Lowering::update(
        this,
        index_fill_kernel(of, dim, move |_: &Operands<'_, '_>| Ok(value)),
    ))
}

/// The kernel of `index_fill`; the value is read when it runs.
fn index_fill_kernel(
    by: usize,
    dim: usize,
    value: impl Fn(&Operands<'_, '_>) -> Result<Scalar, KernelError> + Send + Sync + 'static,
) -> impl Kernel + 'static {
    move |o: &mut Operands<'_, '_>| {
        let value = value(o)?;
        let layout = at_least_1d(o.outputs[0].layout());
        let indices = Integers::of(&o.inputs[by]);
        for place in o.inputs[by].layout().positions() {
            let entry = position(indices.at(place), layout.shape[dim], Negative::FromEnd)?;
            let entry = layout.select(dim, entry);
            fill(&mut view_mut(&mut o.outputs[0], &entry)?, value);
        }
        Ok(())
    }
}
