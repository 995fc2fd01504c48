//! Tensors that are made from nothing: constants, ranges, the identity, triangles.
//!
//! The results are defined by their indices alone. Numbers are counted in 64 bits and rounded once,
//! so that long ranges do not drift.

use crate::complex::{Complex, fill_pairs};
use crate::movement::copy::convert;
use crate::tensor::layout::for_each_run;
use crate::{Element, Layout, TensorMut, TensorRef, with_element};

/// A number without an element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// An integer or a boolean.
    Int(i64),
    /// A floating point number.
    Float(f64),
}

impl Scalar {
    /// As an element, converted as `Tensor.to` does it.
    #[inline(always)]
    pub fn element<T: Element>(self) -> T {
        match self {
            Scalar::Int(i) => T::from_i64(i),
            Scalar::Float(x) => T::from_f64(x),
        }
    }
}

/// Sets every element to `value`.
pub fn fill(to: &mut TensorMut<'_>, value: Scalar) {
    if to.dtype().is_complex() {
        return fill_pairs(to, Complex::real(value.element()));
    }
    with_element!(to.dtype(), T => {
        let value = value.element::<T>();
        let layout = to.layout().clone();
        let data = to.data::<T>();
        for_each_run([&layout], |[at], [stride], len| match stride {
            1 => data[at..at + len].fill(value),
            _ => (0..len).for_each(|j| data[at + j * stride] = value),
        });
    });
}

/// Sets element `i`, counted in row-major order, to `value(i)`.
pub fn fill_with(to: &mut TensorMut<'_>, value: impl Fn(usize) -> Scalar) {
    with_element!(to.dtype(), T => {
        let layout = to.layout().clone();
        let data = to.data::<T>();
        for (i, position) in layout.positions().enumerate() {
            data[position] = value(i).element::<T>();
        }
    });
}

/// `start`, `start + step`, …: integers wrap around, floats are `start + step * i`.
pub fn arange(to: &mut TensorMut<'_>, start: Scalar, step: Scalar) {
    match (start, step) {
        (Scalar::Int(start), Scalar::Int(step)) => fill_with(to, |i| {
            Scalar::Int(start.wrapping_add(step.wrapping_mul(i as i64)))
        }),
        _ => {
            let (start, step) = (start.element::<f64>(), step.element::<f64>());
            fill_with(to, |i| Scalar::Float(start + step * i as f64));
        }
    }
}

/// As many evenly spaced numbers as `to` has elements, both ends included. Each half counts from
/// its own end, as PyTorch does, so that both ends are exact.
pub fn linspace(to: &mut TensorMut<'_>, start: f64, end: f64) {
    let steps = to.layout().numel();
    let step = match steps {
        0 | 1 => 0.0,
        _ => (end - start) / (steps - 1) as f64,
    };
    fill_with(to, |i| {
        Scalar::Float(match i {
            _ if i < steps / 2 || steps == 1 => start + step * i as f64,
            _ => end - step * (steps - 1 - i) as f64,
        })
    });
}

/// The identity: ones where both indices of `[n, m]` are equal.
pub fn eye(to: &mut TensorMut<'_>) {
    fill(to, Scalar::Int(0));
    let &[rows, columns] = to.shape() else {
        return;
    };
    let layout = to.layout().clone();
    with_element!(to.dtype(), T => {
        let data = to.data::<T>();
        for i in 0..rows.min(columns) {
            data[layout.offset + i * (layout.strides[0] + layout.strides[1])] = T::from_i64(1);
        }
    });
}

/// Which side of a diagonal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// At and below the diagonal.
    Lower,
    /// At and above the diagonal.
    Upper,
}

/// Matrices `[…, n, m]` with everything on one side of diagonal `diagonal` set to zero: element
/// `(i, j)` of the lower triangle is kept where `j - i <= diagonal`, of the upper one where `j - i
/// >= diagonal`.
pub fn triangle(to: &mut TensorMut<'_>, from: &TensorRef<'_>, which: Triangle, diagonal: i64) {
    with_element!(to.dtype(), T => triangle_of::<T>(to, from, which, diagonal));
}

fn triangle_of<T: Element>(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    which: Triangle,
    diagonal: i64,
) {
    let (to_layout, from_layout) = (to.layout().clone(), from.layout());
    let rank = to_layout.rank();
    if rank < 2 || to_layout.shape.contains(&0) {
        return;
    }
    let (rows, columns) = (to_layout.shape[rank - 2], to_layout.shape[rank - 1]);
    let lead = |l: &Layout| Layout {
        shape: l.shape[..rank - 2].into(),
        strides: l.strides[..rank - 2].into(),
        offset: l.offset,
    };
    let (to_step, from_step) = (to_layout.strides[rank - 1], from_layout.strides[rank - 1]);
    let (target, source) = (to.data::<T>(), from.data::<T>());
    for (a, b) in lead(&to_layout)
        .positions()
        .zip(lead(from_layout).positions())
    {
        for i in 0..rows {
            let a = a + i * to_layout.strides[rank - 2];
            let b = b + i * from_layout.strides[rank - 2];
            // Columns below `edge` are at or below the diagonal (Lower) or strictly so (Upper).
            let edge = (i as i64).saturating_add(diagonal);
            let edge = match which {
                Triangle::Lower => edge.saturating_add(1),
                Triangle::Upper => edge,
            };
            let edge = edge.clamp(0, columns as i64) as usize;
            for j in 0..columns {
                let keep = (j < edge) == (which == Triangle::Lower);
                target[a + j * to_step] = match keep {
                    true => source[b + j * from_step],
                    false => T::from_i64(0),
                };
            }
        }
    }
}

/// Reads the one element of a tensor with one element.
pub fn read_one(from: &TensorRef<'_>) -> Scalar {
    with_element!(from.dtype(), T => {
        let value = from.data::<T>()[from.layout().offset];
        match T::DTYPE.is_float() {
            true => Scalar::Float(convert(value)),
            false => Scalar::Int(convert(value)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn made(shape: &[usize], make: impl Fn(&mut TensorMut<'_>)) -> Vec<f32> {
        // Every second element of a longer memory, the gaps of which must stay as they are.
        let mut layout = Layout::contiguous(shape);
        layout.strides.iter_mut().for_each(|s| *s *= 2);
        let mut memory = Storage::zeroed(8 * layout.numel().max(1));
        let mut to = TensorMut::new(DType::F32, &layout, memory.bytes_mut()).unwrap();
        make(&mut to);
        let result = to.as_ref().to_vec();
        let gaps = bytemuck::cast_slice::<u8, f32>(memory.bytes());
        assert!(gaps.iter().skip(1).step_by(2).all(|&x| x == 0.0));
        result
    }

    #[test]
    fn constants_and_ranges_fill_strided_memory() {
        assert_eq!(made(&[2, 2], |t| fill(t, Scalar::Int(7))), [7.0; 4]);
        assert_eq!(made(&[0], |t| fill(t, Scalar::Int(7))), [] as [f32; 0]);
        assert_eq!(made(&[], |t| fill(t, Scalar::Float(0.5))), [0.5]);
        let range = made(&[4], |t| arange(t, Scalar::Float(1.0), Scalar::Float(-0.5)));
        assert_eq!(range, [1.0, 0.5, 0.0, -0.5]);
        assert_eq!(
            made(&[5], |t| linspace(t, 0.0, 1.0)),
            [0.0, 0.25, 0.5, 0.75, 1.0]
        );
        assert_eq!(made(&[1], |t| linspace(t, 3.0, 9.0)), [3.0]);
        assert_eq!(made(&[2, 3], eye), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn triangles_keep_their_diagonal() {
        let memory: Vec<f32> = (1..=6).map(|x| x as f32).collect();
        let layout = Layout::contiguous(&[2, 3]);
        let from = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&memory)).unwrap();
        let of = |which, diagonal| made(&[2, 3], |t| triangle(t, &from, which, diagonal));
        assert_eq!(of(Triangle::Lower, 0), [1.0, 0.0, 0.0, 4.0, 5.0, 0.0]);
        assert_eq!(of(Triangle::Lower, -1), [0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
        assert_eq!(of(Triangle::Upper, 1), [0.0, 2.0, 3.0, 0.0, 0.0, 6.0]);
        assert_eq!(
            of(Triangle::Upper, i64::MIN),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(of(Triangle::Lower, i64::MIN), [0.0; 6]);
    }
}
