//! Reductions: many elements become one.
//!
//! The dimensions are put in order, those that stay first; then each output element folds the run
//! of positions that belongs to it. Floats are accumulated in double precision, integers in 64
//! bits with wrap-around, so that results do not depend on the order.

use crate::elementwise::Compute;
use crate::slabs::for_each_slab;
use crate::{Dims, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements read below which another thread is not worth waking.
const GRAIN: usize = 32 * 1024;

/// `out[kept] = finish(fold over reduced of x)`. `out` has the kept dimensions only. `fold` is
/// given the accumulator, an element and the element's number within its run.
pub fn reduce<C: Compute, A: Copy + Send + Sync, T: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    reduced: &[usize],
    threads: &Threads,
    start: A,
    fold: impl Fn(A, C, usize) -> A + Sync,
    finish: impl Fn(A) -> T + Sync,
) {
    let (kept, run) = split(x.layout(), reduced);
    let grain = (GRAIN / run.numel().max(1)).max(1);
    let result = for_each_slab(out, threads, grain, &|part, out| {
        let kept = part.of(&kept);
        let target = out.layout().clone();
        with_element!(x.dtype(), X => {
            let data = x.data::<X>();
            each_pair(&target, &kept, &mut |to, from| {
                let mut accumulator = start;
                let mut number = 0;
                crate::layout::for_each_run([&run], |[at], [step], n| {
                    for i in 0..n {
                        let element = data[from + at + i * step];
                        accumulator = fold(accumulator, C::load(element), number);
                        number += 1;
                    }
                });
                write(out, to, finish(accumulator));
            });
        });
        Ok(())
    });
    debug_assert!(result.is_ok());
}

/// Running fold along `dim`; `out` has the shape of `x`.
pub fn scan<C: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dim: usize,
    start: C,
    fold: impl Fn(C, C) -> C + Sync,
) {
    let layout = out.layout().clone();
    if layout.numel() == 0 {
        return;
    }
    let (to, from) = (layout.slice(dim, 0, 1, 1), x.layout().slice(dim, 0, 1, 1));
    with_element!(x.dtype(), X => {
        let data = x.data::<X>();
        each_pair(&to, &from, &mut |to, from| {
            let mut accumulator = start;
            for i in 0..layout.shape[dim] {
                accumulator = fold(accumulator, C::load(data[from + i * x.layout().strides[dim]]));
                write(out, to + i * layout.strides[dim], accumulator);
            }
        });
    });
}

/// The layout of the dimensions that stay, and that of those that go, from offset 0.
fn split(layout: &Layout, reduced: &[usize]) -> (Layout, Layout) {
    let pick = |gone: bool, offset: usize| {
        let dims: Dims = (0..layout.rank())
            .filter(|d| reduced.contains(d) == gone)
            .collect();
        Layout {
            offset,
            ..layout.permute(&dims)
        }
    };
    (pick(false, layout.offset), pick(true, 0))
}

fn each_pair(a: &Layout, b: &Layout, visit: &mut dyn FnMut(usize, usize)) {
    crate::layout::for_each_run([a, b], |[p, q], [s, t], n| {
        for i in 0..n {
            visit(p + i * s, q + i * t);
        }
    });
}

fn write<C: Compute>(out: &mut TensorMut<'_>, at: usize, value: C) {
    with_element!(out.dtype(), T => out.data::<T>()[at] = value.store());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    #[test]
    fn any_dimensions_of_a_strided_tensor_can_go() {
        let mut memory = Storage::zeroed(8 * 24);
        for (i, x) in bytemuck::cast_slice_mut::<u8, i64>(memory.bytes_mut())
            .iter_mut()
            .enumerate()
        {
            *x = i as i64;
        }
        let layout = Layout::contiguous(&[2, 3, 4]).permute(&[2, 0, 1]);
        let x = TensorRef::new(DType::I64, &layout, memory.bytes()).unwrap();
        let lo = Layout::contiguous(&[2]);
        let mut out = Storage::zeroed(16);
        let mut to = TensorMut::new(DType::I64, &lo, out.bytes_mut()).unwrap();
        reduce::<i64, i64, i64>(
            &mut to,
            &x,
            &[0, 2],
            &Threads::new(2),
            0,
            |a, x, _| a + x,
            |a| a,
        );
        assert_eq!(to.as_ref().to_vec::<i64>(), [66, 210]);
    }
}
