//! Convolution along one or two dimensions.
//!
//! The fast way is a matrix product: the weight, `[out, in / groups * taps]`, times the matrix
//! whose column `t` is the window of output `t`. That matrix is never in memory: the product packs
//! slices of its right side anyway (`matmul::packing`), and here it packs them from the input. The
//! oracle is the definition.

use smallvec::smallvec;

use crate::matmul::gemm::Gemm;
use crate::matmul::packing::{Pack, Packing};
use crate::matmul::quantized::gemm::{QuantizedGemm, QuantizedRight};
use crate::matmul::result::ResultLayout;
use crate::simd::functions::Function;
use crate::tensor::arithmetic::Accumulate;
use crate::tensor::matrix::Matrices;
use crate::{DType, Dims, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// A convolution over two dimensions; over one, the first has length 1 everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Steps between outputs.
    pub stride: [usize; 2],
    /// Zeros in front; behind, as many as the outputs need are assumed.
    pub padding: [usize; 2],
    /// Steps between the inputs of one output.
    pub dilation: [usize; 2],
    /// Groups of channels, each convolved for itself.
    pub groups: usize,
    /// The function of each element of an `f32` result.
    pub epilogue: Option<Function>,
    /// Whether products may be computed in bf16, where the machine does that faster.
    pub allow_bf16: bool,
}

impl Convolution {
    /// `out[b, o, s, t]` from `x[b, i, y, x]`, `weight[o, i / groups, k, l]` and `bias[o]`. All
    /// have one element type.
    pub fn run(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        weight: &TensorRef<'_>,
        bias: Option<&TensorRef<'_>>,
        plain: bool,
        threads: &Threads,
    ) {
        // Weights that are not contiguous are rare, and may be slow.
        let weight_rows = weight.layout().reshape(&[
            self.groups,
            weight.shape()[0] / self.groups,
            weight.shape()[1..].iter().product(),
        ]);
        let has_depth = weight.shape()[1..].iter().all(|n| *n > 0);
        match weight_rows {
            Some(rows) if out.dtype() == DType::F32 && !plain && has_depth => {
                self.by_matrix(out, x, weight, &rows, bias, threads);
            }
            _ => {
                with_element!(out.dtype(), T => self.loops::<T>(out, x, weight, bias));
                if let (Some(function), DType::F32) = (self.epilogue, out.dtype()) {
                    function.map_tensor(out);
                }
            }
        }
    }

    /// The position that an output reads at a tap, if it lies inside.
    #[inline(always)]
    fn source(&self, dim: usize, output: usize, tap: usize, len: usize) -> Option<usize> {
        let at = output * self.stride[dim] + tap * self.dilation[dim];
        at.checked_sub(self.padding[dim]).filter(|at| *at < len)
    }

    fn by_matrix(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        weight: &TensorRef<'_>,
        weight_rows: &Layout,
        bias: Option<&TensorRef<'_>>,
        threads: &Threads,
    ) {
        let layout = out.layout().clone();
        let (batch, outputs) = (layout.shape[0], layout.shape[1]);
        let per_group = outputs / self.groups;
        // [batch, group, rows, columns], with the two dimensions of the output as one.
        let positions: usize = layout.shape[2..].iter().product();
        let Some(to) = layout.reshape(&[batch, self.groups, per_group, positions]) else {
            let own = |t: &TensorRef<'_>| t.layout().clone();
            debug_assert!(false, "{:?}", own(x));
            return with_element!(out.dtype(), T => self.loops::<T>(out, x, weight, bias));
        };
        let left = Layout {
            shape: smallvec![batch, self.groups, per_group, weight_rows.shape[2]],
            strides: Dims::from_iter([0].into_iter().chain(weight_rows.strides.iter().copied())),
            offset: weight_rows.offset,
        };
        let bias = bias.map(|t| {
            let step = t.layout().strides[0];
            let layout = Layout {
                shape: to.shape.clone(),
                strides: smallvec![0, per_group * step, step, 0],
                offset: t.layout().offset,
            };
            (t.data::<f32>(), layout)
        });
        let windows = Windows {
            convolution: *self,
            data: x.data(),
            layout: x.layout(),
            channels: weight.shape()[1],
            taps: [weight.shape()[2], weight.shape()[3]],
            width: layout.shape[3],
        };
        let left = Matrices {
            data: weight.data(),
            layout: &left,
        };
        let bias = bias.as_ref();
        let bias = bias.map(|(data, layout)| Matrices { data, layout });
        let right = QuantizedRight::Activations(&windows);
        if self.allow_bf16 && right.is_fast() {
            let product = QuantizedGemm {
                left,
                right,
                bias,
                epilogue: self.epilogue,
            };
            product.run(out.data(), ResultLayout::new(&to, 2), threads);
            return;
        }
        let product = Gemm {
            left,
            right: &windows,
            bias,
            alpha: 1.0,
            beta: 1.0,
            epilogue: self.epilogue,
        };
        product.run_best(out.data(), ResultLayout::new(&to, 2), threads);
    }

    fn loops<T: Element>(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        weight: &TensorRef<'_>,
        bias: Option<&TensorRef<'_>>,
    ) where
        T::Accumulator: Accumulate,
    {
        let (lx, lw, lo) = (x.layout(), weight.layout(), out.layout().clone());
        let per_group = lw.shape[0] / self.groups;
        let (x, w) = (x.data::<T>(), weight.data::<T>());
        let bias = bias.map(|t| (t.data::<T>(), t.layout()));
        let out = out.data::<T>();
        let at = |l: &Layout, index: [usize; 4]| {
            l.offset
                + index
                    .iter()
                    .zip(&l.strides)
                    .map(|(i, s)| i * s)
                    .sum::<usize>()
        };
        let [batches, outputs, height, width] = [0, 1, 2, 3].map(|d| lo.shape[d]);
        for b in 0..batches {
            for o in 0..outputs {
                let first = o / per_group.max(1) * lw.shape[1];
                for s in 0..height {
                    for t in 0..width {
                        let mut sum = T::Accumulator::from_f64(0.0);
                        for c in 0..lw.shape[1] {
                            for k in 0..lw.shape[2] {
                                let Some(y) = self.source(0, s, k, lx.shape[2]) else {
                                    continue;
                                };
                                for l in 0..lw.shape[3] {
                                    let Some(z) = self.source(1, t, l, lx.shape[3]) else {
                                        continue;
                                    };
                                    let seen = x[at(lx, [b, first + c, y, z])].widen();
                                    sum = sum.add(seen.mul(w[at(lw, [o, c, k, l])].widen()));
                                }
                            }
                        }
                        if let Some((bias, l)) = bias {
                            sum = sum.add(bias[l.offset + o * l.strides[0]].widen());
                        }
                        out[at(&lo, [b, o, s, t])] = T::from_accumulator(sum);
                    }
                }
            }
        }
    }
}

/// The windows of the outputs: a matrix with a row for each channel and tap and a column for each
/// output position. Batches of the product are pairs of batch and group.
struct Windows<'a> {
    convolution: Convolution,
    data: &'a [f32],
    layout: &'a Layout,
    /// Channels of a group.
    channels: usize,
    taps: [usize; 2],
    /// Outputs in a row.
    width: usize,
}

impl Pack for Windows<'_> {
    fn pack(&self, piece: &Packing, to: &mut [f32]) {
        let groups = self.convolution.groups;
        let first_channel = piece.batch % groups * self.channels;
        let start = self.layout.offset + piece.batch / groups * self.layout.strides[0];
        for (first, filled, strip) in piece.strips(to) {
            let lines = strip.chunks_exact_mut(piece.width);
            for (row, line) in piece.depth.clone().zip(lines) {
                let [height, width] = self.taps;
                let channel = row / (height * width);
                let taps = [row / width % height, row % width];
                let start = start + (first_channel + channel) * self.layout.strides[1];
                self.line(start, taps, first, &mut line[..filled]);
                line[filled..].fill(0.0);
            }
        }
    }
}

impl Windows<'_> {
    /// The inputs at one tap of the outputs from `first` on, of the channel that begins at `start`.
    fn line(&self, start: usize, taps: [usize; 2], first: usize, line: &mut [f32]) {
        let (stride, lens) = (&self.layout.strides, &self.layout.shape);
        let mut done = 0;
        while done < line.len() {
            // As far as the outputs lie in one row.
            let (row, column) = ((first + done) / self.width, (first + done) % self.width);
            let run = (self.width - column).min(line.len() - done);
            let part = &mut line[done..][..run];
            done += run;
            let Some(y) = self.convolution.source(0, row, taps[0], lens[2]) else {
                part.fill(0.0);
                continue;
            };
            let start = start + y * stride[2];
            let see = |t: usize| self.convolution.source(1, column + t, taps[1], lens[3]);
            match (see(0), see(run - 1)) {
                // Neighbouring outputs read neighbouring inputs, the first and the last of which
                // exist.
                (Some(from), Some(_)) if self.convolution.stride[1] == 1 && stride[3] == 1 => {
                    part.copy_from_slice(&self.data[start + from..][..run]);
                }
                (Some(from), Some(_)) => {
                    let step = self.convolution.stride[1] * stride[3];
                    let from = start + from * stride[3];
                    for (t, x) in part.iter_mut().enumerate() {
                        *x = self.data[from + t * step];
                    }
                }
                _ => {
                    for (t, x) in part.iter_mut().enumerate() {
                        *x = see(t).map_or(0.0, |from| self.data[start + from * stride[3]]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn numbers(count: usize, seed: usize) -> Storage {
        let mut storage = Storage::zeroed(4 * count);
        let data: &mut [f32] = bytemuck::cast_slice_mut(storage.bytes_mut());
        data.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = ((i * 31 + seed) % 13) as f32 - 6.0);
        storage
    }

    #[test]
    fn the_product_agrees_with_the_definition() {
        // Batch, channels, height, width; outputs, taps; stride, padding, dilation; groups.
        for (x, o, taps, stride, padding, dilation, groups) in [
            ([1, 80, 1, 60], 8, [1, 3], [1, 1], [0, 1], [1, 1], 1),
            ([2, 6, 1, 41], 9, [1, 3], [1, 2], [0, 1], [1, 1], 3),
            ([2, 4, 9, 11], 6, [3, 2], [2, 1], [1, 0], [1, 2], 2),
            ([1, 3, 5, 5], 3, [5, 5], [1, 3], [4, 4], [1, 1], 3),
            ([1, 2, 1, 300], 20, [1, 5], [1, 1], [0, 9], [1, 4], 1),
        ] {
            let weight = [o, x[1] / groups, taps[0], taps[1]];
            let [height, width] = [0, 1].map(|d| {
                (x[2 + d] + 2 * padding[d] - dilation[d] * (taps[d] - 1) - 1) / stride[d] + 1
            });
            let convolution = Convolution {
                stride,
                padding,
                dilation,
                groups,
                epilogue: None,
                allow_bf16: false,
            };
            let (lw, lo) = (
                Layout::contiguous(&weight),
                Layout::contiguous(&[x[0], o, height, width]),
            );
            let (input, w, b) = (
                numbers(x.iter().product(), 1),
                numbers(lw.numel(), 2),
                numbers(o, 3),
            );
            let lb = Layout::contiguous(&[o]);
            let w = TensorRef::new(DType::F32, &lw, w.bytes()).unwrap();
            let b = TensorRef::new(DType::F32, &lb, b.bytes()).unwrap();
            for channels_last in [false, true] {
                let lx = match channels_last {
                    true => Layout::contiguous(&[x[0], x[2], x[3], x[1]]).permute(&[0, 3, 1, 2]),
                    false => Layout::contiguous(&x),
                };
                let input = TensorRef::new(DType::F32, &lx, input.bytes()).unwrap();
                let run = |convolution: Convolution, plain| {
                    let mut out = Storage::zeroed(4 * lo.numel());
                    let mut out = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                    convolution.run(&mut out, &input, &w, Some(&b), plain, &Threads::new(2));
                    out.as_ref().to_vec::<f32>()
                };
                // Whole numbers: sums are exact in any order, and in bf16.
                let mut expected = run(convolution, true);
                let in_bf16 = Convolution {
                    allow_bf16: true,
                    ..convolution
                };
                assert_eq!(run(convolution, false), expected);
                assert_eq!(run(in_bf16, false), expected);
                let epilogue = Some(Function::Tanh);
                Function::Tanh.map(&mut expected);
                for (way, plain) in [(convolution, true), (convolution, false), (in_bf16, false)] {
                    assert_eq!(run(Convolution { epilogue, ..way }, plain), expected);
                }
            }
        }
    }
}
