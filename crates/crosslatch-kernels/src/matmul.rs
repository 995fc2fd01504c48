//! Matrix products.
//!
//! One function for all of them: `out[…, m, n] = sum over k of a[…, m, k] * b[…, k, n]`, plus a
//! bias, for any strides; a linear layer is the product with the transposed weight. In `f32` there
//! are two fast ways. One row times a matrix whose columns lie in memory one after the other (a
//! decoder's step, the weight as PyTorch stores it) is a series of dot products that reads the
//! weight once, in order, shared among the threads: it runs at the speed of memory. Larger
//! products go to `rten-gemm`. Everything else, and the oracle, is three plain loops.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use crate::slabs::for_each_slab;
use crate::vector;
use crate::wide::Wide;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 16 * 1024;

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
}

/// Computes a product into `out`, `[…, m, n]`. `plain` asks for plain loops.
pub fn matmul(out: &mut TensorMut<'_>, product: &Product<'_>, plain: bool, threads: &Threads) {
    let scaled = product.alpha != 1.0 || product.beta != 1.0;
    if out.dtype() == DType::F32 && !plain && !scaled && fast(out, product, threads) {
        return;
    }
    with_element!(out.dtype(), T => loops::<T>(out, product));
}

fn loops<T: Element>(out: &mut TensorMut<'_>, product: &Product<'_>)
where
    T::Wide: Wide,
{
    let (la, lb, lo) = (product.a.layout(), product.b.layout(), out.layout().clone());
    let rank = lo.rank();
    let [m, n] = [lo.shape[rank - 2], lo.shape[rank - 1]];
    let k = la.shape[rank - 1];
    let (a, b) = (product.a.data::<T>(), product.b.data::<T>());
    let bias = product.bias.map(|t| (t.data::<T>(), t.layout()));
    let (alpha, beta) = (
        T::Wide::from_f64(product.alpha),
        T::Wide::from_f64(product.beta),
    );
    let batches = |l: &Layout| matrices(l).collect::<smallvec::SmallVec<[usize; 8]>>();
    let (oa, ob, oo) = (batches(la), batches(lb), batches(&lo));
    let obias = bias.map(|(_, l)| batches(l)).unwrap_or_default();
    let out = out.data::<T>();
    for batch in 0..oo.len() {
        for i in 0..m {
            for j in 0..n {
                let mut sum = T::Wide::from_f64(0.0);
                for x in 0..k {
                    let left = a[oa[batch] + i * la.strides[rank - 2] + x * la.strides[rank - 1]];
                    let right = b[ob[batch] + x * lb.strides[rank - 2] + j * lb.strides[rank - 1]];
                    sum = sum.add(left.widen().mul(right.widen()));
                }
                sum = sum.mul(alpha);
                if let Some((data, l)) = bias {
                    let at = obias[batch] + i * l.strides[rank - 2] + j * l.strides[rank - 1];
                    // A factor of 0 keeps NaN and infinity out, as PyTorch has it.
                    if product.beta != 0.0 {
                        sum = sum.add(data[at].widen().mul(beta));
                    }
                }
                out[oo[batch] + i * lo.strides[rank - 2] + j * lo.strides[rank - 1]] =
                    T::narrow(sum);
            }
        }
    }
}

/// Offsets of the matrices in the last two dimensions.
fn matrices(layout: &Layout) -> impl Iterator<Item = usize> + '_ {
    let outer = layout.rank() - 2;
    let mut index: crate::Dims = smallvec::SmallVec::from_elem(0, outer);
    let count: usize = layout.shape[..outer].iter().product();
    let mut offset = layout.offset;
    (0..count).map(move |_| {
        let current = offset;
        for d in (0..outer).rev() {
            index[d] += 1;
            offset += layout.strides[d];
            if index[d] < layout.shape[d] {
                break;
            }
            offset -= layout.strides[d] * layout.shape[d];
            index[d] = 0;
        }
        current
    })
}

/// One matrix in memory.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    fn at(tensor: &TensorRef<'a>, offset: usize) -> Matrix<'a> {
        let l = tensor.layout();
        let rank = l.rank();
        Matrix {
            data: &tensor.data::<f32>()[offset..],
            rows: l.shape[rank - 2],
            columns: l.shape[rank - 1],
            row_stride: l.strides[rank - 2],
            column_stride: l.strides[rank - 1],
        }
    }

    fn view(&self) -> Option<NdTensorView<'a, f32, 2>> {
        NdTensorView::from_slice_with_strides(
            [self.rows, self.columns],
            self.data,
            [self.row_stride, self.column_stride],
        )
        .ok()
    }

    /// Column `j` as a slice, if columns lie in memory without gaps.
    fn column(&self, j: usize) -> &'a [f32] {
        &self.data[j * self.column_stride..][..self.rows]
    }
}

/// The fast ways; `false` if none fits.
fn fast(out: &mut TensorMut<'_>, product: &Product<'_>, threads: &Threads) -> bool {
    let lo = out.layout().clone();
    let rank = lo.rank();
    let (la, lb) = (product.a.layout(), product.b.layout());
    if !lo.is_contiguous() || lo.numel() == 0 || la.shape[rank - 1] == 0 {
        return false;
    }
    let [m, n] = [lo.shape[rank - 2], lo.shape[rank - 1]];
    // A bias that is one row for all matrices, or none.
    let bias = match &product.bias {
        None => None,
        Some(t) => {
            let l = t.layout();
            let one_row = l.strides[..rank - 1]
                .iter()
                .zip(&l.shape)
                .all(|(s, d)| *s == 0 || *d == 1);
            if !one_row || (l.strides[rank - 1] != 1 && n > 1) {
                return false;
            }
            Some(&t.data::<f32>()[l.offset..][..n])
        }
    };
    let k = la.shape[rank - 1];
    let row_times_columns =
        m == 1 && (la.strides[rank - 1] == 1 || k == 1) && (lb.strides[rank - 2] == 1 || k == 1);
    for (batch, (oa, ob)) in matrices(la).zip(matrices(lb)).enumerate() {
        let (a, b) = (Matrix::at(&product.a, oa), Matrix::at(&product.b, ob));
        let flat = Layout {
            offset: lo.offset + batch * m * n,
            ..Layout::contiguous(&[m * n])
        };
        let Ok(mut part) = out.with_layout(&flat) else {
            return false;
        };
        if row_times_columns {
            row_times_matrix(&mut part, &a.data[..k], &b, bias, threads);
        } else if !gemm(&mut part, &a, &b, bias, threads) {
            return false;
        }
    }
    true
}

fn row_times_matrix(
    out: &mut TensorMut<'_>,
    row: &[f32],
    b: &Matrix<'_>,
    bias: Option<&[f32]>,
    threads: &Threads,
) {
    let grain = (GRAIN / b.rows.max(1)).max(1);
    let result = for_each_slab(out, threads, grain, &|part, out| {
        let start = part.start(0);
        if let Some(out) = out.contiguous::<f32>() {
            for (j, y) in out.iter_mut().enumerate() {
                let column = start + j;
                *y = vector::dot(row, b.column(column)) + bias.map_or(0.0, |b| b[column]);
            }
        }
        Ok(())
    });
    debug_assert!(result.is_ok());
}

fn gemm(
    out: &mut TensorMut<'_>,
    a: &Matrix<'_>,
    b: &Matrix<'_>,
    bias: Option<&[f32]>,
    threads: &Threads,
) -> bool {
    let (Some(a), Some(b), Some(out)) = (a.view(), b.view(), out.contiguous::<f32>()) else {
        return false;
    };
    threads.with_rayon(|| {
        let options = GemmOptions {
            bias: bias.map(BiasVector::Row),
            ..GemmOptions::default()
        };
        GemmExecutor::<f32>::new()
            .gemm(
                out,
                GemmInputA::Unpacked(a),
                GemmInputB::Unpacked(b),
                options,
            )
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

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
                let product = Product {
                    a: TensorRef::new(DType::F32, &la, a.bytes()).unwrap(),
                    b: TensorRef::new(DType::F32, &lb, b.bytes()).unwrap(),
                    bias: Some(TensorRef::new(DType::F32, &lc, c.bytes()).unwrap()),
                    alpha: 1.0,
                    beta: 1.0,
                };
                let results = [true, false].map(|plain| {
                    let mut out = Storage::zeroed(4 * lo.numel());
                    let mut view = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                    matmul(&mut view, &product, plain, &threads);
                    view.as_ref().to_vec::<f32>()
                });
                for (x, y) in results[0].iter().zip(&results[1]) {
                    assert!((x - y).abs() < 1e-4, "{m} {n} {k}: {x} {y}");
                }
            }
        }
    }
}
