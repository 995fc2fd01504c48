//! Layer norm, group norm and root-mean-square norm: a row is reduced, then rewritten.
//!
//! A row is the last dimensions of the input, viewed suitably. Scale and bias are broadcast to the
//! input by strides, so that a channel's scale in a group norm and a position's in a layer norm are
//! the same thing. The mean is taken first and then the mean square of the distances from it, which
//! loses no digits to cancellation.

use crate::rows::blocks::{BLOCK, RowFloat, Rows, with_row_float};
use crate::runtime::shared_output::SharedOutput;
use crate::{Element, TensorMut, TensorRef, Threads, with_element};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 8 * 1024;

/// The parameters of a norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Scale of each element, broadcast to the shape of the input.
    pub weight: Option<TensorRef<'a>>,
    /// What is added to each element, broadcast to the shape of the input.
    pub bias: Option<TensorRef<'a>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
    /// Whether the mean is subtracted first: layer norm, not root-mean-square norm.
    pub centred: bool,
    /// Whether to compute in double precision.
    pub plain: bool,
}

/// Normalises each row of the last `dims` dimensions. `out` has the type and the shape of `x`,
/// floats. The tensors of `statistics`, as far as they are given, get the mean and the reciprocal
/// deviation of each row, in row-major order.
pub fn norm(
    out: &mut TensorMut<'_>,
    statistics: [Option<&mut TensorMut<'_>>; 2],
    x: &TensorRef<'_>,
    norm: &Norm<'_>,
    dims: usize,
    threads: &Threads,
) {
    let [mean, deviation] = statistics;
    // There may be more rows of no elements than a loop can visit.
    if out.layout().numel() == 0 && mean.is_none() && deviation.is_none() {
        return;
    }
    let mean = mean.map(Statistic::new);
    let deviation = deviation.map(Statistic::new);
    let statistics = [mean.as_ref(), deviation.as_ref()];
    with_row_float!(out.dtype(), norm.plain, T, R => {
        all_rows::<T, R>(out, statistics, x, norm, dims, threads);
    });
}

/// One number for each row.
struct Statistic<'a> {
    dtype: crate::DType,
    layout: &'a crate::Layout,
    memory: SharedOutput<'a, u8>,
}

impl<'a> Statistic<'a> {
    fn new(tensor: &'a mut TensorMut<'_>) -> Statistic<'a> {
        let (dtype, layout) = (tensor.dtype(), tensor.layout());
        let memory = with_element!(dtype, T => bytemuck::cast_slice_mut(tensor.data::<T>()));
        Statistic {
            dtype,
            layout,
            memory: SharedOutput::new(memory),
        }
    }

    /// # Safety
    /// No other thread sets the same row.
    unsafe fn set(&self, row: usize, value: f64) {
        with_element!(self.dtype, T => {
            let at = self.layout.position(row) * size_of::<T>();
            // SAFETY: the bytes of this row's element.
            let bytes = unsafe { self.memory.slice(at, size_of::<T>()) };
            bytes.copy_from_slice(bytemuck::bytes_of(&T::from_f64(value)));
        });
    }
}

fn all_rows<T: Element, R: RowFloat>(
    out: &mut TensorMut<'_>,
    statistics: [Option<&Statistic<'_>>; 2],
    x: &TensorRef<'_>,
    norm: &Norm<'_>,
    dims: usize,
    threads: &Threads,
) {
    let (to, from) = (Rows::new(out.layout(), dims), Rows::new(x.layout(), dims));
    let (count, len) = (to.count(), to.len());
    let data = x.data::<T>();
    let target = SharedOutput::new(out.data::<T>());
    let parameters =
        [&norm.weight, &norm.bias].map(|t| t.as_ref().map(|t| (t, Rows::new(t.layout(), dims))));
    let one_row = |row: usize| {
        let start = from.start(row);
        let read = |first: usize, block: &mut [R]| from.read::<T, R>(data, start, first, block);
        let mut buffer = [R::of(0.0); BLOCK];
        let mut total = |of: &dyn Fn(&[R]) -> R| -> f64 {
            let mut total = 0.0;
            for first in (0..len).step_by(BLOCK) {
                let block = &mut buffer[..BLOCK.min(len - first)];
                read(first, block);
                total += of(block).to();
            }
            total / len as f64
        };
        let mean = if norm.centred {
            R::of(total(&|x| R::sum(x)))
        } else {
            R::of(0.0)
        };
        let square = total(&|x| R::square_sum(x, mean));
        let factor = 1.0 / (square + norm.epsilon).sqrt();
        for (statistic, value) in statistics.iter().zip([mean.to(), factor]) {
            if let Some(statistic) = statistic {
                // SAFETY: each row is done by one task.
                unsafe { statistic.set(row, value) };
            }
        }
        for first in (0..len).step_by(BLOCK) {
            let block = &mut buffer[..BLOCK.min(len - first)];
            read(first, block);
            let [mut weight, mut bias] = [1.0, 0.0].map(|value| [R::of(value); BLOCK]);
            for (buffer, parameter) in [&mut weight, &mut bias].into_iter().zip(&parameters) {
                if let Some((tensor, rows)) = parameter {
                    let start = rows.start(row);
                    with_element!(tensor.dtype(), P => {
                        rows.read::<P, R>(tensor.data(), start, first, &mut buffer[..block.len()]);
                    });
                }
            }
            R::normalize(block, mean, R::of(factor), &weight, &bias);
            // SAFETY: each row is done by one task.
            unsafe { to.write::<T, R>(&target, to.start(row), first, block) };
        }
    };
    let tasks = (count * len / GRAIN)
        .clamp(1, 4 * threads.count())
        .min(count.max(1));
    threads.run(tasks, &|i| {
        (count * i / tasks..count * (i + 1) / tasks).for_each(one_row)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    #[test]
    fn rows_of_nothing_are_not_walked_over() {
        let layout = Layout::contiguous(&[1 << 50, 0]);
        let mut memory = Storage::zeroed(0);
        let values = TensorRef::new(DType::F32, &layout, &[]).unwrap();
        let mut out = TensorMut::new(DType::F32, &layout, memory.bytes_mut()).unwrap();
        let plain = Norm {
            weight: None,
            bias: None,
            epsilon: 1e-5,
            centred: true,
            plain: false,
        };
        norm(&mut out, [None, None], &values, &plain, 1, &Threads::new(2));
    }

    #[test]
    fn strides_threads_and_blocks_do_not_matter() {
        let (rows, len) = (5, 1300);
        let mut memory = Storage::zeroed(4 * rows * len);
        let data: &mut [f32] = bytemuck::cast_slice_mut(memory.bytes_mut());
        data.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = (i as f32 * 0.7).sin() + 3.0);
        // Rows of two dimensions that cannot be walked with one stride.
        let layout = Layout::contiguous(&[26, rows, 50]).permute(&[1, 0, 2]);
        let values = TensorRef::new(DType::F32, &layout, memory.bytes())
            .unwrap()
            .to_vec::<f32>();
        let mut copy = Storage::copy_of(bytemuck::cast_slice(&values));
        let straight = Layout::contiguous(&[rows, 26, 50]);
        let scale_layout = straight.select(0, 0).expand(&straight.shape).unwrap();
        let scale = Storage::copy_of(bytemuck::cast_slice(&values[..len]));
        let weight = TensorRef::new(DType::F32, &scale_layout, scale.bytes()).unwrap();
        let what = Norm {
            weight: Some(weight),
            bias: None,
            epsilon: 1e-5,
            centred: true,
            plain: false,
        };
        let run = |layout: &Layout, memory: &mut Storage, what: Norm<'_>, threads: usize| {
            let x = Storage::copy_of(memory.bytes());
            let x = TensorRef::new(DType::F32, layout, x.bytes()).unwrap();
            let mut out = TensorMut::new(DType::F32, layout, memory.bytes_mut()).unwrap();
            let mut mean = Storage::zeroed(4 * rows);
            let mean_layout = Layout::contiguous(&[rows]);
            let mut mean = TensorMut::new(DType::F32, &mean_layout, mean.bytes_mut()).unwrap();
            norm(
                &mut out,
                [Some(&mut mean), None],
                &x,
                &what,
                2,
                &Threads::new(threads),
            );
            (out.as_ref().to_vec::<f32>(), mean.as_ref().to_vec::<f32>())
        };
        let one = run(&straight, &mut copy.clone(), what, 1);
        assert_eq!(one, run(&layout, &mut memory, what, 3));
        let exact = run(
            &straight,
            &mut copy,
            Norm {
                plain: true,
                ..what
            },
            1,
        );
        for (a, b) in one.0.iter().zip(&exact.0) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
        let mean: f32 = values[..len].iter().sum::<f32>() / len as f32;
        assert!((one.1[0] - mean).abs() < 1e-5);
    }
}
