//! Batch normalization with statistics that are known: a factor and a term for each channel.
//!
//! `(x - mean) / √(variance + epsilon) · weight + bias` is `x · factor + term`. Factor and term are computed in
//! double precision for each run of elements of one channel, and rounded to the type that the elements are
//! computed in.

use crate::elements::Class;
use crate::elements::blocks::{Compute, load, store};
use crate::runtime::partition::for_each_part;
use crate::tensor::layout::for_each_run;
use crate::{Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements that are worth another thread.
const GRAIN: usize = 1 << 14;
/// Elements converted at a time.
const BLOCK: usize = 256;

/// What is known of each channel. All tensors have the shape of the input; a number for a channel is repeated
/// by strides of 0.
pub struct ChannelNorm<'a> {
    /// The means.
    pub mean: TensorRef<'a>,
    /// The variances.
    pub variance: TensorRef<'a>,
    /// Factors for what is normalized.
    pub weight: Option<TensorRef<'a>>,
    /// Terms that are added to it.
    pub bias: Option<TensorRef<'a>>,
    /// What is added to the variance.
    pub epsilon: f64,
}

impl ChannelNorm<'_> {
    /// Factor and term where the elements of the four tensors lie.
    fn coefficients(&self, [mean, variance, weight, bias]: [usize; 4]) -> (f64, f64) {
        let scale = 1.0 / (number(&self.variance, variance) + self.epsilon).sqrt();
        let factor = scale * self.weight.as_ref().map_or(1.0, |t| number(t, weight));
        let bias = self.bias.as_ref().map_or(0.0, |t| number(t, bias));
        (factor, bias - number(&self.mean, mean) * factor)
    }

    /// Normalizes `x` into `out`, which has its shape. Both are floats.
    ///
    /// # Panics
    /// If shapes differ.
    pub fn run(&self, out: &mut TensorMut<'_>, x: &TensorRef<'_>, threads: &Threads) {
        for_each_part(out, threads, GRAIN, &|part, out| {
            let layouts = [
                Some(x),
                Some(&self.mean),
                Some(&self.variance),
                self.weight.as_ref(),
                self.bias.as_ref(),
            ];
            let layouts = layouts.map(|t| part.of(t.unwrap_or(&self.mean).layout()));
            match Class::of(x.dtype()) {
                Class::F64 => {
                    self.part(out, x, &layouts, |x: f64, (factor, term)| x * factor + term)
                }
                _ => self.part(out, x, &layouts, |x: f32, (factor, term)| {
                    x * factor as f32 + term as f32
                }),
            }
        });
    }

    fn part<C: Compute>(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        layouts: &[Layout; 5],
        normalized: impl Fn(C, (f64, f64)) -> C,
    ) {
        let to = out.layout().clone();
        let [from, parameters @ ..] = layouts;
        let [mean, variance, weight, bias] = parameters;
        let (mut elements, mut results) = ([C::default(); BLOCK], [C::default(); BLOCK]);
        for_each_run(
            [&to, from, mean, variance, weight, bias],
            |starts, steps, len| {
                let [to, from, at @ ..] = starts;
                // Elements of one channel share what is computed of it.
                let is_one_channel = steps[2..].iter().all(|step| *step == 0);
                let block = if is_one_channel { BLOCK } else { 1 };
                for first in (0..len).step_by(block) {
                    let count = block.min(len - first);
                    let at = std::array::from_fn(|i| at[i] + first * steps[i + 2]);
                    let coefficients = self.coefficients(at);
                    let begin = (from + first * steps[1], steps[1]);
                    let elements = load(x, begin, x.dtype(), &mut elements[..count]);
                    for (result, x) in results.iter_mut().zip(elements) {
                        *result = normalized(*x, coefficients);
                    }
                    store(out, to + first * steps[0], steps[0], &results[..count]);
                }
            },
        );
    }
}

fn number(tensor: &TensorRef<'_>, at: usize) -> f64 {
    with_element!(tensor.dtype(), T => tensor.data::<T>()[at].to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    #[test]
    fn each_channel_is_normalized_by_its_own_numbers() {
        let shape = [3, 5, 70, 9];
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|i| (i as f32 * 0.61).sin())
            .collect();
        let numbers: Vec<f32> = (0..20).map(|i| 0.3 + i as f32 * 0.1).collect();
        // Channels second, and last.
        for (sizes, channel) in [([3, 5, 70, 9], 1), ([3, 70, 9, 5], 3)] {
            let layout = Layout::contiguous(&sizes);
            let of_channel = |which: usize| {
                let mut layout = Layout::contiguous(&[5]);
                for d in 0..4 {
                    if d != channel {
                        layout = layout.unsqueeze(d);
                    }
                }
                layout.expand(&sizes).map(|l| (l, which)).unwrap()
            };
            let layouts = [0, 1, 2, 3].map(of_channel);
            let tensor = |i: usize| {
                let (layout, which) = &layouts[i];
                let numbers = &numbers[which * 5..][..5];
                TensorRef::new(DType::F32, layout, bytemuck::cast_slice(numbers)).unwrap()
            };
            let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&values)).unwrap();
            let norm = ChannelNorm {
                mean: tensor(0),
                variance: tensor(1),
                weight: Some(tensor(2)),
                bias: Some(tensor(3)),
                epsilon: 1e-3,
            };
            let mut out = Storage::zeroed(4 * values.len());
            let mut to = TensorMut::new(DType::F32, &layout, out.bytes_mut()).unwrap();
            norm.run(&mut to, &x, &Threads::new(2));
            let found = to.as_ref().to_vec::<f32>();
            let inner: usize = sizes[channel + 1..].iter().product();
            for (i, (x, y)) in values.iter().zip(found).enumerate() {
                let c = i / inner % 5;
                let n = |which: usize| f64::from(numbers[which * 5 + c]);
                let expected = (f64::from(*x) - n(0)) / (n(1) + 1e-3).sqrt() * n(2) + n(3);
                assert!((f64::from(y) - expected).abs() < 1e-5, "{y} {expected}");
            }
        }
    }
}
