//! Images sampled at the places that a grid says.
//!
//! A place is a number for each dimension, where -1 and 1 are the ends of the image. As in
//! resampling, an output is a sum of elements, weighted by a product of a weight for each
//! dimension; each dimension says for itself which elements a place takes. What lies beyond the
//! ends is zero, the last element, or the image seen in a mirror.
//!
//! Formulas are PyTorch's (`aten/src/ATen/native/GridSampler.h`), with places and weights rounded
//! to the type of the elements wherever PyTorch does it, because a place between two elements is
//! rounded to one of them.

use super::{TAPS, cubic};
use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::batch_offset;
use crate::{Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements that a task computes, about.
const GRAIN: usize = 1 << 12;

/// Which elements a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Its neighbours on both sides, linearly.
    Linear,
    /// The nearest one.
    Nearest,
    /// Four neighbours, by cubic convolution with the factor -0.75.
    Cubic,
}

/// What lies beyond the ends of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Zeros.
    Zeros,
    /// The element at the end.
    End,
    /// The image in a mirror at the end.
    Mirror,
}

/// How an image is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridSampling {
    /// Which elements a place takes.
    pub sample: Sample,
    /// What lies beyond the ends.
    pub beyond: Beyond,
    /// Whether -1 and 1 are the middles of the first and the last element, and not their outer
    /// ends.
    pub align_corners: bool,
}

/// Elements of a dimension that a place takes, if they exist, and their weights.
#[derive(Clone, Copy)]
struct Taps {
    len: usize,
    at: [Option<usize>; TAPS],
    weights: [f64; TAPS],
}

/// One dimension of the image.
struct Axis {
    sampling: GridSampling,
    size: usize,
    /// Rounds to the type of the elements.
    round: fn(f64) -> f64,
}

impl Axis {
    fn round(&self, x: f64) -> f64 {
        (self.round)(x)
    }

    /// The place in elements.
    fn source(&self, place: f64) -> f64 {
        let size = self.size as f64;
        let shifted = self.round(place + 1.0);
        match self.sampling.align_corners {
            true => self.round(self.round(shifted / 2.0) * (size - 1.0)),
            false => self.round(self.round(self.round(shifted * size) - 1.0) / 2.0),
        }
    }

    /// A place brought back between the ends, if there is anything beyond them.
    fn within(&self, x: f64) -> f64 {
        let last = self.size as f64 - 1.0;
        // What is no number ends at the last element, as it does in PyTorch.
        let clipped = |x: f64| if x.is_nan() { last } else { x.clamp(0.0, last) };
        match (self.sampling.beyond, self.sampling.align_corners) {
            (Beyond::Zeros, _) => x,
            (Beyond::End, _) => clipped(x),
            (Beyond::Mirror, true) => clipped(self.reflected(x, 0.0, last)),
            (Beyond::Mirror, false) => clipped(self.reflected(x, -0.5, last + 1.0)),
        }
    }

    /// A place reflected at `low` and at `low + span`, as often as it takes.
    fn reflected(&self, x: f64, low: f64, span: f64) -> f64 {
        if span == 0.0 {
            return 0.0;
        }
        let x = self.round(x - low).abs();
        let rest = self.round(x % span);
        match self.round(x / span).floor() % 2.0 == 0.0 {
            true => self.round(rest + low),
            false => self.round(self.round(span - rest) + low),
        }
    }

    /// An element that exists.
    fn element(&self, x: f64) -> Option<usize> {
        (x >= 0.0 && x < self.size as f64).then_some(x as usize)
    }

    /// The elements that a place takes.
    fn taps(&self, place: f64) -> Taps {
        let mut taps = Taps {
            len: 1,
            at: [None; TAPS],
            weights: [1.0; TAPS],
        };
        let source = self.source(place);
        match self.sampling.sample {
            Sample::Nearest => taps.at[0] = self.element(self.within(source).round_ties_even()),
            Sample::Linear => {
                let source = self.within(source);
                let first = source.floor();
                taps.len = 2;
                taps.at = [self.element(first), self.element(first + 1.0), None, None];
                let (before, behind) = (source - first, first + 1.0 - source);
                taps.weights = [self.round(behind), self.round(before), 0.0, 0.0];
            }
            Sample::Cubic => {
                let first = source.floor();
                taps.len = 4;
                for (i, at) in taps.at.iter_mut().enumerate() {
                    // A reflected place lies between elements only by rounding.
                    *at = self.element(self.within(first - 1.0 + i as f64).trunc());
                }
                taps.weights = cubic(self.round(source - first));
            }
        }
        taps
    }
}

/// Samples `x`, `[n, c, d, h, w]`, into `out`, contiguous `[n, c, d', h', w']`, at the places of
/// `grid`, `[n, d', h', w', k]`: along the last dimension of `x` first, and along as many as there
/// are numbers.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn sample_grid(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    grid: &TensorRef<'_>,
    sampling: GridSampling,
    threads: &Threads,
) {
    let (to, places) = (out.layout().clone(), grid.layout());
    let &[n, channels, depth, height, width] = &to.shape[..] else {
        unreachable!("an output of {} dimensions", to.rank());
    };
    let dims = places.shape[4];
    assert!((2..=3).contains(&dims) && places.shape[..4] == [n, depth, height, width]);
    assert!(to.is_contiguous() && x.dtype() == out.dtype() && x.dtype() == grid.dtype());
    assert!(x.shape()[..2] == [n, channels]);
    let round: fn(f64) -> f64 = with_element!(x.dtype(), T => |x| T::from_f64(x).to_f64());
    let axis = |d: usize| Axis {
        sampling,
        size: x.shape()[2 + d],
        round,
    };
    let axes = [axis(0), axis(1), axis(2)];
    let (rows, plane) = (n * depth * height, depth * height * width);
    let of_task = (GRAIN / (width * channels).max(1)).max(1);
    with_element!(x.dtype(), T => {
        let (data, grid) = (x.data::<T>(), grid.data::<T>());
        let results = SharedOutput::new(out.data::<T>());
        threads.run(rows.div_ceil(of_task), &|task| {
            for row in task * of_task..rows.min((task + 1) * of_task) {
                let (batch, in_plane) = (row / (depth * height), row % (depth * height));
                for i in 0..width {
                    let at = batch_offset(places, 4, row * width + i);
                    let mut taps = [Taps { len: 1, at: [Some(0); TAPS], weights: [1.0; TAPS] }; 3];
                    for (k, axis) in axes.iter().rev().take(dims).enumerate() {
                        taps[2 - k] = axis.taps(grid[at + k * places.strides[4]].to_f64());
                    }
                    for channel in 0..channels {
                        let image = batch * channels + channel;
                        let to = to.offset + image * plane + in_plane * width + i;
                        let from = batch_offset(x.layout(), 2, image);
                        // SAFETY: each position is written by the task of its row, once.
                        let to = unsafe { results.slice(to, 1) };
                        to[0] = T::from_f64(weighted(data, from, x.layout(), &taps));
                    }
                }
            }
        });
    });
}

/// The sum of the elements that exist, where the image begins at `from`.
fn weighted<T: Element>(data: &[T], from: usize, layout: &Layout, taps: &[Taps; 3]) -> f64 {
    let mut sum = 0.0;
    for a in 0..taps[0].len {
        for b in 0..taps[1].len {
            for c in 0..taps[2].len {
                let [Some(i), Some(j), Some(k)] = [taps[0].at[a], taps[1].at[b], taps[2].at[c]]
                else {
                    continue;
                };
                let weight = taps[0].weights[a] * taps[1].weights[b] * taps[2].weights[c];
                let at = i * layout.strides[2] + j * layout.strides[3] + k * layout.strides[4];
                sum += weight * data[from + at].to_f64();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    /// A row sampled at these places.
    fn sampled(row: &[f32], places: &[f32], sampling: GridSampling) -> Vec<f32> {
        let grid: Vec<f32> = places.iter().flat_map(|x| [*x, 0.0]).collect();
        let from = Layout::contiguous(&[1, 1, 1, 1, row.len()]);
        let at = Layout::contiguous(&[1, 1, 1, places.len(), 2]);
        let to = Layout::contiguous(&[1, 1, 1, 1, places.len()]);
        let x = TensorRef::new(DType::F32, &from, bytemuck::cast_slice(row)).unwrap();
        let grid = TensorRef::new(DType::F32, &at, bytemuck::cast_slice(&grid)).unwrap();
        let mut out = Storage::zeroed(4 * places.len());
        let mut target = TensorMut::new(DType::F32, &to, out.bytes_mut()).unwrap();
        sample_grid(&mut target, &x, &grid, sampling, &Threads::new(2));
        target.as_ref().to_vec()
    }

    #[test]
    fn places_beyond_the_ends_are_zero_the_end_or_the_mirror_image() {
        let row = [1.0, 2.0, 4.0];
        let at = |beyond| GridSampling {
            sample: Sample::Linear,
            beyond,
            align_corners: true,
        };
        let places = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0];
        assert_eq!(
            sampled(&row, &places, at(Beyond::Zeros)),
            [1.0, 2.0, 3.0, 4.0, 2.0, 0.0, 0.0]
        );
        assert_eq!(
            sampled(&row, &places, at(Beyond::End)),
            [1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0]
        );
        assert_eq!(
            sampled(&row, &places, at(Beyond::Mirror)),
            [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0]
        );
    }

    #[test]
    fn places_that_are_no_numbers_stay_within_the_image() {
        for sample in [Sample::Linear, Sample::Nearest, Sample::Cubic] {
            for beyond in [Beyond::Zeros, Beyond::End, Beyond::Mirror] {
                for align_corners in [false, true] {
                    let sampling = GridSampling {
                        sample,
                        beyond,
                        align_corners,
                    };
                    let places = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30];
                    assert_eq!(sampled(&[1.0, 2.0], &places, sampling).len(), 5);
                }
            }
        }
    }
}
