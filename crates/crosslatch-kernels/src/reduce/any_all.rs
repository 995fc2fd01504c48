//! Whether any or all of many elements are true.
//!
//! These are reductions that may stop early: one true element decides that any is. A program that
//! asks whether its cache has been filled, `(cache != 0).any()`, has the answer after a few bytes.

use crate::reduce::reduction::split;
use crate::tensor::layout::for_each_run;
use crate::{Bool, DType, Element, Layout, TensorMut, TensorRef, with_element};

/// Elements that are looked at between two checks whether the answer is known.
const BLOCK: usize = 256;

/// For each element of `out`, which is of type `bool` or `u8` and has the kept dimensions only:
/// whether any element of its run is true.
pub fn any(out: &mut TensorMut<'_>, x: &TensorRef<'_>, reduced: &[usize]) {
    for_each_output(out, x, reduced, true);
}

/// The same for all of them: whether none is false.
pub fn all(out: &mut TensorMut<'_>, x: &TensorRef<'_>, reduced: &[usize]) {
    for_each_output(out, x, reduced, false);
}

/// Writes `wanted` where any element of a run is `wanted`, the contrary elsewhere.
fn for_each_output(out: &mut TensorMut<'_>, x: &TensorRef<'_>, reduced: &[usize], wanted: bool) {
    let (kept, run) = split(x.layout(), reduced);
    // A repeated element decides nothing that it has not decided the first time.
    let run = run.without_repeats();
    let to = out.layout().clone();
    with_element!(x.dtype(), T => {
        let data = x.data::<T>();
        for_each_run([&to, &kept], |[o, k], [p, q], n| {
            for i in 0..n {
                let found = exists(data, k + i * q, &run, wanted);
                write(out, o + i * p, found == wanted);
            }
        });
    });
}

fn write(out: &mut TensorMut<'_>, at: usize, value: bool) {
    if out.dtype() == DType::U8 {
        out.data::<u8>()[at] = value as u8;
    } else {
        out.data::<Bool>()[at] = Bool::new(value);
    }
}

/// Whether any element of a run is `wanted`.
fn exists<T: Element>(data: &[T], from: usize, run: &Layout, wanted: bool) -> bool {
    let is_wanted = |x: T| {
        let is_true = match T::DTYPE.is_float() {
            true => x.to_f64() != 0.0,
            false => x.to_i64() != 0,
        };
        is_true == wanted
    };
    let mut found = false;
    for_each_run([run], |[at], [step], n| {
        for done in (0..n).step_by(BLOCK) {
            if found {
                return;
            }
            let len = (n - done).min(BLOCK);
            let start = from + at + done * step;
            found = match step {
                // Without an early exit, so that it can be vectorised.
                1 => data[start..start + len]
                    .iter()
                    .fold(false, |any, x| any | is_wanted(*x)),
                _ => (0..len).any(|i| is_wanted(data[start + i * step])),
            };
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn answer(values: &[f32], shape: &[usize], reduced: &[usize], all_of: bool) -> Vec<u8> {
        let layout = Layout::contiguous(shape);
        let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(values)).unwrap();
        let lo = Layout::contiguous(&split(&layout, reduced).0.shape);
        let mut out = Storage::zeroed(lo.numel());
        let mut to = TensorMut::new(DType::Bool, &lo, out.bytes_mut()).unwrap();
        match all_of {
            true => all(&mut to, &x, reduced),
            false => any(&mut to, &x, reduced),
        }
        out.bytes()[..lo.numel()].to_vec()
    }

    #[test]
    fn a_repeated_element_is_looked_at_once() {
        let data = [1.0f32, 0.0];
        let layout = Layout::contiguous(&[2, 1]).expand(&[2, 1 << 50]).unwrap();
        let x = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&data)).unwrap();
        for (reduced, shape, wanted) in [
            (&[1][..], &[2][..], &[true, false][..]),
            (&[0, 1], &[], &[true]),
        ] {
            let lo = Layout::contiguous(shape);
            let mut out = Storage::zeroed(2);
            let mut to = TensorMut::new(DType::Bool, &lo, out.bytes_mut()).unwrap();
            any(&mut to, &x, reduced);
            let found: Vec<bool> = (to.as_ref().to_vec::<Bool>().iter().map(|b| b.get())).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn any_and_all_of_rows_columns_and_nothing() {
        let values = [0.0, -0.0, 0.0, f32::NAN, 1.0, 0.0];
        assert_eq!(answer(&values, &[2, 3], &[1], false), [0, 1]);
        assert_eq!(answer(&values, &[2, 3], &[0], false), [1, 1, 0]);
        assert_eq!(answer(&values, &[2, 3], &[0, 1], false), [1]);
        assert_eq!(answer(&values, &[2, 3], &[1], true), [0, 0]);
        assert_eq!(answer(&values[3..5], &[2], &[0], true), [1]);
        assert_eq!(answer(&[], &[2, 0], &[1], false), [0, 0]);
        assert_eq!(answer(&[], &[2, 0], &[1], true), [1, 1]);
        let mut long = vec![0.0; 1000];
        assert_eq!(answer(&long, &[1000], &[0], false), [0]);
        long[999] = 2.0;
        assert_eq!(answer(&long, &[1000], &[0], false), [1]);
    }
}
