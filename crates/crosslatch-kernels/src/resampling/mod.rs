//! Resampling: images in another size, by the nearest element, linearly, or by cubic polynomials.
//!
//! An output element is a sum of input elements, weighted by a product of a weight for each dimension. So
//! each dimension says for itself which elements an output takes and with which weights ([`Axis`]), and there
//! is one loop for all. Dimensions that are not resampled keep their elements.
//!
//! Formulas are PyTorch's, down to the precision in which positions are computed: a nearest element would be
//! another one otherwise (`aten/src/ATen/native/UpSample.h`). [`sample_grid`] takes elements at places that a
//! tensor says.

mod grid;

pub use grid::{Beyond, GridSampling, Sample, sample_grid};

use crate::elements::Class;
use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::batch_offset;
use crate::{Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements that a task computes, about.
const GRAIN: usize = 1 << 13;

/// Most elements of a dimension that an output takes.
const TAPS: usize = 4;

/// How elements between those of the input are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The element at the start of the interval in which the output lies.
    Nearest,
    /// The element in whose middle interval the output lies.
    NearestExact,
    /// Linear, between the middles of elements, or between the first and the last one.
    Linear {
        /// Whether the first and last elements of input and output lie at the same places.
        align_corners: bool,
    },
    /// Cubic convolution with the factor -0.75, likewise.
    Cubic {
        /// As for linear interpolation.
        align_corners: bool,
    },
}

/// One dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Elements of the input.
    pub size: usize,
    /// Elements of the output.
    pub count: usize,
    /// Elements of the output for one of the input, where the program says so instead of the two sizes.
    pub scale: Option<f64>,
    /// How elements are found.
    pub interpolation: Interpolation,
}

/// Elements of a dimension, and their weights.
#[derive(Clone, Copy)]
struct Taps {
    len: usize,
    at: [usize; TAPS],
    weights: [f64; TAPS],
}

impl Axis {
    /// A dimension that stays as it is.
    pub fn kept(size: usize) -> Axis {
        Axis {
            size,
            count: size,
            scale: None,
            interpolation: Interpolation::Nearest,
        }
    }

    /// Elements of the input for one of the output, in double precision or rounded to single precision.
    fn step(&self, align_corners: bool, single: bool) -> f64 {
        let round = |x: f64| if single { f64::from(x as f32) } else { x };
        match self.scale {
            _ if align_corners && self.count > 1 => {
                let [size, count] = [self.size - 1, self.count - 1].map(|n| round(n as f64));
                round(size / count)
            }
            _ if align_corners => 0.0,
            Some(scale) if scale > 0.0 => round(1.0 / scale),
            _ => round(round(self.size as f64) / self.count as f64),
        }
    }

    /// Where element `i` of the output lies in the input.
    fn source(&self, i: usize, align_corners: bool, single: bool) -> f64 {
        let step = self.step(align_corners, single);
        let round = |x: f64| if single { f64::from(x as f32) } else { x };
        match align_corners {
            true => round(step * i as f64),
            false => round(round(step * (i as f64 + 0.5)) - 0.5),
        }
    }

    /// The elements that element `i` of the output takes.
    fn taps(&self, i: usize, single: bool) -> Taps {
        let last = self.size - 1;
        let one = |at: f64| Taps {
            len: 1,
            at: [(at.max(0.0) as usize).min(last); TAPS],
            weights: [1.0; TAPS],
        };
        let round = |x: f64| if single { f64::from(x as f32) } else { x };
        match self.interpolation {
            Interpolation::Nearest => one(round(i as f64 * self.step(false, single)).floor()),
            Interpolation::NearestExact => {
                one(round((i as f64 + 0.5) * self.step(false, single)).floor())
            }
            Interpolation::Linear { .. } if self.size == self.count && self.scale.is_none() => {
                one(i as f64)
            }
            Interpolation::Linear { align_corners } => {
                let source = self.source(i, align_corners, single).max(0.0);
                let first = (source as usize).min(last);
                let rest = round(source - first as f64).clamp(0.0, 1.0);
                let second = (first + 1).min(last);
                Taps {
                    len: 2,
                    at: [first, second, 0, 0],
                    weights: [1.0 - rest, rest, 0.0, 0.0],
                }
            }
            Interpolation::Cubic { align_corners } => {
                let source = self.source(i, align_corners, single);
                let first = source.floor();
                let at = |d: f64| (first + d).clamp(0.0, last as f64) as usize;
                Taps {
                    len: 4,
                    at: [at(-1.0), at(0.0), at(1.0), at(2.0)],
                    weights: cubic(source - first),
                }
            }
        }
    }
}

/// Weights of four neighbours of a place so far behind the second of them.
fn cubic(t: f64) -> [f64; TAPS] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Resamples `x`, `[n, c, d, h, w]`, into `out`, contiguous `[n, c, d', h', w']`, of the same type.
///
/// # Panics
/// If shapes and types do not fit together, or the input has no elements and the output has.
pub fn resample(out: &mut TensorMut<'_>, x: &TensorRef<'_>, axes: &[Axis; 3], threads: &Threads) {
    let layout = x.layout();
    let to = out.layout();
    let planes = layout.shape[0] * layout.shape[1];
    let [depth, height, width] = axes.map(|axis| axis.count);
    let each = depth * height * width;
    assert!(to.is_contiguous() && to.numel() == planes * each && x.dtype() == out.dtype());
    assert!((0..3).all(|d| axes[d].size == layout.shape[d + 2]));
    if to.numel() == 0 {
        return;
    }
    let single = Class::of(x.dtype()) != Class::F64;
    let rows = planes * depth * height;
    let of_task = (GRAIN / width).max(1);
    let start = to.offset;
    with_element!(x.dtype(), T => {
        let (data, results) = (x.data::<T>(), SharedOutput::new(out.data::<T>()));
        threads.run(rows.div_ceil(of_task), &|task| {
            for row in task * of_task..rows.min((task + 1) * of_task) {
                // SAFETY: a row is computed by one task, and `out` is contiguous.
                let to = unsafe { results.slice(start + row * width, width) };
                let (plane, row) = (row / (depth * height), row % (depth * height));
                let outer = [axes[0].taps(row / height, single), axes[1].taps(row % height, single)];
                let first = batch_offset(layout, 2, plane);
                for (i, to) in to.iter_mut().enumerate() {
                    *to = element(&data[first..], layout, &outer, &axes[2].taps(i, single));
                }
            }
        });
    });
}

/// One element of the output.
#[inline(always)]
fn element<T: Element>(
    plane: &[T],
    layout: &Layout,
    [depth, height]: &[Taps; 2],
    width: &Taps,
) -> T {
    let [sd, sh, sw] = [2, 3, 4].map(|d| layout.strides[d]);
    if depth.len * height.len * width.len == 1 {
        return plane[depth.at[0] * sd + height.at[0] * sh + width.at[0] * sw];
    }
    let mut sum = 0.0;
    for a in 0..depth.len {
        for b in 0..height.len {
            let row = depth.at[a] * sd + height.at[b] * sh;
            let weight = depth.weights[a] * height.weights[b];
            for c in 0..width.len {
                sum += weight * width.weights[c] * plane[row + width.at[c] * sw].to_f64();
            }
        }
    }
    match T::DTYPE.is_float() {
        true => T::from_f64(sum),
        false => T::from_f64(sum.round_ties_even()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn resampled(values: &[f32], axis: Axis) -> Vec<f32> {
        let from = Layout::contiguous(&[1, 1, 1, 1, values.len()]);
        let to = Layout::contiguous(&[1, 1, 1, 1, axis.count]);
        let x = TensorRef::new(DType::F32, &from, bytemuck::cast_slice(values)).unwrap();
        let mut out = Storage::zeroed(4 * axis.count);
        let mut target = TensorMut::new(DType::F32, &to, out.bytes_mut()).unwrap();
        resample(
            &mut target,
            &x,
            &[Axis::kept(1), Axis::kept(1), axis],
            &Threads::new(2),
        );
        target.as_ref().to_vec()
    }

    fn axis(size: usize, count: usize, interpolation: Interpolation) -> Axis {
        Axis {
            size,
            count,
            scale: None,
            interpolation,
        }
    }

    #[test]
    fn rows_become_what_the_interpolation_says() {
        let x = [1.0, 2.0, 4.0];
        let nearest = axis(3, 5, Interpolation::Nearest);
        assert_eq!(resampled(&x, nearest), [1.0, 1.0, 2.0, 2.0, 4.0]);
        let linear = axis(
            3,
            5,
            Interpolation::Linear {
                align_corners: true,
            },
        );
        assert_eq!(resampled(&x, linear), [1.0, 1.5, 2.0, 3.0, 4.0]);
        let linear = axis(
            3,
            6,
            Interpolation::Linear {
                align_corners: false,
            },
        );
        assert_eq!(resampled(&x, linear), [1.0, 1.25, 1.75, 2.5, 3.5, 4.0]);
        let exact = axis(3, 2, Interpolation::NearestExact);
        assert_eq!(resampled(&x, exact), [1.0, 4.0]);
        // A polynomial of the first degree stays one, away from the ends.
        let line: Vec<f32> = (0..9).map(|i| i as f32).collect();
        let cubic = resampled(
            &line,
            axis(
                9,
                17,
                Interpolation::Cubic {
                    align_corners: true,
                },
            ),
        );
        for (i, y) in cubic.iter().enumerate().take(14).skip(3) {
            assert!((y - i as f32 / 2.0).abs() < 1e-6, "{cubic:?}");
        }
    }
}
