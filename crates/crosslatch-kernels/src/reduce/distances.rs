//! Distances between rows: norms of their differences.
//!
//! Differences are added up in double precision, in order; nothing is expanded into products, so that rows
//! which are near keep their digits.

use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::{Matrices, Strided};
use crate::{Element, TensorMut, TensorRef, Threads, with_element};

/// Differences that a task adds up, about.
const GRAIN: usize = 1 << 14;

/// The norm of a difference of two rows.
fn norm<T: Element>(a: &Strided<'_, T>, b: &Strided<'_, T>, len: usize, p: f64) -> f64 {
    let differences = (0..len).map(|k| {
        let (a, b) = (a.data[k * a.column_stride], b.data[k * b.column_stride]);
        (a.to_f64() - b.to_f64()).abs()
    });
    // NaN counts as the greatest.
    let greater = |m: f64, x: f64| if x > m || x.is_nan() { x } else { m };
    match p {
        0.0 => differences.map(|x| if x == 0.0 { 0.0 } else { 1.0 }).sum(),
        1.0 => differences.sum(),
        2.0 => differences.map(|x| x * x).sum::<f64>().sqrt(),
        f64::INFINITY => differences.fold(0.0, greater),
        p => differences.map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

/// `out[…, i, j]`, contiguous, is the distance of row `i` of `a`, `[…, m, k]`, and row `j` of `b`, `[…, n, k]`, by
/// the norm of degree `p`. All have one type, and as many matrices.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn distances(
    out: &mut TensorMut<'_>,
    a: &TensorRef<'_>,
    b: &TensorRef<'_>,
    p: f64,
    threads: &Threads,
) {
    let (la, lb, to) = (a.layout(), b.layout(), out.layout());
    let rank = la.rank();
    let [m, n] = [la, lb].map(|layout| layout.shape[rank - 2]);
    let len = la.shape[rank - 1];
    assert!(lb.rank() == rank && lb.shape[rank - 1] == len && to.is_contiguous());
    let batches: usize = la.shape[..rank - 2].iter().product();
    assert!(la.shape[..rank - 2] == lb.shape[..rank - 2] && to.numel() == batches * m * n);
    assert!([a, b].iter().all(|t| t.dtype() == out.dtype()));
    if n == 0 {
        return;
    }
    let each = (GRAIN / (n * len).max(1)).max(1);
    let (start, rows) = (to.offset, batches * m);
    with_element!(a.dtype(), T => {
        let left = Matrices { data: a.data::<T>(), layout: la };
        let right = Matrices { data: b.data::<T>(), layout: lb };
        let to = SharedOutput::new(out.data::<T>());
        threads.run(rows.div_ceil(each), &|task| {
            for row in task * each..rows.min((task + 1) * each) {
                // SAFETY: a row is filled by one task, and `out` is contiguous.
                let to = unsafe { to.slice(start + row * n, n) };
                if len == 0 {
                    to.fill(T::from_i64(0));
                    continue;
                }
                let (x, others) = (left.at(row / m).from(row % m, 0), right.at(row / m));
                for (j, to) in to.iter_mut().enumerate() {
                    *to = T::from_f64(norm(&x, &others.from(j, 0), len, p));
                }
            }
        });
    });
}

/// `out`, contiguous, has the distance of each row of `x`, `[m, k]`, from each later one.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn distances_of_pairs(out: &mut TensorMut<'_>, x: &TensorRef<'_>, p: f64) {
    let layout = x.layout();
    let [m, len] = [0, 1].map(|d| layout.shape[d]);
    let to = out.layout().offset;
    assert!(out.layout().is_contiguous() && out.layout().numel() == m * m.saturating_sub(1) / 2);
    with_element!(x.dtype(), T => {
        let rows = Matrices { data: x.data::<T>(), layout }.at(0);
        let mut results = out.data::<T>()[to..].iter_mut();
        for i in 0..m {
            for (j, to) in (i + 1..m).zip(&mut results) {
                *to = match len {
                    0 => T::from_i64(0),
                    _ => T::from_f64(norm(&rows.from(i, 0), &rows.from(j, 0), len, p)),
                };
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    #[test]
    fn distances_are_norms_of_differences_in_any_layout() {
        let a: Vec<f32> = (0..2 * 5 * 7).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..2 * 3 * 7).map(|i| (i as f32 * 1.3).cos()).collect();
        let left = [
            Layout::contiguous(&[2, 5, 7]),
            Layout::contiguous(&[2, 7, 5]).transpose(1, 2),
        ];
        let (lb, to) = (
            Layout::contiguous(&[2, 3, 7]),
            Layout::contiguous(&[2, 5, 3]),
        );
        for la in &left {
            let x = TensorRef::new(DType::F32, la, bytemuck::cast_slice(&a)).unwrap();
            let y = TensorRef::new(DType::F32, &lb, bytemuck::cast_slice(&b)).unwrap();
            let elements = x.to_vec::<f32>();
            for p in [0.0, 1.0, 2.0, 3.0, f64::INFINITY] {
                let mut out = Storage::zeroed(4 * to.numel());
                let mut target = TensorMut::new(DType::F32, &to, out.bytes_mut()).unwrap();
                distances(&mut target, &x, &y, p, &Threads::new(2));
                for (i, found) in target.as_ref().to_vec::<f32>().iter().enumerate() {
                    let (n, i, j) = (i / 15, i / 3 % 5, i % 3);
                    let rows =
                        (0..7).map(|k| elements[(n * 5 + i) * 7 + k] - b[(n * 3 + j) * 7 + k]);
                    let rows: Vec<f64> = rows.map(|x| f64::from(x.abs())).collect();
                    let expected = match p {
                        0.0 => 7.0,
                        f64::INFINITY => rows.iter().copied().fold(0.0, f64::max),
                        p => rows.iter().map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p),
                    };
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-5,
                        "{p}: {found} {expected}"
                    );
                }
            }
        }
    }
}
