//! Patches of images as columns of a matrix, and the sum of such patches back into an image.
//!
//! A transposed convolution is a product whose columns are patches, and their sum where they overlap.
//! Sums are taken in the order of the taps for each element, so they do not depend on threads.

use crate::runtime::shared_output::SharedOutput;
use crate::tensor::arithmetic::Accumulate;
use crate::{Element, TensorMut, TensorRef, Threads, with_element};

/// Elements that a task is worth.
const GRAIN: usize = 1 << 14;

/// How patches lie in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Height and width of a patch.
    pub size: [usize; 2],
    /// Distances between patches.
    pub stride: [usize; 2],
    /// Zeros that are imagined around the image.
    pub padding: [usize; 2],
    /// Distances between elements of a patch.
    pub dilation: [usize; 2],
    /// Rows and columns of patches.
    pub count: [usize; 2],
}

impl Patches {
    /// Number of patches over an image of this height and width; `None` if none fits, if a number that must
    /// not be 0 is, or if sizes overflow.
    pub fn count(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let mut count = [0; 2];
        for d in 0..2 {
            let reach = self.size[d]
                .checked_sub(1)?
                .checked_mul(self.dilation[d])?
                .checked_add(1)?;
            let padded = self.padding[d].checked_mul(2)?.checked_add(image[d])?;
            isize::try_from(padded).ok()?;
            if self.dilation[d] == 0 || self.stride[d] == 0 {
                return None;
            }
            count[d] = padded.checked_sub(reach)? / self.stride[d] + 1;
        }
        Some(count)
    }

    /// Where the element of a patch lies, if it lies in an image of this length.
    #[inline(always)]
    fn place(&self, d: usize, patch: usize, tap: usize, len: usize) -> Option<usize> {
        let at = patch * self.stride[d] + tap * self.dilation[d];
        at.checked_sub(self.padding[d]).filter(|at| *at < len)
    }

    /// Fills `out`, contiguous `[n, c · taps, patches]`, from an image, `[n, c, h, w]` with any strides. What
    /// lies outside is 0.
    ///
    /// # Panics
    /// If shapes and types do not fit together.
    pub fn take(&self, out: &mut TensorMut<'_>, image: &TensorRef<'_>, threads: &Threads) {
        let layout = image.layout();
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|d| layout.shape[d]);
        let [rows, columns] = self.count;
        let (taps, patches) = (self.size[0] * self.size[1], rows * columns);
        let to = out.layout();
        assert!(to.is_contiguous() && to.numel() == batch * channels * taps * patches);
        assert!(image.dtype() == out.dtype());
        if patches == 0 {
            return;
        }
        let (start, lines) = (to.offset, batch * channels * taps);
        let each = (GRAIN / patches).max(1);
        with_element!(out.dtype(), T => {
            let (data, to) = (image.data::<T>(), SharedOutput::new(out.data::<T>()));
            threads.run(lines.div_ceil(each), &|task| {
                for line in task * each..lines.min((task + 1) * each) {
                    // SAFETY: a line is filled by one task, and `out` is contiguous.
                    let to = unsafe { to.slice(start + line * patches, patches) };
                    let (plane, tap) = (line / taps, line % taps);
                    let [ty, tx] = [tap / self.size[1], tap % self.size[1]];
                    let plane = layout.offset
                        + plane / channels * layout.strides[0]
                        + plane % channels * layout.strides[1];
                    for (i, to) in to.iter_mut().enumerate() {
                        let y = self.place(0, i / columns, ty, height);
                        let x = self.place(1, i % columns, tx, width);
                        *to = match (y, x) {
                            (Some(y), Some(x)) => {
                                data[plane + y * layout.strides[2] + x * layout.strides[3]]
                            }
                            _ => T::from_i64(0),
                        };
                    }
                }
            });
        });
    }

    /// Sums patches, `[n, c · taps, patches]` with any strides, into `out`, contiguous `[n, c, h, w]` of floats.
    /// Every element begins with the number that `bias`, `[c]`, has for its channel, or 0.
    ///
    /// # Panics
    /// If shapes and types do not fit together.
    pub fn sum(
        &self,
        out: &mut TensorMut<'_>,
        patches: &TensorRef<'_>,
        bias: Option<&TensorRef<'_>>,
        threads: &Threads,
    ) {
        let to = out.layout();
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|d| to.shape[d]);
        let layout = patches.layout();
        let [rows, columns] = self.count;
        let taps = self.size[0] * self.size[1];
        assert!(to.is_contiguous() && patches.dtype() == out.dtype());
        assert_eq!(layout.shape[..], [batch, channels * taps, rows * columns]);
        assert!(bias.is_none_or(|bias| bias.shape() == [channels] && bias.dtype() == out.dtype()));
        let (start, plane) = (to.offset, height * width);
        let each = (GRAIN / (taps * rows * columns).max(1)).max(1);
        let count = batch * channels;
        with_element!(out.dtype(), T => {
            let (data, to) = (patches.data::<T>(), SharedOutput::new(out.data::<T>()));
            threads.run(count.div_ceil(each), &|task| {
                for i in task * each..count.min((task + 1) * each) {
                    let (n, c) = (i / channels, i % channels);
                    // SAFETY: a plane is summed by one task, and `out` is contiguous.
                    let to = unsafe { to.slice(start + i * plane, plane) };
                    to.fill(bias.map_or(T::from_i64(0), |bias| {
                        let layout = bias.layout();
                        bias.data::<T>()[layout.offset + c * layout.strides[0]]
                    }));
                    let from = layout.offset + n * layout.strides[0] + c * taps * layout.strides[1];
                    for tap in 0..taps {
                        let from = from + tap * layout.strides[1];
                        self.add_tap(to, [height, width], tap, |patch| data[from + patch * layout.strides[2]]);
                    }
                }
            });
        });
    }

    /// Adds one element of every patch.
    #[inline(always)]
    fn add_tap<T: Element>(
        &self,
        to: &mut [T],
        [height, width]: [usize; 2],
        tap: usize,
        element: impl Fn(usize) -> T,
    ) {
        let [rows, columns] = self.count;
        let [ty, tx] = [tap / self.size[1], tap % self.size[1]];
        for row in 0..rows {
            let Some(y) = self.place(0, row, ty, height) else {
                continue;
            };
            for column in 0..columns {
                if let Some(x) = self.place(1, column, tx, width) {
                    let to = &mut to[y * width + x];
                    *to = T::from_f64(to.to_f64() + element(row * columns + column).to_f64());
                }
            }
        }
    }
}

/// Adds up windows where they came from: `out[…, i * step + k, …] += x[…, i, …, k]`, where `i` is along `dim`
/// and `k` along the last dimension.
///
/// # Panics
/// If a window lies outside of `out`.
pub fn add_windows(out: &mut TensorMut<'_>, x: &TensorRef<'_>, dim: usize, step: usize) {
    let (to, from) = (out.layout().clone(), x.layout());
    let last = from.rank() - 1;
    with_element!(out.dtype(), T => {
        let (out, x) = (out.data::<T>(), x.data::<T>());
        to.positions().for_each(|p| out[p] = T::from_i64(0));
        for i in 0..from.shape[dim] {
            for k in 0..from.shape[last] {
                let window = from.select(last, k).select(dim, i);
                let place = to.select(dim, i * step + k);
                for (a, b) in place.positions().zip(window.positions()) {
                    out[a] = T::from_accumulator(out[a].widen().add(x[b].widen()));
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    #[test]
    fn the_sum_of_the_patches_of_an_image_counts_how_often_each_element_is_taken() {
        let form = Patches {
            size: [3, 2],
            stride: [2, 1],
            padding: [1, 1],
            dilation: [1, 2],
            count: [0; 2],
        };
        let image = [7, 6];
        let form = Patches {
            count: form.count(image).unwrap(),
            ..form
        };
        assert_eq!(form.count, [4, 6]);
        let (from, to) = (
            Layout::contiguous(&[2, 3, 7, 6]),
            Layout::contiguous(&[2, 18, 24]),
        );
        let values: Vec<f32> = (0..from.numel()).map(|i| i as f32).collect();
        let x = TensorRef::new(DType::F32, &from, bytemuck::cast_slice(&values)).unwrap();
        let (mut taken, mut summed) = (
            Storage::zeroed(4 * to.numel()),
            Storage::zeroed(4 * from.numel()),
        );
        form.take(
            &mut TensorMut::new(DType::F32, &to, taken.bytes_mut()).unwrap(),
            &x,
            &Threads::new(2),
        );
        let patches = TensorRef::new(DType::F32, &to, taken.bytes()).unwrap();
        let mut out = TensorMut::new(DType::F32, &from, summed.bytes_mut()).unwrap();
        form.sum(&mut out, &patches, None, &Threads::new(2));
        let found = out.as_ref().to_vec::<f32>();
        for (i, (x, y)) in values.iter().zip(found).enumerate() {
            let place = |d: usize, at: usize| {
                let all = (0..form.count[d]).flat_map(|p| (0..form.size[d]).map(move |t| (p, t)));
                all.filter(|(p, t)| p * form.stride[d] + t * form.dilation[d] == at + 1)
                    .count()
            };
            let times = place(0, i / 6 % 7) * place(1, i % 6);
            assert_eq!(y, x * times as f32);
        }
    }
}
