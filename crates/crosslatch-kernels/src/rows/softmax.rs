//! Softmax and its logarithm along one dimension.
//!
//! `exp(x - m) / sum exp(x - m)`, where `m` is the greatest element of the line, so that nothing
//! overflows; the logarithm is `x - m - ln sum exp(x - m)`. Lines are read twice or three times, a
//! block at a time, and may lie along any dimension.

use crate::rows::blocks::{BLOCK, RowFloat, Rows, with_row_float};
use crate::runtime::shared_output::SharedOutput;
use crate::{Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 4 * 1024;

/// Which function of a line is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Softmax {
    /// The softmax itself.
    Usual,
    /// The softmax, but 0 for a line that is minus infinity everywhere, not NaN.
    Safe,
    /// Its logarithm.
    Log,
}

/// Fills `out`, floats, from `x` of the same shape along dimension `dim`. `plain` asks for double
/// precision.
pub fn softmax(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dim: usize,
    what: Softmax,
    plain: bool,
    threads: &Threads,
) {
    // The dimension becomes the last one.
    let last = |layout: &Layout| {
        let mut order: crate::Dims = (0..layout.rank()).filter(|d| *d != dim).collect();
        order.push(dim);
        Rows::new(&layout.permute(&order), 1)
    };
    let (to, from) = (last(out.layout()), last(x.layout()));
    with_row_float!(out.dtype(), plain, T, R => {
        let target = SharedOutput::new(out.data::<T>());
        let write = writer::<T, R>(&target, &to);
        with_element!(x.dtype(), X => {
            let read = |line: usize, first: usize, block: &mut [R]| {
                from.read::<X, R>(x.data(), from.start(line), first, block);
            };
            lines::<R>(&read, &write, (to.count(), to.len()), what, threads);
        });
    });
}

/// Reads a block of a line, from an element on.
type ReadBlock<'r, R> = &'r (dyn Fn(usize, usize, &mut [R]) + Sync);
/// Writes a block of a line, from an element on; a line is written by one thread.
type WriteBlock<'w, R> = &'w (dyn Fn(usize, usize, &[R]) + Sync);

/// What [`lines`] writes its results with.
fn writer<'w, T: Element, R: RowFloat>(
    target: &'w SharedOutput<'_, T>,
    to: &'w Rows,
) -> impl Fn(usize, usize, &[R]) + Sync + 'w {
    move |line, first, block| {
        // SAFETY: `lines` does each line in one task, and no two lines have an element in common.
        unsafe { to.write::<T, R>(target, to.start(line), first, block) };
    }
}

/// Computes `count` lines of length `len`. Only `read` and `write` know how elements are stored, so
/// that this is not compiled for each pair of types.
fn lines<R: RowFloat>(
    read: ReadBlock<'_, R>,
    write: WriteBlock<'_, R>,
    (count, len): (usize, usize),
    what: Softmax,
    threads: &Threads,
) {
    if len == 0 {
        return;
    }
    let one_line = |line: usize| {
        let mut buffer = [R::of(0.0); BLOCK];
        let mut each_block = |work: &mut dyn FnMut(usize, &mut [R])| {
            for first in (0..len).step_by(BLOCK) {
                let block = &mut buffer[..BLOCK.min(len - first)];
                read(line, first, block);
                work(first, block);
            }
        };
        let mut greatest = f64::NEG_INFINITY;
        let mut hidden = what == Softmax::Safe;
        each_block(&mut |_, block| {
            greatest = greatest.max(R::max(block).to());
            // The greatest element passes over NaN, but a line with one is not hidden.
            hidden = hidden && block.iter().all(|x| x.to() == f64::NEG_INFINITY);
        });
        let shift = R::of(greatest);
        let mut sum = 0.0;
        each_block(&mut |_, block| sum += R::exp_and_sum(block, shift).to());
        each_block(&mut |first, block| {
            if hidden {
                block.fill(R::of(0.0));
            } else if what == Softmax::Log {
                R::shift_and_scale(block, shift, R::of(1.0));
                R::shift_and_scale(block, R::of(sum.ln()), R::of(1.0));
            } else {
                R::exp_and_sum(block, shift);
                R::shift_and_scale(block, R::of(0.0), R::of(1.0 / sum));
            }
            write(line, first, block);
        });
    };
    let tasks = (count * len / GRAIN)
        .clamp(1, 4 * threads.count())
        .min(count.max(1));
    threads.run(tasks, &|i| {
        (count * i / tasks..count * (i + 1) / tasks).for_each(one_line)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn run(shape: &[usize], dim: usize, values: &[f32], what: Softmax, plain: bool) -> Vec<f32> {
        let layout = Layout::contiguous(shape);
        let memory = Storage::copy_of(bytemuck::cast_slice(values));
        let x = TensorRef::new(DType::F32, &layout, memory.bytes()).unwrap();
        let mut out = Storage::zeroed(4 * values.len());
        let mut out = TensorMut::new(DType::F32, &layout, out.bytes_mut()).unwrap();
        softmax(&mut out, &x, dim, what, plain, &Threads::new(2));
        out.as_ref().to_vec()
    }

    #[test]
    fn lines_of_any_dimension_and_length_sum_to_one() {
        let values: Vec<f32> = (0..2 * 1100 * 3)
            .map(|i| ((i * 7919) % 300) as f32 / 30.0)
            .collect();
        let fast = run(&[2, 1100, 3], 1, &values, Softmax::Usual, false);
        let plain = run(&[2, 1100, 3], 1, &values, Softmax::Usual, true);
        assert!(
            fast.iter()
                .zip(&plain)
                .all(|(a, b)| (a - b).abs() <= 1e-5 * b)
        );
        let sum: f32 = (0..1100).map(|i| fast[i * 3 + 1]).sum();
        assert!((sum - 1.0).abs() < 1e-4);
        let log = run(&[2, 1100, 3], 1, &values, Softmax::Log, false);
        assert!(
            log.iter()
                .zip(&plain)
                .all(|(a, b)| (a.exp() - b).abs() <= 2e-5 * b)
        );
    }

    #[test]
    fn a_line_with_nan_is_nan_however_it_is_computed() {
        let (nan, hidden) = (f32::NAN, f32::NEG_INFINITY);
        for line in [[nan, nan], [hidden, nan], [nan, 1.0], [f32::INFINITY, 0.0]] {
            for what in [Softmax::Usual, Softmax::Safe, Softmax::Log] {
                for plain in [false, true] {
                    let all = run(&[2], 0, &line, what, plain);
                    assert!(
                        all.iter().all(|x| x.is_nan()),
                        "{what:?} of {line:?}: {all:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_hidden_line_is_nan_or_zero_and_an_empty_one_nothing() {
        let hidden = [f32::NEG_INFINITY; 3];
        assert!(
            run(&[3], 0, &hidden, Softmax::Usual, false)
                .iter()
                .all(|x| x.is_nan())
        );
        assert_eq!(run(&[3], 0, &hidden, Softmax::Safe, false), [0.0; 3]);
        assert!(run(&[2, 0], 1, &[], Softmax::Usual, false).is_empty());
        assert!(run(&[0, 2], 1, &[], Softmax::Usual, false).is_empty());
    }
}
