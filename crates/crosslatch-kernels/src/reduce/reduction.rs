//! Reductions: many elements become one.
//!
//! The dimensions are ordered, the kept ones first; each output element then folds the run of
//! positions that belongs to it. Element number `i` of a run goes to part `i mod 16`, and the parts
//! are combined at the end, always in one order. The parts are what vector instructions work on
//! side by side, and since nothing else decides what is added to what, a result depends on the
//! values and the shape alone: not on strides, threads or machine. Sums are kept in double
//! precision, so that they hardly depend on the order anyway.
//!
//! Where a run lies across the memory (a sum of rows), many neighbouring outputs are folded at a
//! time, so that memory is read in its own order.

use crate::elements::blocks::{Compute, load, store};
#[cfg(target_arch = "x86_64")]
use crate::runtime::instructions::{self, Feature};
use crate::runtime::partition::for_each_part;
use crate::tensor::layout::for_each_run;
use crate::{DType, Dims, Layout, TensorMut, TensorRef, Threads};

/// Elements read below which another thread is not worth waking.
const GRAIN: usize = 32 * 1024;

/// Elements converted at a time.
const BLOCK: usize = 256;

/// Partial accumulators of a fold.
const PARTS: usize = 16;

/// Outputs that are folded together where runs lie across the memory.
const COLUMNS: usize = 32;

/// How many elements become one.
pub struct Fold<B, S, J> {
    /// An empty part, given the first element of the run (zero if there is none).
    pub begin: B,
    /// Adds one element to a part.
    pub step: S,
    /// Combines two parts; the first holds the earlier elements, where that has a meaning.
    pub join: J,
}

/// `out[kept] = finish(fold over reduced of x, from)`, where elements of `x` are converted to
/// `through` first, and `from` is where the run's first element lies. `out` has the kept dimensions
/// only.
pub fn reduce<C: Compute, P: Copy, T: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    reduced: &[usize],
    through: DType,
    threads: &Threads,
    fold: &Fold<impl Fn(C) -> P + Sync, impl Fn(P, C) -> P + Sync, impl Fn(P, P) -> P + Sync>,
    finish: impl Fn(P, usize) -> T + Sync,
) {
    let (kept, run) = split(x.layout(), reduced);
    let grain = (GRAIN / run.numel().max(1)).max(1);
    for_each_part(out, threads, grain, &|part, out| {
        let (from, to) = (part.of(&kept), out.layout().clone());
        for_each_run([&to, &from], |[o, k], [o_step, k_step], n| {
            let across = k_step == 1 && n > 1 && innermost_stride(&run) != 1;
            let together = if across { COLUMNS } else { 1 };
            for done in (0..n).step_by(together) {
                let columns = (n - done).min(together);
                let from = k + done * k_step;
                let mut results = [T::default(); COLUMNS];
                if across {
                    fold_columns(
                        x,
                        from,
                        &run,
                        through,
                        fold,
                        &mut results[..columns],
                        &finish,
                    );
                } else {
                    results[0] = finish(fold_run(x, from, &run, through, fold), from);
                }
                store(out, o + done * o_step, o_step, &results[..columns]);
            }
        });
    });
}

/// Combines the parts in a tree: those that are half of them apart first.
fn join_parts<P: Copy>(mut parts: [P; PARTS], join: impl Fn(P, P) -> P) -> P {
    let mut width = PARTS / 2;
    while width > 0 {
        for i in 0..width {
            parts[i] = join(parts[i], parts[i + width]);
        }
        width /= 2;
    }
    parts[0]
}

fn fold_run<C: Compute, P: Copy>(
    x: &TensorRef<'_>,
    from: usize,
    run: &Layout,
    through: DType,
    fold: &Fold<impl Fn(C) -> P, impl Fn(P, C) -> P, impl Fn(P, P) -> P>,
) -> P {
    let mut block = [C::default(); BLOCK];
    let first = match run.numel() {
        0 => C::default(),
        _ => load(x, (from, 1), through, &mut block[..1])[0],
    };
    let mut parts = [(fold.begin)(first); PARTS];
    let mut number = 0;
    for_each_run([run], |[at], [step], n| {
        for done in (0..n).step_by(BLOCK) {
            let len = (n - done).min(BLOCK);
            let start = from + at + done * step;
            let elements = load(x, (start, step), through, &mut block[..len]);
            add_block(&mut parts, elements, number, &fold.step);
            number += len;
        }
    });
    join_parts(parts, &fold.join)
}

/// Adds the elements of a run from number `number` on.
fn add_block<C: Compute, P: Copy>(
    parts: &mut [P; PARTS],
    elements: &[C],
    number: usize,
    step: &impl Fn(P, C) -> P,
) {
    let start = number % PARTS;
    let head = (PARTS - start) % PARTS;
    let (head, rest) = elements.split_at(head.min(elements.len()));
    for (part, x) in parts[start..].iter_mut().zip(head) {
        *part = step(*part, *x);
    }
    #[cfg(target_arch = "x86_64")]
    if C::VECTORS && instructions::has(Feature::Avx2) {
        // SAFETY: the machine has AVX2 and FMA.
        return unsafe { add_rows_avx2(parts, rest, step) };
    }
    add_rows(parts, rest, step);
}

#[inline(always)]
fn add_rows<C: Copy, P: Copy>(parts: &mut [P; PARTS], x: &[C], step: &impl Fn(P, C) -> P) {
    let (rows, tail) = x.as_chunks::<PARTS>();
    // A copy that the compiler can keep in registers.
    let mut sums = *parts;
    for row in rows {
        for (part, x) in sums.iter_mut().zip(row) {
            *part = step(*part, *x);
        }
    }
    for (part, x) in sums.iter_mut().zip(tail) {
        *part = step(*part, *x);
    }
    *parts = sums;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_rows_avx2<C: Copy, P: Copy>(parts: &mut [P; PARTS], x: &[C], step: &impl Fn(P, C) -> P) {
    add_rows(parts, x, step);
}

/// Folds the runs of neighbouring outputs together, one for each result.
fn fold_columns<C: Compute, P: Copy, T>(
    x: &TensorRef<'_>,
    from: usize,
    run: &Layout,
    through: DType,
    fold: &Fold<impl Fn(C) -> P, impl Fn(P, C) -> P, impl Fn(P, P) -> P>,
    results: &mut [T],
    finish: &impl Fn(P, usize) -> T,
) {
    let n = results.len();
    let mut block = [C::default(); COLUMNS];
    let first = match run.numel() {
        0 => block,
        _ => {
            let mut first = block;
            first[..n].copy_from_slice(load(x, (from, 1), through, &mut block[..n]));
            first
        }
    };
    let mut parts: [[P; COLUMNS]; PARTS] = [first.map(&fold.begin); PARTS];
    let mut number = 0;
    for_each_run([run], |[at], [step], len| {
        for i in 0..len {
            let elements = load(x, (from + at + i * step, 1), through, &mut block[..n]);
            for (part, x) in parts[number % PARTS].iter_mut().zip(elements) {
                *part = (fold.step)(*part, *x);
            }
            number += 1;
        }
    });
    for (j, result) in results.iter_mut().enumerate() {
        *result = finish(
            join_parts(parts.map(|columns| columns[j]), &fold.join),
            from + j,
        );
    }
}

/// Index of the first element that equals `wanted` within the run of an output, whose first element
/// lies at `from`; 0 if none does. NaN counts as equal to itself.
pub fn find_first<C: Compute>(
    x: &TensorRef<'_>,
    from: usize,
    reduced: &[usize],
    wanted: C,
) -> usize {
    let (_, run) = split(x.layout(), reduced);
    let is_nan = |x: C| x.partial_cmp(&x).is_none();
    let mut block = [C::default(); BLOCK];
    let (mut number, mut found) = (0, None);
    for_each_run([&run], |[at], [step], n| {
        for done in (0..n).step_by(BLOCK) {
            if found.is_some() {
                return;
            }
            let len = (n - done).min(BLOCK);
            let start = from + at + done * step;
            let elements = load(x, (start, step), x.dtype(), &mut block[..len]);
            let place = match is_nan(wanted) {
                true => elements.iter().position(|x| is_nan(*x)),
                false => elements.iter().position(|x| *x == wanted),
            };
            found = place.map(|i| number + i);
            number += len;
        }
    });
    found.unwrap_or(0)
}

/// The layout of the kept dimensions, and that of the reduced ones, from offset 0.
pub(crate) fn split(layout: &Layout, reduced: &[usize]) -> (Layout, Layout) {
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

/// The stride of the last dimension that has more than one element; 1 if none has.
fn innermost_stride(layout: &Layout) -> usize {
    let dims = layout.shape.iter().zip(&layout.strides);
    dims.rev()
        .find(|(size, _)| **size > 1)
        .map_or(1, |(_, &stride)| stride)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn sum(out: &mut TensorMut<'_>, x: &TensorRef<'_>, dims: &[usize], threads: usize) {
        let fold = Fold {
            begin: |_: f32| 0.0,
            step: |sum: f64, x: f32| sum + x as f64,
            join: |a, b| a + b,
        };
        reduce(
            out,
            x,
            dims,
            DType::F32,
            &Threads::new(threads),
            &fold,
            |sum, _| sum,
        );
    }

    #[test]
    fn any_dimensions_of_a_tensor_with_any_strides_can_go() {
        let shape = [3, 35, 40];
        let numel: usize = shape.iter().product();
        let values: Vec<f32> = (0..numel).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let memory = Storage::copy_of(bytemuck::cast_slice(&values));
        let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
        let sets: [&[usize]; 7] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[0, 1, 2]];
        for (order, dims) in orders.iter().flat_map(|o| sets.map(|s| (o, s))) {
            let layout = Layout::contiguous(&shape).permute(order);
            let x = TensorRef::new(DType::F32, &layout, memory.bytes()).unwrap();
            let kept: Vec<usize> = (0..3).filter(|d| !dims.contains(d)).collect();
            let lo = Layout::contiguous(&kept.iter().map(|&d| layout.shape[d]).collect::<Vec<_>>());
            let mut expected = vec![0f32; lo.numel()];
            for (number, value) in x.to_vec::<f32>().into_iter().enumerate() {
                let index = [
                    number / layout.shape[2] / layout.shape[1],
                    number / layout.shape[2] % layout.shape[1],
                    number % layout.shape[2],
                ];
                let at = kept
                    .iter()
                    .fold(0, |at, &d| at * layout.shape[d] + index[d]);
                expected[at] += value;
            }
            for threads in [1, 3] {
                let mut out = Storage::zeroed(4 * lo.numel());
                let mut to = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                sum(&mut to, &x, dims, threads);
                assert_eq!(to.as_ref().to_vec::<f32>(), expected, "{order:?} {dims:?}");
            }
        }
    }

    #[test]
    fn strides_do_not_change_a_single_bit() {
        let values: Vec<f32> = (0..33 * 50).map(|i| (i as f32).sin()).collect();
        let rows = Layout::contiguous(&[33, 50]);
        let columns = Layout::contiguous(&[50, 33]).transpose(0, 1);
        let mut transposed = vec![0f32; values.len()];
        for (i, p) in columns.positions().enumerate() {
            transposed[p] = values[i];
        }
        for dims in [&[0][..], &[1], &[0, 1]] {
            let mut results = Vec::new();
            for (layout, values) in [(&rows, &values), (&columns, &transposed)] {
                let x = TensorRef::new(DType::F32, layout, bytemuck::cast_slice(values)).unwrap();
                let lo = split(layout, dims).0;
                let lo = Layout::contiguous(&lo.shape);
                let mut out = Storage::zeroed(8 * lo.numel());
                let mut to = TensorMut::new(DType::F64, &lo, out.bytes_mut()).unwrap();
                sum(&mut to, &x, dims, 1);
                results.push(to.as_ref().to_vec::<f64>());
            }
            assert_eq!(results[0], results[1]);
        }
    }

    #[test]
    fn the_first_of_equals_is_found_and_nan_too() {
        let values = [1f32, 3.0, 3.0, f32::NAN, 2.0, f32::NAN];
        let layout = Layout::contiguous(&[2, 3]);
        let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&values)).unwrap();
        assert_eq!(find_first(&x, 0, &[1], 3f32), 1);
        assert_eq!(find_first(&x, 3, &[1], f32::NAN), 0);
        assert_eq!(find_first(&x, 1, &[0], 2f32), 1);
    }
}
