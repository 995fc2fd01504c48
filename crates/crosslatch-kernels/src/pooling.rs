//! Pooling: the greatest element of each window, where it lies, or the mean.
//!
//! Windows lie on a grid: a window over three dimensions is a range of each. Whether windows are strided,
//! dilated, padded or adapted to the size of the input, they are therefore ranges of each dimension
//! ([`Windows`]), and there is one loop for all. Where fewer dimensions are pooled, the others have
//! length 1. Elements of a window are taken in order, so results do not depend on threads.

use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::batch_offset;
use crate::{Element, TensorMut, TensorRef, Threads, with_element};

/// Elements that a task looks at, about.
const GRAIN: usize = 1 << 14;

/// The windows along one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    count: usize,
    /// Number of elements of the input.
    size: usize,
    form: Form,
}

/// How windows lie.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Strided(Strided),
    /// Each over its share of the elements, and over those at both ends that it shares with others.
    Adaptive,
}

/// Windows of so many elements, each so far behind the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// Elements of a window.
    pub len: usize,
    /// Distance between them.
    pub dilation: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Elements that are imagined on both sides of the input.
    pub padding: usize,
    /// Whether a last window may reach beyond the padding.
    pub ceil: bool,
    /// Whether means count the padding.
    pub counts_padding: bool,
}

/// The part of a window that lies inside the input.
#[derive(Clone, Copy)]
struct Window {
    start: usize,
    len: usize,
    /// Number of elements that a mean divides by.
    counted: usize,
}

impl Windows {
    /// Windows over `size` elements; `None` if none fits, if a number that must not be 0 is, if there is more
    /// padding than half of a window, or if sizes overflow.
    pub fn strided(form: Strided, size: usize) -> Option<Windows> {
        let Strided {
            len,
            dilation,
            stride,
            padding,
            ..
        } = form;
        let reach = len.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
        if dilation == 0 || stride == 0 || padding > reach / 2 {
            return None;
        }
        let end = padding.checked_add(size)?;
        let room = end.checked_add(padding)?.checked_sub(reach);
        let mut count = match room {
            Some(room) if form.ceil => room.div_ceil(stride) + 1,
            Some(room) => room / stride + 1,
            // The input is shorter than a window, by less than a stride.
            None if form.ceil && end + padding + stride > reach => 1,
            None => return None,
        };
        // The last window begins in the input or in the padding in front of it.
        if form.ceil && (count - 1).checked_mul(stride)? >= end {
            count -= 1;
        }
        isize::try_from(count.checked_mul(stride)?.checked_add(reach)?).ok()?;
        (count > 0).then_some(Windows {
            count,
            size,
            form: Form::Strided(form),
        })
    }

    /// So many windows over `size` elements; `None` if sizes overflow.
    pub fn adaptive(count: usize, size: usize) -> Option<Windows> {
        count.checked_add(1)?.checked_mul(size)?;
        Some(Windows {
            count,
            size,
            form: Form::Adaptive,
        })
    }

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of elements of the longest window, about.
    pub fn longest(&self) -> usize {
        match &self.form {
            Form::Strided(strided) => strided.len,
            Form::Adaptive => self.size.div_ceil(self.count.max(1)),
        }
    }

    /// Distance between elements of a window.
    fn step(&self) -> usize {
        match &self.form {
            Form::Strided(strided) => strided.dilation,
            Form::Adaptive => 1,
        }
    }

    #[inline(always)]
    fn window(&self, i: usize) -> Window {
        match &self.form {
            Form::Adaptive => {
                let start = i * self.size / self.count;
                let len = ((i + 1) * self.size).div_ceil(self.count) - start;
                Window {
                    start,
                    len,
                    counted: len,
                }
            }
            Form::Strided(strided) => {
                let Strided {
                    len,
                    dilation,
                    stride,
                    padding,
                    ..
                } = *strided;
                // Counted from the first element of the padding.
                let first = i * stride;
                let end = (first + (len - 1) * dilation + 1).min(self.size + 2 * padding);
                let skipped = padding.saturating_sub(first).div_ceil(dilation);
                let start = first + skipped * dilation - padding;
                let inside = end.min(self.size + padding).saturating_sub(start + padding);
                let len = inside.div_ceil(dilation);
                let counted = if strided.counts_padding {
                    end - first
                } else {
                    len
                };
                Window {
                    start,
                    len,
                    counted,
                }
            }
        }
    }
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Its greatest element, of which NaN is one; the lowest number of the type if it is empty.
    Greatest,
    /// Where that lies: its index in the pooled dimensions, as `i64`. Of equal elements the first counts,
    /// of several NaN the last.
    Place,
    /// The sum over what is counted, or over this divisor, which is not 0; integers are truncated. The mean
    /// of an empty window is 0.
    Mean(Option<i64>),
}

/// Pools `x`, `[n, c, d, h, w]`, into `out`, contiguous `[n, c, d', h', w']` with an element for each window.
/// Its type is that of `x`, or `i64` for places.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn pool(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    windows: &[Windows; 3],
    pooling: Pooling,
    threads: &Threads,
) {
    with_element!(x.dtype(), T => match pooling {
        Pooling::Greatest => for_each_window(out, x, windows, threads, |cells: Cells<'_, T>| {
            cells.greatest().map_or(lowest(), |(element, _)| element)
        }),
        Pooling::Place => for_each_window(out, x, windows, threads, |cells: Cells<'_, T>| {
            cells.greatest().map_or(cells.place([0; 3]), |(_, place)| place) as i64
        }),
        Pooling::Mean(divisor) => for_each_window(out, x, windows, threads, |cells: Cells<'_, T>| {
            let divisor = divisor.unwrap_or_else(|| cells.counted() as i64);
            match T::DTYPE.is_float() {
                _ if divisor == 0 => T::from_i64(0),
                true => T::from_f64(cells.sum(0.0, |sum, x| sum + x.to_f64()) / divisor as f64),
                false => {
                    let sum = cells.sum(0, |sum: i64, x| sum.wrapping_add(x.to_i64()));
                    T::from_i64(sum.wrapping_div(divisor))
                }
            }
        }),
    });
}

/// The lowest number of a type.
fn lowest<T: Element>() -> T {
    match T::DTYPE.is_float() {
        true => T::from_f64(f64::NEG_INFINITY),
        false => T::from_f64(-(2f64.powi(8 * size_of::<T>() as i32 - 1))),
    }
}

/// The elements of one window.
struct Cells<'a, T> {
    /// The memory of the tensor, from the first element of the plane.
    plane: &'a [T],
    windows: [Window; 3],
    /// Distances in memory between neighbours of the plane.
    strides: [usize; 3],
    /// Distances in the plane between neighbours of the window.
    steps: [usize; 3],
    /// Sizes of the plane.
    sizes: [usize; 3],
}

impl<T: Element> Cells<'_, T> {
    /// Position in the plane of an element of the window.
    fn place(&self, at: [usize; 3]) -> usize {
        (0..3).fold(0, |place, d| {
            place * self.sizes[d] + self.windows[d].start + at[d] * self.steps[d]
        })
    }

    /// What comes of a value by every element in turn.
    #[inline(always)]
    fn fold<A>(&self, mut value: A, mut step: impl FnMut(A, T, [usize; 3]) -> A) -> A {
        let [d, h, w] = self.windows;
        let offset = |i: usize, at| (self.windows[i].start + at * self.steps[i]) * self.strides[i];
        for a in 0..d.len {
            for b in 0..h.len {
                let row = offset(0, a) + offset(1, b);
                for c in 0..w.len {
                    value = step(value, self.plane[row + offset(2, c)], [a, b, c]);
                }
            }
        }
        value
    }

    fn sum<A>(&self, zero: A, add: impl Fn(A, T) -> A) -> A {
        self.fold(zero, |sum, x, _| add(sum, x))
    }

    /// The greatest element and its place, unless the window is empty.
    #[allow(clippy::eq_op)]
    fn greatest(&self) -> Option<(T, usize)> {
        let found = self.fold(None, |best: Option<(T, [usize; 3])>, x, at| {
            let new = x.widen();
            // `new != new` holds for NaN.
            let is_greater = best.is_none_or(|(best, _)| new > best.widen() || new != new);
            if is_greater { Some((x, at)) } else { best }
        });
        found.map(|(x, at)| (x, self.place(at)))
    }

    fn counted(&self) -> usize {
        let is_empty = self.windows.iter().any(|window| window.len == 0);
        let counted = self.windows.iter().map(|window| window.counted).product();
        if is_empty { 0 } else { counted }
    }
}

/// Fills each element of `out` from its window.
fn for_each_window<T: Element, R: Element>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    windows: &[Windows; 3],
    threads: &Threads,
    result: impl Fn(Cells<'_, T>) -> R + Sync,
) {
    let layout = x.layout();
    let (shape, to) = (&layout.shape[..], out.layout());
    let each: usize = windows.iter().map(Windows::count).product();
    assert!(to.is_contiguous() && to.numel() == shape[0] * shape[1] * each);
    assert!((0..3).all(|d| windows[d].size == shape[d + 2]));
    if each == 0 {
        return;
    }
    let window = windows.iter().map(Windows::longest);
    let work = window.fold(each, usize::saturating_mul);
    let planes = (GRAIN / work.max(1)).max(1);
    let count = shape[0] * shape[1];
    let start = to.offset;
    let (data, results) = (x.data::<T>(), SharedOutput::new(out.data::<R>()));
    threads.run(count.div_ceil(planes), &|task| {
        for plane in task * planes..count.min((task + 1) * planes) {
            let first = batch_offset(layout, 2, plane);
            // SAFETY: a plane is pooled by one task, and `out` is contiguous.
            let results = unsafe { results.slice(start + plane * each, each) };
            let mut results = results.iter_mut();
            for d in 0..windows[0].count {
                let d = windows[0].window(d);
                for h in 0..windows[1].count {
                    let h = windows[1].window(h);
                    for (w, to) in (0..windows[2].count).zip(&mut results) {
                        *to = result(Cells {
                            plane: &data[first..],
                            windows: [d, h, windows[2].window(w)],
                            strides: std::array::from_fn(|i| layout.strides[i + 2]),
                            steps: std::array::from_fn(|i| windows[i].step()),
                            sizes: std::array::from_fn(|i| shape[i + 2]),
                        });
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    /// Windows of `len` elements, `dilation` apart, every `stride` elements.
    fn windows([len, dilation, stride]: [usize; 3], size: usize) -> Windows {
        let form = Strided {
            len,
            dilation,
            stride,
            padding: len / 2,
            ceil: true,
            counts_padding: true,
        };
        Windows::strided(form, size).unwrap()
    }

    /// The elements of each of these windows, and how many a mean counts, by their definition.
    fn ranges([len, dilation, stride]: [usize; 3], size: usize) -> Vec<(Vec<usize>, usize)> {
        let (padding, size) = (len as i64 / 2, size as i64);
        let [len, dilation, stride] = [len, dilation, stride].map(|n| n as i64);
        let firsts = (0..).map(|i| i * stride - padding);
        let firsts = firsts.take_while(|first| {
            let before = first - stride + (len - 1) * dilation;
            *first < size && before < size + padding - 1
        });
        let window = |first: i64| {
            let all = (0..len).map(|i| first + i * dilation);
            let inside = all
                .filter(|at| (0..size).contains(at))
                .map(|at| at as usize);
            let end = (first + (len - 1) * dilation + 1).min(size + padding);
            (inside.collect(), (end - first) as usize)
        };
        firsts.map(window).collect()
    }

    fn pooled<R: Element>(x: &TensorRef<'_>, windows: &[Windows; 3], pooling: Pooling) -> Vec<R> {
        let mut shape = vec![x.shape()[0], x.shape()[1]];
        shape.extend(windows.iter().map(Windows::count));
        let layout = Layout::contiguous(&shape);
        let mut out = Storage::zeroed(layout.numel() * size_of::<R>());
        let mut to = TensorMut::new(R::DTYPE, &layout, out.bytes_mut()).unwrap();
        pool(&mut to, x, windows, pooling, &Threads::new(2));
        to.as_ref().to_vec()
    }

    #[test]
    fn windows_of_any_layout_give_what_their_elements_say() {
        let shape = [2, 3, 2, 7, 9];
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|i| (i as f32 * 1.7).sin())
            .collect();
        let straight = Layout::contiguous(&shape);
        let turned = Layout::contiguous(&[2, 3, 2, 9, 7]).transpose(3, 4);
        let grids = [[2, 1, 2], [3, 1, 2], [2, 3, 4]];
        let windows = [0, 1, 2].map(|d| windows(grids[d], shape[d + 2]));
        let ranges = [0, 1, 2].map(|d| ranges(grids[d], shape[d + 2]));
        for layout in [straight, turned] {
            let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&values)).unwrap();
            let elements = x.to_vec::<f32>();
            let (mut greatest, mut places, mut means) = (Vec::new(), Vec::new(), Vec::new());
            for plane in elements.chunks(2 * 7 * 9) {
                for (d, depth) in &ranges[0] {
                    for (h, height) in &ranges[1] {
                        for (w, width) in &ranges[2] {
                            let rows = d
                                .iter()
                                .flat_map(|d| h.iter().map(move |h| (d * 7 + h) * 9));
                            let cells = rows.flat_map(|row| w.iter().map(move |w| row + w));
                            let cells: Vec<usize> = cells.collect();
                            let best = cells
                                .iter()
                                .max_by(|a, b| plane[**a].total_cmp(&plane[**b]));
                            greatest.push(plane[*best.unwrap()]);
                            places.push(*best.unwrap() as i64);
                            let sum: f32 = cells.iter().map(|i| plane[*i]).sum();
                            means.push(sum / (depth * height * width) as f32);
                        }
                    }
                }
            }
            assert_eq!(pooled::<f32>(&x, &windows, Pooling::Greatest), greatest);
            assert_eq!(pooled::<i64>(&x, &windows, Pooling::Place), places);
            let found = pooled::<f32>(&x, &windows, Pooling::Mean(None));
            for (mean, expected) in found.iter().zip(&means) {
                assert!((mean - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn adaptive_windows_share_elements_where_sizes_do_not_divide() {
        let windows = Windows::adaptive(3, 7).unwrap();
        let ranges = (0..3)
            .map(|i| windows.window(i))
            .map(|w| w.start..w.start + w.len);
        assert_eq!(ranges.collect::<Vec<_>>(), [0..3, 2..5, 4..7]);
        assert!(Windows::adaptive(usize::MAX, 2).is_none());
    }

    #[test]
    fn nan_is_the_greatest_and_integers_are_divided_as_integers() {
        let layout = Layout::contiguous(&[1, 1, 1, 1, 4]);
        let all = [(1, 1), (1, 1), (2, 4)].map(|(n, size)| Windows::adaptive(n, size).unwrap());
        let x = [1.0, f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&x)).unwrap();
        assert!(pooled::<f32>(&x, &all, Pooling::Greatest)[0].is_nan());
        assert_eq!(pooled::<i64>(&x, &all, Pooling::Place), [1, 2]);
        let x = [-3i32, 0, 7, 0];
        let x = TensorRef::new(DType::I32, &layout, bytemuck::cast_slice(&x)).unwrap();
        assert_eq!(pooled::<i32>(&x, &all, Pooling::Mean(None)), [-1, 3]);
        assert_eq!(pooled::<i32>(&x, &all, Pooling::Mean(Some(-1))), [3, -7]);
    }
}
