//! What all reductions share: which dimensions are reduced, and what shape is left.

use crosslatch_kernels::{
    DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef, Threads,
};

use crate::ir::{self, Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::view_mut;

/// A reduction: the dimensions that are reduced, and the shape that is left.
pub(super) struct Reduction {
    pub(super) dims: Dims,
    /// Shape of the result, with reduced dimensions as 1 where they are kept.
    pub(super) shape: Dims,
    /// The shape without the reduced dimensions, which a kernel fills.
    kept: Layout,
    /// Number of elements that are reduced to one.
    pub(super) count: usize,
}

/// A kernel that fills a result without the reduced dimensions.
pub(super) trait ReduceKernel:
    Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static
{
}

impl<F> ReduceKernel for F where
    F: Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static
{
}

impl Reduction {
    /// The reduction of the dimensions that the argument `dim` names, or of all if it names none.
    pub(super) fn of(call: &Call<'_>, x: &TensorArg) -> Result<Reduction, OpError> {
        let mut named = match call.has("dim") {
            true => call.optional_ints("dim")?.unwrap_or_default(),
            false => Vec::new(),
        };
        if named.is_empty() {
            named = (0..x.rank() as i64).collect();
        }
        let mut dims = Dims::new();
        for dim in named {
            let dim = x.dim(dim)?;
            if dims.contains(&dim) {
                return Err(OpError::new(format!("dimension {dim} is named twice")));
            }
            // A tensor without dimensions takes 0 as a dimension.
            if dim < x.rank() {
                dims.push(dim);
            }
        }
        let keep = call.has("keepdim") && call.bool("keepdim")?;
        let (mut shape, mut kept, mut count) = (Dims::new(), Dims::new(), 1usize);
        for (d, &size) in x.shape().iter().enumerate() {
            if !dims.contains(&d) {
                shape.push(size);
                kept.push(size);
                continue;
            }
            count = count.saturating_mul(size);
            if keep {
                shape.push(1);
            }
        }
        Ok(Reduction {
            dims,
            shape,
            kept: Layout::contiguous(&kept),
            count,
        })
    }

    /// Fails if an element of the result would be the extreme of no elements.
    pub(super) fn not_empty(self) -> Result<Reduction, OpError> {
        match self.count == 0 && !self.kept.shape.contains(&0) {
            true => Err(OpError::new(
                "the extreme of an empty dimension is not defined",
            )),
            false => Ok(self),
        }
    }

    /// The reduction that reduces no dimension.
    pub(super) fn of_nothing(x: &TensorArg) -> Reduction {
        Reduction {
            dims: Dims::new(),
            shape: x.shape().into(),
            kept: Layout::contiguous(x.shape()),
            count: 1,
        }
    }

    /// Lowers to one result.
    pub(super) fn lower(self, dtype: DType, kernel: impl ReduceKernel) -> Lowering {
        let (dims, kept) = (self.dims, self.kept);
        Lowering::compute(dtype, &self.shape, move |o: &mut Operands<'_, '_>| {
            run(
                &mut o.outputs[0],
                &kept,
                &o.inputs[0],
                &dims,
                o.threads,
                &kernel,
            )
        })
    }

    /// Lowers to two results of one shape.
    pub(super) fn lower_two(
        self,
        (first_type, first): (DType, impl ReduceKernel),
        (second_type, second): (DType, impl ReduceKernel),
    ) -> Lowering {
        let (dims, kept, shape) = (self.dims, self.kept, self.shape);
        let results = vec![(first_type, shape.clone()), (second_type, shape)];
        let kernel = move |o: &mut Operands<'_, '_>| {
            let x = &o.inputs[0];
            run(&mut o.outputs[0], &kept, x, &dims, o.threads, &first)?;
            run(&mut o.outputs[1], &kept, x, &dims, o.threads, &second)
        };
        Lowering::Compute(ir::Compute::new(results, kernel))
    }
}

/// Runs a kernel on a result, without the reduced dimensions if those are kept as 1.
fn run(
    out: &mut TensorMut<'_>,
    kept: &Layout,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    kernel: &impl ReduceKernel,
) -> Result<(), KernelError> {
    let mut layout = out.layout().clone();
    let keeps_dims = layout.rank() == x.layout().rank();
    if layout.rank() != kept.rank() && keeps_dims {
        for d in (0..layout.rank()).rev() {
            if dims.contains(&d) {
                layout = layout.squeeze(d);
            }
        }
    }
    kernel(&mut view_mut(out, &layout)?, x, dims, threads);
    Ok(())
}
