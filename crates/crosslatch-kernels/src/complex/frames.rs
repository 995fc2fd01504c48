//! Short pieces of a signal that overlap: each with a window before it is transformed, and added up
//! behind.

use super::elements::{Complex, Source, apply, fill_pairs};
use crate::runtime::shared_output::SharedOutput;
use crate::{Element, KernelError, Layout, TensorMut, TensorRef, Threads, with_element};

/// Samples that a task computes, about.
const GRAIN: usize = 1 << 12;

/// A window in the middle of frames: zeros on both sides of so many numbers, which are 1 if there
/// is no tensor.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    /// The numbers.
    pub values: Option<TensorRef<'a>>,
    /// How many there are.
    pub width: usize,
}

/// `out = x * window`, where `x`, `[batch, frames, n]`, is mostly a view whose frames overlap.
///
/// # Errors
/// If the window does not have as many numbers as it says.
pub fn windowed(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    window: Window<'_>,
    threads: &Threads,
) -> Result<(), KernelError> {
    let n = x.shape()[2];
    if window.width < n {
        fill_pairs(out, Complex::real(0.0));
    }
    let within = |layout: &Layout| layout.slice(2, (n - window.width) / 2, window.width, 1);
    let (from, to) = (within(x.layout()), within(out.layout()));
    let (x, out) = (x.with_layout(&from)?, &mut out.with_layout(&to)?);
    let Some(window) = window.values else {
        apply(out, [Source::Tensor(&x)], threads, &|[x]| x);
        return Ok(());
    };
    let layout = window.layout().expand(x.shape());
    let layout =
        layout.ok_or_else(|| KernelError::Assertion("a window of another length".into()))?;
    let window = window.with_layout(&layout)?;
    apply(
        out,
        [Source::Tensor(&x), Source::Tensor(&window)],
        threads,
        &|[x, w]| x * w,
    );
    Ok(())
}

/// Adds up frames, `[batch, frames, n]` of real numbers, each `hop` samples behind the one before,
/// times the window, and divides by the sum of the squares of the windows. `out`, contiguous
/// `[batch, len]`, begins at sample `start`; what lies behind the last frame is zero.
///
/// # Errors
/// If the windows leave a sample out.
///
/// # Panics
/// If shapes and types do not fit together.
pub fn overlap(
    out: &mut TensorMut<'_>,
    frames: &TensorRef<'_>,
    window: Window<'_>,
    [hop, start]: [usize; 2],
    threads: &Threads,
) -> Result<(), KernelError> {
    let (to, from) = (out.layout().clone(), frames.layout());
    let [batch, count, n] = [0, 1, 2].map(|d| from.shape[d]);
    assert!(to.is_contiguous() && to.shape[0] == batch && out.dtype() == frames.dtype());
    let (len, end) = (to.shape[1], (count - 1) * hop + n);
    let margin = (n - window.width) / 2;
    let weights = window.values.map(|w| w.layout().clone());
    let is_left_out = std::sync::atomic::AtomicBool::new(false);
    with_element!(out.dtype(), T => {
        let (data, values) = (frames.data::<T>(), window.values.map(|w| w.data::<T>()));
        let weight = |i: usize| {
            let within = i.checked_sub(margin).filter(|i| *i < window.width);
            match (within, values.zip(weights.as_ref())) {
                (None, _) => 0.0,
                (Some(_), None) => 1.0,
                (Some(i), Some((values, l))) => values[l.offset + i * l.strides[0]].to_f64(),
            }
        };
        let results = SharedOutput::new(out.data::<T>());
        let tasks = len.div_ceil(GRAIN);
        threads.run(batch * tasks, &|task| {
            let (entry, first) = (task / tasks, task % tasks * GRAIN);
            let own = GRAIN.min(len - first);
            // SAFETY: each task has samples of its own.
            let out = unsafe { results.slice(to.offset + entry * len + first, own) };
            for (i, out) in out.iter_mut().enumerate() {
                let at = start + first + i;
                if at >= end {
                    *out = T::from_f64(0.0);
                    continue;
                }
                let (mut sum, mut squares) = (0.0, 0.0);
                // The frames that the sample lies in.
                for frame in (at + 1).saturating_sub(n).div_ceil(hop)..=(at / hop).min(count - 1) {
                    let within = at - frame * hop;
                    let w = weight(within);
                    let place = from.offset + entry * from.strides[0] + frame * from.strides[1]
                        + within * from.strides[2];
                    sum += data[place].to_f64() * w;
                    squares += w * w;
                }
                if squares <= 1e-11 {
                    is_left_out.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                *out = T::from_f64(sum / squares);
            }
        });
    });
    match is_left_out.into_inner() {
        true => Err(KernelError::Assertion(
            "the windows of the frames leave a sample out".into(),
        )),
        false => Ok(()),
    }
}
