//! Matrix products.
//!
//! One function for all of them: `out[…, m, n] = sum over k of a[…, m, k] * b[…, k, n]`, plus a
//! bias, for any strides; a linear layer is the product with the transposed weight. In `f32` there
//! are two fast ways: `few_rows` for the steps of a decoder, which run at the
//! speed of memory, and `gemm` for larger products. Everything else, and the
//! oracle, is three plain loops. Weights in a narrow format ([`crate::tensor::quantized`]) have a function of
//! their own, with the same choice: `few_narrow`, or for many rows `many_narrow`, and `gemm`, which widens
//! what it packs, where the machine has no instructions for a format.

pub mod contraction;
pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod microkernel;
pub(crate) mod quantized;
pub(crate) mod result;
pub mod shared_right;

use crate::matmul::gemm::{Gemm, Matrices, matrix_offset};
use crate::matmul::gemv::{FEW, FewRows};
use crate::matmul::quantized::gemm::{ManyNarrow, RightSide};
use crate::matmul::quantized::gemv::FewNarrow;
use crate::matmul::result::ResultLayout;
use crate::simd::functions::Function;
use crate::tensor::arithmetic::Wide;
use crate::tensor::quantized::NarrowMatrix;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// A matrix product with its operands laid out: all batch dimensions equal (broadcast ones have
/// stride 0), `a` `[…, m, k]`, `b` `[…, k, n]`, the bias `[…, m, n]`.
pub struct Product<'a> {
    /// The left matrices.
    pub a: TensorRef<'a>,
    /// The right matrices.
    pub b: TensorRef<'a>,
    /// What is added, if anything; broadcast by strides.
    pub bias: Option<TensorRef<'a>>,
    /// Factor of the bias.
    pub beta: f64,
    /// Factor of the product.
    pub alpha: f64,
    /// What becomes of each element of an `f32` result.
    pub then: Option<Function>,
}

/// Computes a product into `out`, `[…, m, n]`, or `[…, m, groups, n / groups]` with the columns in
/// groups. `plain` asks for plain loops.
pub fn matmul(out: &mut TensorMut<'_>, product: &Product<'_>, plain: bool, threads: &Threads) {
    let a = product.a.layout();
    if out.dtype() == DType::F32 && !plain && a.shape[a.rank() - 1] > 0 {
        fast(out, product, threads);
    } else {
        with_element!(out.dtype(), T => loops::<T>(out, product));
        if out.dtype() == DType::F32 {
            finish(out, product.then);
        }
    }
}

fn loops<T: Element>(out: &mut TensorMut<'_>, product: &Product<'_>)
where
    T::Wide: Wide,
{
    let (la, lb, lo) = (product.a.layout(), product.b.layout(), out.layout().clone());
    let result = result_layout(&lo, product);
    let rank = la.rank();
    let [m, n] = result.size();
    let k = la.shape[rank - 1];
    let (a, b) = (product.a.data::<T>(), product.b.data::<T>());
    let bias = product.bias.map(|t| (t.data::<T>(), t.layout()));
    let (alpha, beta) = (
        T::Wide::from_f64(product.alpha),
        T::Wide::from_f64(product.beta),
    );
    let out = out.data::<T>();
    for batch in 0..result.batches() {
        let [oa, ob] = [la, lb].map(|l| matrix_offset(l, batch));
        let places = result.of_batch(batch);
        let obias = bias.map_or(0, |(_, l)| matrix_offset(l, batch));
        for i in 0..m {
            for j in 0..n {
                let mut sum = T::Wide::from_f64(0.0);
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
                out[places.at(i, j)] = T::narrow(sum);
            }
        }
    }
}

/// The fast ways. Which one is taken depends on the shape alone, and each gives the same bits for
/// any strides.
fn fast(out: &mut TensorMut<'_>, product: &Product<'_>, threads: &Threads) {
    let layout = out.layout().clone();
    let result = result_layout(&layout, product);
    let [m, n] = result.size();
    let [a, b] = [product.a.layout(), product.b.layout()];
    let rank = a.rank();
    if n <= FEW && m > FEW {
        // The same product seen from the other side.
        let turned = |l: &Layout| l.transpose(rank - 2, rank - 1);
        let (a, b) = (turned(a), turned(b));
        let bias = product.bias.as_ref().map(|t| (t, turned(t.layout())));
        let few = FewRows {
            left: matrices_of(&product.b, &b),
            right: matrices_of(&product.a, &a),
            bias: bias.as_ref().map(|(t, l)| matrices_of(t, l)),
            alpha: product.alpha as f32,
            beta: product.beta as f32,
        };
        few.run(out.data(), result.turned(), threads);
        return finish(out, product.then);
    }
    let left = matrices_of(&product.a, a);
    let right = matrices_of(&product.b, b);
    let bias = product.bias.as_ref().map(|t| matrices_of(t, t.layout()));
    let (alpha, beta) = (product.alpha as f32, product.beta as f32);
    if m <= FEW {
        FewRows {
            left,
            right,
            bias,
            alpha,
            beta,
        }
        .run(out.data(), result, threads);
        finish(out, product.then);
    } else {
        Gemm {
            left,
            right: &right,
            bias,
            alpha,
            beta,
            then: product.then,
        }
        .run(out.data(), result, threads);
    }
}

/// What comes after a product that does not do it itself.
fn finish(out: &mut TensorMut<'_>, then: Option<Function>) {
    if let Some(function) = then {
        function.map_tensor(out);
    }
}

/// A linear layer with narrow weights: `out[…, m, n] = sum over k of a[…, m, k] * weight[n, k]`,
/// plus a bias, in `f32`.
pub struct NarrowLinear<'a> {
    /// The left matrices, of rank 2 or more.
    pub a: TensorRef<'a>,
    /// The weights.
    pub weight: NarrowMatrix<'a>,
    /// What is added, if anything, `[…, m, n]`; broadcast by strides.
    pub bias: Option<TensorRef<'a>>,
    /// What becomes of each element of the result.
    pub then: Option<Function>,
}

/// Computes a linear layer into `out`, laid out as for [`matmul`]. `plain` asks for plain loops.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn narrow_linear(
    out: &mut TensorMut<'_>,
    linear: &NarrowLinear<'_>,
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
        narrow_loops(out.data(), result, left, right, bias);
        finish(out, linear.then);
    } else if m <= FEW {
        let few = FewNarrow {
            left,
            right: *right,
            bias,
        };
        few.run(out.data(), result, threads);
        finish(out, linear.then);
    } else if RightSide::Stored(*right).is_worth_while() {
        let many = ManyNarrow {
            left,
            right: RightSide::Stored(*right),
            bias,
            then: linear.then,
        };
        many.run(out.data(), result, threads);
    } else {
        let gemm = Gemm {
            left,
            right,
            bias,
            alpha: 1.0,
            beta: 1.0,
            then: linear.then,
        };
        gemm.run(out.data(), result, threads);
    }
}

/// The oracle: each weight is widened, and three plain loops.
fn narrow_loops(
    out: &mut [f32],
    result: ResultLayout<'_>,
    left: Matrices<'_>,
    right: &NarrowMatrix<'_>,
    bias: Option<Matrices<'_>>,
) {
    let [m, n] = result.size();
    for batch in 0..result.batches() {
        let (left, bias) = (left.at(batch), bias.map(|b| b.at(batch)));
        let places = result.of_batch(batch);
        for j in 0..n {
            for i in 0..m {
                let mut sum = 0f32;
                for k in 0..right.columns() {
                    let mut weight = [0f32];
                    right.widen(j, k..k + 1, &mut weight);
                    sum += left.from(i, k).data[0] * weight[0];
                }
                out[places.at(i, j)] = sum + bias.map_or(0.0, |b| b.from(i, j).data[0]);
            }
        }
    }
}

/// Columns are in groups if the result has a dimension more than the operands.
fn result_layout<'a>(layout: &'a Layout, product: &Product<'_>) -> ResultLayout<'a> {
    let batch_dims = product.a.layout().rank() - 2;
    ResultLayout::new(layout, layout.rank() - batch_dims)
}

fn matrices_of<'a>(tensor: &TensorRef<'a>, layout: &'a Layout) -> Matrices<'a> {
    Matrices {
        data: tensor.data(),
        layout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn narrow_weights_agree_with_plain_loops_for_odd_sizes_strides_and_threads() {
        use crate::tensor::quantized::Format;
        for (m, n, k) in [
            (1, 1, 1),
            (1, 300, 65),
            (2, 63, 16),
            (3, 65, 15),
            (4, 17, 17),
            (5, 129, 63),
            (16, 9, 64),
            (17, 33, 300),
            (40, 5, 0),
            // More than one block, strip and slice.
            (200, 40, 531),
        ] {
            let (mut a, w, c) = (filled(2 * m * k, 1), filled(n * k, 2), filled(n, 3));
            // Left rows that rounding leaves as they are: whole numbers up to 127, which occurs often.
            let data: &mut [f32] = bytemuck::cast_slice_mut(a.bytes_mut());
            for (i, x) in data.iter_mut().enumerate() {
                *x = (127.0 * *x).round();
                if i % 5 == 0 {
                    *x = 127.0;
                }
            }
            // The left rows lie in order, or as columns; the result's columns together or in
            // groups that lie apart.
            let rows = Layout::contiguous(&[2, m, k]);
            let turned = Layout::contiguous(&[2, k, m]).transpose(1, 2);
            let bias = Layout::contiguous(&[n]).expand(&[2, m, n]).unwrap();
            let plain_out = Layout::contiguous(&[2, m, n]);
            let spread = Layout::contiguous(&[2, n, m]).transpose(1, 2);
            for format in [Format::Bf16, Format::Int8] {
                let mut stored = Storage::zeroed(format.bytes(n, k).unwrap());
                let from = bytemuck::cast_slice(w.bytes());
                format
                    .encode(from, [n, k], stored.bytes_mut(), &Threads::new(1), &|_| {})
                    .unwrap_or_else(|e| panic!("{e}"));
                let weight = NarrowMatrix::new(format, n, k, stored.bytes()).unwrap();
                for la in [&rows, &turned] {
                    let run_then = |then, lo: &Layout, plain, threads| {
                        let linear = NarrowLinear {
                            then,
                            a: TensorRef::new(DType::F32, la, a.bytes()).unwrap(),
                            weight,
                            bias: Some(TensorRef::new(DType::F32, &bias, c.bytes()).unwrap()),
                        };
                        let mut out = Storage::zeroed(4 * lo.numel());
                        let mut view = TensorMut::new(DType::F32, lo, out.bytes_mut()).unwrap();
                        narrow_linear(&mut view, &linear, plain, &Threads::new(threads));
                        view.as_ref().to_vec::<f32>()
                    };
                    let run = |lo: &Layout, plain, threads| run_then(None, lo, plain, threads);
                    let oracle = run(&plain_out, true, 1);
                    let mut one = run(&plain_out, false, 1);
                    assert_eq!(one, run(&plain_out, false, 3));
                    assert_eq!(one, run(&spread, false, 2));
                    for (x, y) in oracle.iter().zip(&one) {
                        assert!(
                            (x - y).abs() < 127.0 * (4e-5 + 4e-6 * k as f32),
                            "{format:?} {m} {n} {k}: {x} {y}"
                        );
                    }
                    Function::Gelu.map(&mut one);
                    assert_eq!(one, run_then(Some(Function::Gelu), &plain_out, false, 2));
                    assert_eq!(one, run_then(Some(Function::Gelu), &spread, false, 1));
                }
            }
        }
    }

    fn filled(n: usize, seed: usize) -> Storage {
        let mut storage = Storage::zeroed(4 * n);
        let data: &mut [f32] = bytemuck::cast_slice_mut(storage.bytes_mut());
        for (i, x) in data.iter_mut().enumerate() {
            *x = ((i * 31 + seed * 17) % 23) as f32 / 11.0 - 1.0;
        }
        storage
    }

    #[test]
    fn the_fast_ways_agree_with_plain_loops_for_odd_sizes_and_strides() {
        let threads = Threads::new(2);
        for (m, n, k) in [
            (1, 1, 1),
            (1, 300, 65),
            (2, 5, 3),
            (17, 33, 63),
            (64, 7, 129),
            (1, 9, 0),
        ] {
            for transposed in [false, true] {
                let (a, b, c) = (filled(2 * m * k, 1), filled(k * n, 2), filled(n, 3));
                let la = Layout::contiguous(&[2, m, k]);
                let lb = match transposed {
                    true => Layout::contiguous(&[n, k]).transpose(0, 1),
                    false => Layout::contiguous(&[k, n]),
                };
                let lb = lb.expand(&[2, k, n]).unwrap();
                let lc = Layout::contiguous(&[n]).expand(&[2, m, n]).unwrap();
                let lo = Layout::contiguous(&[2, m, n]);
                let product = |then| Product {
                    then,
                    a: TensorRef::new(DType::F32, &la, a.bytes()).unwrap(),
                    b: TensorRef::new(DType::F32, &lb, b.bytes()).unwrap(),
                    bias: Some(TensorRef::new(DType::F32, &lc, c.bytes()).unwrap()),
                    alpha: 1.0,
                    beta: 1.0,
                };
                let run = |then, plain| {
                    let mut out = Storage::zeroed(4 * lo.numel());
                    let mut view = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                    matmul(&mut view, &product(then), plain, &threads);
                    view.as_ref().to_vec::<f32>()
                };
                for plain in [true, false] {
                    let mut one = run(None, plain);
                    for (x, y) in run(None, true).iter().zip(&one) {
                        assert!((x - y).abs() < 1e-4, "{m} {n} {k}: {x} {y}");
                    }
                    Function::Silu.map(&mut one);
                    assert_eq!(one, run(Some(Function::Silu), plain));
                }
            }
        }
    }
}
