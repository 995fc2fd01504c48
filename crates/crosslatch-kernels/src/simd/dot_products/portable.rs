//! Dot products on any machine.

use super::{Dot, LANES, sum};
use crate::simd::approximate::multiply_add;

/// There is nothing special about loading an element.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) trait Load {}
#[cfg(not(target_arch = "x86_64"))]
impl<T> Load for T {}

pub(super) fn dots<W: Dot, const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[W]; COLUMNS],
    _ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let mut results = [[0f32; COLUMNS]; ROWS];
    for (row, x) in results.iter_mut().zip(left) {
        for (result, w) in row.iter_mut().zip(right) {
            let mut sums = [0f32; LANES];
            for (x, w) in x.chunks(LANES).zip(w.chunks(LANES)) {
                for ((s, x), w) in sums.iter_mut().zip(x).zip(w) {
                    *s = multiply_add::<false>(*x, w.wide(), *s);
                }
            }
            *result = sum(sums);
        }
    }
    results
}
