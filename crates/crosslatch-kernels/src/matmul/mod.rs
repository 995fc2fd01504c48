//! Matrix products.
//!
//! One function for all of them: `out[…, m, n] = sum over k of a[…, m, k] * b[…, k, n]`, plus a
//! bias, for any strides; a linear layer is the product with the transposed weight. In `f32` there
//! are two fast ways: `gemv` for the steps of a decoder, which run at the speed of memory, and
//! `gemm` for larger products. Everything else, and the oracle, is three plain loops. The right
//! side of an `f32` product may be stored in 16 bits: it is widened where it is read, and the result
//! is that of the widened matrix, bit for bit. Quantized weights have a function of their own, with
//! the same choice (`quantized`); where the machine has no instructions for a format, many rows are
//! multiplied by `gemm`, which widens the weights while it packs them.

mod bytes;
pub(crate) mod contraction;
pub(crate) mod epilogue;
pub(crate) mod gemm;
pub(crate) mod gemv;
mod large;
pub(crate) mod microkernel;
pub(crate) mod packing;
pub(crate) mod quantized;
pub(crate) mod result;
pub(crate) mod shared_right;
#[cfg(test)]
mod tests;
mod widening;

pub use bytes::multiply_bytes;
pub use contraction::contract;
pub use gemv::MOST_ROWS;
pub use microkernel::microkernels;
pub use shared_right::{SharedSizes, with_shared_right};

use half::{bf16, f16};

use crate::matmul::gemm::Gemm;
use crate::matmul::gemv::Gemv;
use crate::matmul::packing::RightElement;
use crate::matmul::quantized::gemm::{QuantizedGemm, QuantizedRight};
use crate::matmul::quantized::gemv::QuantizedGemv;
use crate::matmul::result::ResultLayout;
use crate::movement::quantize::dequantize_row;
use crate::simd::functions::Function;
use crate::tensor::arithmetic::Accumulate;
use crate::tensor::matrix::{Matrices, matrix_offset};
use crate::tensor::quantized::QuantizedMatrix;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// A matrix product with its operands laid out: all batch dimensions equal (broadcast ones have
/// stride 0), `a` `[…, m, k]`, `b` `[…, k, n]`, the bias `[…, m, n]`.
pub struct Product<'a> {
    /// The left matrices.
    pub a: TensorRef<'a>,
    /// The right matrices. Beside an `f32` left side they may be f16 or bf16.
    pub b: TensorRef<'a>,
    /// What is added, if anything; broadcast by strides.
    pub bias: Option<TensorRef<'a>>,
    /// Factor of the bias.
    pub beta: f64,
    /// Factor of the product.
    pub alpha: f64,
    /// The function of each element of an `f32` result.
    pub epilogue: Option<Function>,
}

/// Computes a product into `out`, `[…, m, n]`, or `[…, m, groups, n / groups]` with the columns in
/// groups. `plain` asks for plain loops.
pub fn matmul(out: &mut TensorMut<'_>, product: &Product<'_>, plain: bool, threads: &Threads) {
    match (out.dtype(), product.b.dtype()) {
        (DType::F32, DType::F32) => matmul_f32::<f32>(out, product, plain, threads),
        (DType::F32, DType::F16) => matmul_f32::<f16>(out, product, plain, threads),
        (DType::F32, DType::BF16) => matmul_f32::<bf16>(out, product, plain, threads),
        (dtype, _) => with_element!(dtype, T => loops::<T, T>(out, product)),
    }
}

/// A product in `f32` with a right side of elements `W`.
fn matmul_f32<W: RightElement>(
    out: &mut TensorMut<'_>,
    product: &Product<'_>,
    plain: bool,
    threads: &Threads,
) {
    let a = product.a.layout();
    if !plain && a.shape[a.rank() - 1] > 0 {
        fast::<W>(out, product, threads);
    } else {
        loops::<f32, W>(out, product);
        epilogue::apply(out, product.epilogue);
    }
}

fn loops<T: Element, W: Element<Accumulator = T::Accumulator>>(
    out: &mut TensorMut<'_>,
    product: &Product<'_>,
) where
    T::Accumulator: Accumulate,
{
    let (la, lb, lo) = (product.a.layout(), product.b.layout(), out.layout().clone());
    let result = result_layout(&lo, product);
    let rank = la.rank();
    let [m, n] = result.size();
    let k = la.shape[rank - 1];
    let (a, b) = (product.a.data::<T>(), product.b.data::<W>());
    let bias = product.bias.map(|t| (t.data::<T>(), t.layout()));
    let (alpha, beta) = (
        T::Accumulator::from_f64(product.alpha),
        T::Accumulator::from_f64(product.beta),
    );
    let out = out.data::<T>();
    for batch in 0..result.batches() {
        let [oa, ob] = [la, lb].map(|l| matrix_offset(l, batch));
        let matrix = result.of_batch(batch);
        let obias = bias.map_or(0, |(_, l)| matrix_offset(l, batch));
        for i in 0..m {
            for j in 0..n {
                let mut sum = T::Accumulator::from_f64(0.0);
                for x in 0..k {
                    let left = a[oa + i * la.strides[rank - 2] + x * la.strides[rank - 1]];
                    let right = b[ob + x * lb.strides[rank - 2] + j * lb.strides[rank - 1]];
                    sum = sum.add(left.widen().mul(right.widen()));
                }
                sum = sum.mul(alpha);
                if let Some((data, l)) = bias {
                    let at = obias + i * l.strides[rank - 2] + j * l.strides[rank - 1];
                    // A factor of 0 keeps NaN and infinity out, as PyTorch has it.
                    if product.beta != 0.0 {
                        sum = sum.add(data[at].widen().mul(beta));
                    }
                }
                out[matrix.position(i, j)] = T::from_accumulator(sum);
            }
        }
    }
}

/// The fast ways. Which one is taken depends on the shape alone, and each gives the same bits for
/// any strides.
fn fast<W: RightElement>(out: &mut TensorMut<'_>, product: &Product<'_>, threads: &Threads) {
    let layout = out.layout().clone();
    let result = result_layout(&layout, product);
    let [m, n] = result.size();
    let [a, b] = [product.a.layout(), product.b.layout()];
    if n <= MOST_ROWS && m > MOST_ROWS {
        match product.b.dtype() {
            DType::F32 => from_the_other_side(out, product, threads),
            _ => a_few_rows_at_a_time::<W>(out, product, threads),
        }
        return epilogue::apply(out, product.epilogue);
    }
    let left = matrices_of(&product.a, a);
    let right = matrices_of::<W>(&product.b, b);
    let bias = product.bias.as_ref().map(|t| matrices_of(t, t.layout()));
    let (alpha, beta) = (product.alpha as f32, product.beta as f32);
    if m <= MOST_ROWS {
        Gemv {
            left,
            right,
            bias,
            alpha,
            beta,
        }
        .run(out.data(), result, threads);
        epilogue::apply(out, product.epilogue);
    } else {
        Gemm {
            left,
            right: &right,
            bias,
            alpha,
            beta,
            epilogue: product.epilogue,
        }
        .run_best(out.data(), result, threads);
    }
}

/// A product with few columns: the transposed one has few rows.
fn from_the_other_side(out: &mut TensorMut<'_>, product: &Product<'_>, threads: &Threads) {
    let layout = out.layout().clone();
    let result = result_layout(&layout, product);
    let rank = product.a.layout().rank();
    let transposed = |l: &Layout| l.transpose(rank - 2, rank - 1);
    let [a, b] = [product.a.layout(), product.b.layout()].map(transposed);
    let bias = product.bias.as_ref().map(|t| (t, transposed(t.layout())));
    let gemv = Gemv {
        left: matrices_of(&product.b, &b),
        right: matrices_of::<f32>(&product.a, &a),
        bias: bias.as_ref().map(|(t, l)| matrices_of(t, l)),
        alpha: product.alpha as f32,
        beta: product.beta as f32,
    };
    gemv.run(out.data(), result.transposed(), threads);
}

/// A product with few columns whose right side cannot be a left one. Each element is the sum that it
/// is from the other side: factors may be exchanged.
fn a_few_rows_at_a_time<W: RightElement>(
    out: &mut TensorMut<'_>,
    product: &Product<'_>,
    threads: &Threads,
) {
    let layout = out.layout().clone();
    let [rows, _] = result_layout(&layout, product).size();
    let (a, b) = (product.a.layout(), product.b.layout());
    let dim = a.rank() - 2;
    for first in (0..rows).step_by(MOST_ROWS) {
        let part = |l: &Layout| l.slice(dim, first, MOST_ROWS.min(rows - first), 1);
        let (part_of_out, part_of_a) = (part(&layout), part(a));
        let bias = product.bias.as_ref().map(|t| (t, part(t.layout())));
        let gemv = Gemv {
            left: matrices_of(&product.a, &part_of_a),
            right: matrices_of::<W>(&product.b, b),
            bias: bias.as_ref().map(|(t, l)| matrices_of(t, l)),
            alpha: product.alpha as f32,
            beta: product.beta as f32,
        };
        gemv.run(out.data(), result_layout(&part_of_out, product), threads);
    }
}

/// A linear layer with quantized weights: `out[…, m, n] = sum over k of a[…, m, k] * weight[n, k]`,
/// plus a bias, in `f32`.
pub struct QuantizedLinear<'a> {
    /// The left matrices, of rank 2 or more.
    pub a: TensorRef<'a>,
    /// The weights.
    pub weight: QuantizedMatrix<'a>,
    /// What is added, if anything, `[…, m, n]`; broadcast by strides.
    pub bias: Option<TensorRef<'a>>,
    /// The function of each element of the result.
    pub epilogue: Option<Function>,
}

/// Computes a linear layer into `out`, laid out as for [`matmul`]. `plain` asks for plain loops.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn quantized_linear(
    out: &mut TensorMut<'_>,
    linear: &QuantizedLinear<'_>,
    plain: bool,
    threads: &Threads,
) {
    let a = linear.a.layout();
    let (rank, depth) = (a.rank(), linear.weight.columns());
    let layout = out.layout().clone();
    let result = ResultLayout::new(&layout, layout.rank() + 2 - rank);
    let [m, n] = result.size();
    assert_eq!([a.shape[rank - 2], a.shape[rank - 1]], [m, depth]);
    assert_eq!(linear.weight.rows(), n);
    let left = matrices_of(&linear.a, a);
    let bias = linear.bias.as_ref().map(|t| matrices_of(t, t.layout()));
    let right = &linear.weight;
    if plain || depth == 0 {
        quantized_loops(out.data(), result, left, right, bias);
        epilogue::apply(out, linear.epilogue);
    } else if m <= MOST_ROWS {
        let gemv = QuantizedGemv {
            left,
            right: *right,
            bias,
        };
        gemv.run(out.data(), result, threads);
        add_wide_columns(out.data(), result, left, right);
        epilogue::apply(out, linear.epilogue);
    } else if QuantizedRight::Weights(*right).is_fast() {
        // What is added afterwards has to come before the function.
        let (at_once, afterwards) = match right.wide().is_empty() {
            true => (linear.epilogue, None),
            false => (None, linear.epilogue),
        };
        let gemm = QuantizedGemm {
            left,
            right: QuantizedRight::Weights(*right),
            bias,
            epilogue: at_once,
        };
        gemm.run(out.data(), result, threads);
        add_wide_columns(out.data(), result, left, right);
        epilogue::apply(out, afterwards);
    } else {
        let gemm = Gemm {
            left,
            right,
            bias,
            alpha: 1.0,
            beta: 1.0,
            epilogue: linear.epilogue,
        };
        gemm.run_best(out.data(), result, threads);
    }
}

/// Adds the products with the few columns of the weights that are stored apart.
fn add_wide_columns(
    out: &mut [f32],
    result: ResultLayout<'_>,
    left: Matrices<'_>,
    right: &QuantizedMatrix<'_>,
) {
    let [m, _] = result.size();
    for (k, values) in right.wide().iter() {
        for batch in 0..result.batches() {
            let (left, matrix) = (left.at(batch), result.of_batch(batch));
            for i in 0..m {
                let x = left.from(i, k).data[0];
                for (j, value) in values.iter().enumerate() {
                    out[matrix.position(i, j)] += x * value;
                }
            }
        }
    }
}

/// The oracle: each weight is widened, and three plain loops.
fn quantized_loops(
    out: &mut [f32],
    result: ResultLayout<'_>,
    left: Matrices<'_>,
    right: &QuantizedMatrix<'_>,
    bias: Option<Matrices<'_>>,
) {
    let [m, n] = result.size();
    for batch in 0..result.batches() {
        let (left, bias) = (left.at(batch), bias.map(|b| b.at(batch)));
        let matrix = result.of_batch(batch);
        for j in 0..n {
            for i in 0..m {
                let mut sum = 0f32;
                for k in 0..right.columns() {
                    let mut weight = [0f32];
                    dequantize_row(right, j, k..k + 1, &mut weight);
                    sum += left.from(i, k).data[0] * weight[0];
                }
                out[matrix.position(i, j)] = sum + bias.map_or(0.0, |b| b.from(i, j).data[0]);
            }
        }
    }
}

/// Columns are in groups if the result has a dimension more than the operands.
fn result_layout<'a>(layout: &'a Layout, product: &Product<'_>) -> ResultLayout<'a> {
    let batch_dims = product.a.layout().rank() - 2;
    ResultLayout::new(layout, layout.rank() - batch_dims)
}

fn matrices_of<'a, T: Element>(tensor: &TensorRef<'a>, layout: &'a Layout) -> Matrices<'a, T> {
    Matrices {
        data: tensor.data(),
        layout,
    }
}
