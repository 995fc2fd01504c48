//! Products of bytes with sums in 32 bits: both sides of a quantized layer, as integers.
//!
//! Bytes are widened to 16 bits, of which one instruction multiplies pairs and adds them up. A block of left
//! rows is widened once and stays in the first cache; each column of the right side is widened once for a
//! block. The columns are best one after the other, as they are in the transpose of a weight; others are
//! gathered while they are widened. Sums wrap, as PyTorch's do.

use std::ops::Range;

use crate::runtime::instructions::multiversion;
use crate::runtime::shared_output::SharedOutput;
use crate::runtime::threads::TASK_MEMORY;
use crate::{DType, TensorMut, TensorRef, Threads};

/// Rows that are widened at a time; they are multiplied with a column in groups of [`GROUP`].
const ROWS: usize = 16;
const GROUP: usize = 4;
/// Elements along the depth that are widened at a time.
const DEPTH: usize = 1024;
/// Products for which another thread is not worth waking.
const GRAIN: usize = 1 << 17;

const _: () = assert!((ROWS + 1) * DEPTH * size_of::<i16>() <= TASK_MEMORY * size_of::<f32>());

/// `out = left * right` for a left side `[m, k]` and a right side `[k, n]` of signed or unsigned bytes, each in
/// any layout, and a contiguous `out` `[m, n]` in `i32`.
///
/// # Panics
/// If the tensors have other types or shapes.
pub fn multiply_bytes(
    out: &mut TensorMut<'_>,
    left: &TensorRef<'_>,
    right: &TensorRef<'_>,
    threads: &Threads,
) {
    let (&[m, k], &[depth, n]) = (left.shape(), right.shape()) else {
        panic!("operands that are no matrices");
    };
    assert!(k == depth && out.shape() == [m, n] && out.layout().is_contiguous());
    let first = out.layout().offset;
    let out = &mut out.data::<i32>()[first..][..m * n];
    out.fill(0);
    if out.is_empty() || k == 0 {
        return;
    }
    // An operand that repeats its elements may be longer than any memory.
    let products = out.len().saturating_mul(k);
    let tasks = (products / GRAIN).clamp(1, 4 * threads.count()).min(n);
    let width = n.div_ceil(tasks);
    let product = Product {
        left: Bytes::of(left),
        right: Bytes::of(right),
        size: [m, k, n],
        out: SharedOutput::new(out),
    };
    threads.run_with_memory(n.div_ceil(width), &|task, memory: &mut [f32]| {
        let columns = task * width..n.min((task + 1) * width);
        product.columns(columns, bytemuck::cast_slice_mut(memory));
    });
}

/// A matrix of bytes.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    data: &'a [u8],
    is_signed: bool,
    /// From its first element on.
    strides: [usize; 2],
}

impl<'a> Bytes<'a> {
    fn of(tensor: &TensorRef<'a>) -> Bytes<'a> {
        let layout = tensor.layout();
        assert!(matches!(tensor.dtype(), DType::I8 | DType::U8));
        Bytes {
            data: &tensor.bytes()[layout.offset..],
            is_signed: tensor.dtype() == DType::I8,
            strides: [layout.strides[0], layout.strides[1]],
        }
    }

    /// Widens elements that are `stride` apart.
    fn widen(&self, first: usize, stride: usize, to: &mut [i16]) {
        let Some(last) = to.len().checked_sub(1) else {
            return;
        };
        let from = &self.data[first..=first + last * stride];
        match (stride, self.is_signed) {
            (1, true) => widen_signed(from, to),
            (1, false) => widen_unsigned(from, to),
            (_, true) => gather(from, stride, to, |byte| i16::from(byte as i8)),
            (_, false) => gather(from, stride, to, i16::from),
        }
    }
}

/// A product that tasks share.
struct Product<'a> {
    left: Bytes<'a>,
    right: Bytes<'a>,
    /// Rows, depth, columns.
    size: [usize; 3],
    out: SharedOutput<'a, i32>,
}

impl Product<'_> {
    /// Computes some columns, which no other task does.
    fn columns(&self, columns: Range<usize>, memory: &mut [i16]) {
        let [m, k, n] = self.size;
        let (column, memory) = memory.split_at_mut(DEPTH);
        for row in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - row);
            for at in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - at);
                for (i, to) in memory.chunks_exact_mut(DEPTH).take(rows).enumerate() {
                    let [down, along] = self.left.strides;
                    let first = (row + i) * down + at * along;
                    self.left.widen(first, along, &mut to[..depth]);
                }
                for j in columns.clone() {
                    let [along, across] = self.right.strides;
                    let column = &mut column[..depth];
                    self.right.widen(at * along + j * across, along, column);
                    for (group, left) in memory[..rows * DEPTH].chunks(GROUP * DEPTH).enumerate() {
                        let sums = dots(left, column);
                        for (i, sum) in sums[..left.len() / DEPTH].iter().enumerate() {
                            // SAFETY: an element of a column that is this task's own.
                            let to =
                                unsafe { self.out.slice((row + group * GROUP + i) * n + j, 1) };
                            to[0] = to[0].wrapping_add(*sum);
                        }
                    }
                }
            }
        }
    }
}

/// The products of up to [`GROUP`] rows, [`DEPTH`] apart, with a column.
fn dots(rows: &[i16], column: &[i16]) -> [i32; GROUP] {
    let row = |i: usize| &rows[i * DEPTH..][..column.len()];
    match rows.len() / DEPTH {
        GROUP => four_dots([row(0), row(1), row(2), row(3)], column),
        count => {
            let mut sums = [0; GROUP];
            for (i, sum) in sums[..count].iter_mut().enumerate() {
                *sum = one_dot(row(i), column);
            }
            sums
        }
    }
}

multiversion! {
    fn four_dots(rows: [&[i16]; GROUP], column: &[i16]) -> [i32; GROUP], four_dots_portable
}
multiversion! {
    fn one_dot(row: &[i16], column: &[i16]) -> i32, one_dot_portable
}
multiversion! {
    fn widen_signed(from: &[u8], to: &mut [i16]), widen_signed_portable
}
multiversion! {
    fn widen_unsigned(from: &[u8], to: &mut [i16]), widen_unsigned_portable
}

#[inline(always)]
fn four_dots_portable<const FUSED: bool>(rows: [&[i16]; GROUP], column: &[i16]) -> [i32; GROUP] {
    let [a, b, c, d] = rows.map(|row| &row[..column.len()]);
    let mut sums = [0i32; GROUP];
    for (i, &right) in column.iter().enumerate() {
        for (sum, left) in sums.iter_mut().zip([a[i], b[i], c[i], d[i]]) {
            *sum = sum.wrapping_add(i32::from(left) * i32::from(right));
        }
    }
    sums
}

#[inline(always)]
fn one_dot_portable<const FUSED: bool>(row: &[i16], column: &[i16]) -> i32 {
    let products = row.iter().zip(column);
    products.fold(0, |sum: i32, (&left, &right)| {
        sum.wrapping_add(i32::from(left) * i32::from(right))
    })
}

#[inline(always)]
fn widen_signed_portable<const FUSED: bool>(from: &[u8], to: &mut [i16]) {
    for (to, &byte) in to.iter_mut().zip(from) {
        *to = i16::from(byte as i8);
    }
}

#[inline(always)]
fn widen_unsigned_portable<const FUSED: bool>(from: &[u8], to: &mut [i16]) {
    for (to, &byte) in to.iter_mut().zip(from) {
        *to = i16::from(byte);
    }
}

fn gather(from: &[u8], stride: usize, to: &mut [i16], widen: impl Fn(u8) -> i16) {
    // Elements of a dimension that is broadcast are all the same.
    match stride {
        0 => to.fill(widen(from[0])),
        _ => {
            for (to, &byte) in to.iter_mut().zip(from.iter().step_by(stride)) {
                *to = widen(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    #[test]
    fn bytes_of_any_sign_and_layout_are_multiplied_exactly() {
        for (m, k, n) in [
            (1, 1, 1),
            (3, 5, 2),
            (4, 1024, 7),
            (17, 1025, 33),
            (0, 4, 2),
            (2, 0, 3),
        ] {
            let byte = |i: usize| (i * 37 + i / 7 * 101) as u8;
            let data: [Vec<u8>; 2] = [
                (0..m * k).map(byte).collect(),
                (5..5 + k * n).map(byte).collect(),
            ];
            for (signs, is_transposed) in [(0, false), (1, true), (2, false), (3, true)] {
                let dtype = |side: usize| [DType::U8, DType::I8][signs >> side & 1];
                let value = |side: usize, i: usize| match dtype(side) {
                    DType::I8 => i32::from(data[side][i] as i8),
                    _ => i32::from(data[side][i]),
                };
                let left = Layout::contiguous(&[m, k]);
                let right = match is_transposed {
                    true => Layout::contiguous(&[n, k]).transpose(0, 1),
                    false => Layout::contiguous(&[k, n]),
                };
                let at = |i: usize, j: usize| i * right.strides[0] + j * right.strides[1];
                let dot = |i: usize, j: usize| {
                    (0..k)
                        .map(|l| value(0, i * k + l) * value(1, at(l, j)))
                        .sum()
                };
                let wanted: Vec<i32> = (0..m * n).map(|at| dot(at / n, at % n)).collect();
                let mut out = vec![7i32; m * n];
                let to = Layout::contiguous(&[m, n]);
                let bytes = bytemuck::cast_slice_mut(&mut out);
                let mut to = TensorMut::new(DType::I32, &to, bytes).unwrap();
                let left = TensorRef::new(dtype(0), &left, &data[0]).unwrap();
                let right = TensorRef::new(dtype(1), &right, &data[1]).unwrap();
                multiply_bytes(&mut to, &left, &right, &Threads::new(2));
                assert_eq!(out, wanted, "{m} x {k} x {n}, {signs}");
            }
        }
    }
}
