//! Histograms: how many elements lie in each of some bins of equal width.

use crate::{Element, KernelError, TensorMut, TensorRef, with_element};

/// Counts the elements of `x` between the ends in as many bins as `out` has elements. Equal ends
/// stand for the least and the greatest element, or for 1 on both sides of them if those are equal
/// too. An element at the upper end counts in the last bin; what is no number does not count.
///
/// # Errors
/// If the ends are not finite.
///
/// # Panics
/// If `out` has another type or is not one-dimensional.
pub fn histogram(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    [low, high]: [f64; 2],
) -> Result<(), KernelError> {
    let layout = out.layout().clone();
    let bins = layout.numel();
    with_element!(x.dtype(), T => {
        let data = x.data::<T>();
        let elements = || x.layout().positions().map(|p| data[p].to_f64());
        let round = |x: f64| T::from_f64(x).to_f64();
        let (mut low, mut high) = (round(low), round(high));
        if low == high && x.layout().numel() > 0 {
            let nan_wins = |a: f64, b: f64, better: bool| if better || b.is_nan() { b } else { a };
            low = elements().reduce(|a, b| nan_wins(a, b, b < a)).unwrap_or(low);
            high = elements().reduce(|a, b| nan_wins(a, b, b > a)).unwrap_or(high);
        }
        if low == high {
            (low, high) = (low - 1.0, high + 1.0);
        }
        if !(low.is_finite() && high.is_finite()) {
            let reason = format!("a histogram from {low} to {high} is not defined");
            return Err(KernelError::Assertion(reason));
        }
        let out = out.data::<T>();
        layout.positions().for_each(|p| out[p] = T::from_i64(0));
        let step = layout.strides[0];
        for x in elements().filter(|x| (low..=high).contains(x)) {
            let bin = round(round(round(x - low) * bins as f64) / round(high - low)) as usize;
            let at = layout.offset + bin.min(bins - 1) * step;
            out[at] = T::from_f64(out[at].to_f64() + 1.0);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout};

    fn counted(x: &[f32], bins: usize, ends: [f64; 2]) -> Result<Vec<f32>, KernelError> {
        let (from, to) = (Layout::contiguous(&[x.len()]), Layout::contiguous(&[bins]));
        let mut out = vec![0f32; bins];
        let bytes = bytemuck::cast_slice_mut(&mut out);
        histogram(
            &mut TensorMut::new(DType::F32, &to, bytes).unwrap(),
            &TensorRef::new(DType::F32, &from, bytemuck::cast_slice(x)).unwrap(),
            ends,
        )?;
        Ok(out)
    }

    #[test]
    fn both_ends_count_and_equal_ends_are_those_of_the_elements() {
        let x = [0.0, 0.5, 1.0, 2.0, f32::NAN];
        assert_eq!(counted(&x, 2, [0.0, 1.0]).unwrap(), [1.0, 2.0]);
        assert_eq!(counted(&x[..4], 2, [0.0, 0.0]).unwrap(), [2.0, 2.0]);
        assert_eq!(
            counted(&[3.0, 3.0], 3, [0.0, 0.0]).unwrap(),
            [0.0, 2.0, 0.0]
        );
        assert!(counted(&x, 2, [0.0, 0.0]).is_err());
    }
}
