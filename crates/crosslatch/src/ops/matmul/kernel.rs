//! The kernel of all matrix products.
//!
//! It reads its operands through the layouts that a lowering made, multiplies by a quantized weight
//! if there is one, applies an epilogue, and multiplies the rows of several sessions at once where
//! they share a weight.

use crosslatch_kernels::kernel::run_each;
use crosslatch_kernels::matmul::{
    MOST_ROWS, Product, QuantizedLinear, SharedSizes, matmul, quantized_linear, with_shared_right,
};
use crosslatch_kernels::simd::Function;
use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::{
    Dims, Kernel, KernelError, Layout, Operands, QuantizedMatrix, Storage, TensorMut, TensorRef,
    Threads,
};

use crate::ops::operands::layouts::{layout_not_accepted, outside_memory, view, view_mut};

/// A matrix product `alpha * a * b + beta * bias`. Operands are given by their index among the inputs
/// and the layout in which they are read.
#[derive(Clone)]
pub(super) struct ProductKernel {
    /// Shape of the product, `[…, m, n]`.
    pub(super) shape: Dims,
    pub(super) a: (usize, Layout),
    pub(super) b: (usize, Layout),
    pub(super) bias: Option<(usize, Layout)>,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// The format of `b`, if it is a quantized weight.
    pub(super) quantized: Option<WeightFormat>,
    /// Whether plain loops are asked for.
    pub(super) plain: bool,
    pub(super) is_f32: bool,
    /// The function that is applied to each element of the result.
    pub(super) epilogue: Option<Function>,
}

impl ProductKernel {
    /// `[m, k, n]`
    fn sizes(&self) -> [usize; 3] {
        let [a, b] = [&self.a.1.shape, &self.b.1.shape];
        [a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]]
    }

    /// Multiplies `a` by the operand `b` among these inputs.
    fn multiply(
        &self,
        out: &mut TensorMut<'_>,
        a: TensorRef<'_>,
        inputs: &[TensorRef<'_>],
        bias: Option<&(usize, Layout)>,
        threads: &Threads,
    ) -> Result<(), KernelError> {
        let bias = bias.map(|(i, layout)| view(&inputs[*i], layout));
        let bias = bias.transpose()?;
        let (ib, b) = &self.b;
        match self.quantized {
            None => {
                let product = Product {
                    a,
                    b: view(&inputs[*ib], b)?,
                    bias,
                    alpha: self.alpha,
                    beta: self.beta,
                    epilogue: self.epilogue,
                };
                matmul(out, &product, self.plain, threads);
            }
            Some(format) => {
                let [_, k, n] = self.sizes();
                let weight = QuantizedMatrix::new(format, n, k, inputs[*ib].bytes());
                let linear = QuantizedLinear {
                    a,
                    weight: weight.map_err(outside_memory)?,
                    bias,
                    epilogue: self.epilogue,
                };
                quantized_linear(out, &linear, self.plain, threads);
            }
        }
        Ok(())
    }

    /// The bias for `rows` rows, if all these sessions multiply by the same `b` and add the same bias
    /// to every row: their left sides can then be one matrix. `None` if they do not.
    fn shared_bias(
        &self,
        many: &[Operands<'_, '_>],
        rows: usize,
    ) -> Option<Option<(usize, Layout)>> {
        let is_shared = |i: usize| {
            let first = many[0].inputs[i].bytes();
            many.iter()
                .all(|o| std::ptr::eq(o.inputs[i].bytes(), first))
        };
        let is_matrix = self.shape.len() == 2 && is_shared(self.b.0);
        if !is_matrix || !self.is_f32 || self.plain {
            return None;
        }
        let Some((i, layout)) = &self.bias else {
            return Some(None);
        };
        let fits = is_shared(*i) && (layout.shape[0] == 1 || layout.strides[0] == 0);
        fits.then(|| {
            let mut layout = layout.clone();
            (layout.shape[0], layout.strides[0]) = (rows, 0);
            Some((*i, layout))
        })
    }
}

impl Kernel for ProductKernel {
    fn accepts(&self, layout: &Layout) -> bool {
        as_matrices(layout, &self.shape).is_some()
    }

    fn with_epilogue(&self, function: Function) -> Option<Box<dyn Kernel>> {
        let may = self.is_f32 && !self.plain && self.epilogue.is_none();
        may.then(|| -> Box<dyn Kernel> {
            Box::new(ProductKernel {
                epilogue: Some(function),
                ..self.clone()
            })
        })
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let out =
            as_matrices(o.outputs[0].layout(), &self.shape).ok_or_else(layout_not_accepted)?;
        let mut out_view = view_mut(&mut o.outputs[0], &out)?;
        let a = view(&o.inputs[self.a.0], &self.a.1)?;
        self.multiply(&mut out_view, a, o.inputs, self.bias.as_ref(), o.threads)
    }

    fn run_batched(
        &self,
        many: &mut [Operands<'_, '_>],
        memory: &mut Storage,
    ) -> Result<(), KernelError> {
        let [rows, depth, columns] = self.sizes();
        let at_once = MOST_ROWS / rows.max(1);
        for some in many.chunks_mut(at_once.max(1)) {
            let bias = self.shared_bias(some, rows * some.len());
            let Some(bias) = bias.filter(|_| some.len() > 1 && rows * depth * columns > 0) else {
                run_each(self, some)?;
                continue;
            };
            let (inputs, threads) = (some[0].inputs, some[0].threads);
            let outs = some.iter().map(|o| {
                as_matrices(o.outputs[0].layout(), &self.shape).ok_or_else(layout_not_accepted)
            });
            let outs: Vec<Layout> = outs.collect::<Result<_, _>>()?;
            let lefts = some.iter().map(|o| view(&o.inputs[self.a.0], &self.a.1));
            let lefts: Vec<TensorRef<'_>> = lefts.collect::<Result<_, _>>()?;
            let results = some
                .iter_mut()
                .zip(&outs)
                .map(|(o, out)| view_mut(&mut o.outputs[0], out));
            let mut results: Vec<TensorMut<'_>> = results.collect::<Result<_, _>>()?;
            let sizes = SharedSizes {
                rows,
                depth,
                columns,
            };
            let mut done = Ok(());
            with_shared_right(
                &mut results,
                &lefts,
                sizes,
                memory,
                threads,
                &mut |out, left| {
                    done = self.multiply(out, *left, inputs, bias.as_ref(), threads);
                },
            )
            .map_err(outside_memory)?;
            done?;
        }
        Ok(())
    }
}

/// The layout of a result as a kernel writes it: `[…, m, n]` as in `shape`, or with the columns in
/// groups, `[…, m, groups, n / groups]`, as heads of attention are.
fn as_matrices(layout: &Layout, shape: &[usize]) -> Option<Layout> {
    if let Some(plain) = layout.reshape(shape) {
        return Some(plain);
    }
    let (n, outer) = shape.split_last()?;
    // A group is as long as the last dimension that is not 1.
    let group = layout.shape.iter().copied().rfind(|size| *size != 1)?;
    let mut grouped: Dims = outer.into();
    grouped.extend([n.checked_div(group)?, group]);
    layout.reshape(&grouped)
}
