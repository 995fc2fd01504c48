//! Pointwise operators: one function on numbers, applied to every element.
//!
//! Ten element types, any strides and mixed operands would make thousands of loops. Here is one:
//! a few hundred elements of each operand are converted into blocks of the type that the operator
//! computes in (`f32`, `f64` or `i64`, [`Compute`]), the function runs over the blocks, where the
//! compiler vectorises it, and the result is converted into the output. 16-bit floats are thus
//! computed in `f32` and rounded once, truth values are 0 and 1.

use crate::layout::for_each_run;
use crate::slabs::for_each_slab;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 16 * 1024;

/// Elements converted at a time: small enough for the first-level cache.
const BLOCK: usize = 256;

/// A type that pointwise operators compute in.
pub trait Compute: Copy + Default + Send + Sync + 'static {
    /// A stored element in this type, as `Tensor.to` converts it.
    fn load<T: Element>(element: T) -> Self;
    /// This number as a stored element.
    fn store<T: Element>(self) -> T;
}

impl Compute for f32 {
    #[inline(always)]
    fn load<T: Element>(element: T) -> f32 {
        match T::DTYPE.is_float() {
            true => element.to_f64() as f32,
            false => element.to_i64() as f32,
        }
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_f64(self as f64)
    }
}

impl Compute for f64 {
    #[inline(always)]
    fn load<T: Element>(element: T) -> f64 {
        element.to_f64()
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_f64(self)
    }
}

impl Compute for i64 {
    #[inline(always)]
    fn load<T: Element>(element: T) -> i64 {
        element.to_i64()
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_i64(self)
    }
}

/// `out = f(inputs)` for each element. Inputs are broadcast to the shape of `out`, to which they
/// must fit.
pub fn apply<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    inputs: [&TensorRef<'_>; N],
    threads: &Threads,
    f: impl Fn([C; N]) -> C + Sync,
) {
    let layouts: [Layout; N] =
        std::array::from_fn(|i| inputs[i].layout().expand(out.shape()).unwrap_or_default());
    let result = for_each_slab(out, threads, GRAIN, &|part, out| {
        let layouts: [Layout; N] = std::array::from_fn(|i| part.of(&layouts[i]));
        slab(out, inputs, &layouts, &f);
        Ok(())
    });
    debug_assert!(result.is_ok());
}

fn slab<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    inputs: [&TensorRef<'_>; N],
    layouts: &[Layout; N],
    f: &(impl Fn([C; N]) -> C + Sync),
) {
    let target = out.layout().clone();
    match N {
        1 => {
            let [a] = [&layouts[0]];
            for_each_run([&target, a], |[o, a], [so, sa], n| {
                run(out, inputs, (o, so), &[(a, sa)], n, f)
            });
        }
        2 => for_each_run(
            [&target, &layouts[0], &layouts[1]],
            |[o, a, b], [so, sa, sb], n| run(out, inputs, (o, so), &[(a, sa), (b, sb)], n, f),
        ),
        3 => for_each_run(
            [&target, &layouts[0], &layouts[1], &layouts[2]],
            |[o, a, b, c], [so, sa, sb, sc], n| {
                run(out, inputs, (o, so), &[(a, sa), (b, sb), (c, sc)], n, f)
            },
        ),
        _ => unreachable!("operators have up to three operands"),
    }
}

fn run<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    inputs: [&TensorRef<'_>; N],
    (to, to_step): (usize, usize),
    from: &[(usize, usize)],
    n: usize,
    f: &impl Fn([C; N]) -> C,
) {
    let mut blocks = [[C::default(); BLOCK]; N];
    let mut results = [C::default(); BLOCK];
    let mut done = 0;
    while done < n {
        let len = (n - done).min(BLOCK);
        for (i, block) in blocks.iter_mut().enumerate() {
            let (start, step) = from[i];
            load(inputs[i], start + done * step, step, &mut block[..len]);
        }
        compute(&blocks, &mut results[..len], f);
        store(out, to + done * to_step, to_step, &results[..len]);
        done += len;
    }
}

#[inline(always)]
fn compute<C: Compute, const N: usize>(
    blocks: &[[C; BLOCK]; N],
    results: &mut [C],
    f: &impl Fn([C; N]) -> C,
) {
    for (i, result) in results.iter_mut().enumerate() {
        *result = f(std::array::from_fn(|j| blocks[j][i]));
    }
}

// Not inlined into every operator: one instance for each pair of types is enough.
#[inline(never)]
fn load<C: Compute>(tensor: &TensorRef<'_>, start: usize, step: usize, block: &mut [C]) {
    with_element!(tensor.dtype(), T => {
        let data = tensor.data::<T>();
        if step == 1 {
            for (c, x) in block.iter_mut().zip(&data[start..]) {
                *c = C::load(*x);
            }
        } else {
            for (i, c) in block.iter_mut().enumerate() {
                *c = C::load(data[start + i * step]);
            }
        }
    })
}

#[inline(never)]
fn store<C: Compute>(tensor: &mut TensorMut<'_>, start: usize, step: usize, block: &[C]) {
    with_element!(tensor.dtype(), T => {
        let data = tensor.data::<T>();
        if step == 1 {
            for (x, c) in data[start..].iter_mut().zip(block) {
                *x = c.store();
            }
        } else {
            for (i, c) in block.iter().enumerate() {
                data[start + i * step] = c.store();
            }
        }
    })
}

/// The type that an operator on elements of this type computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 16- and 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Integers and truth values.
    I64,
}

impl Class {
    /// The class of an element type.
    pub fn of(dtype: DType) -> Class {
        match dtype {
            DType::F64 => Class::F64,
            d if d.is_float() => Class::F32,
            _ => Class::I64,
        }
    }
}

/// Error function in `f32`, absolute error below 6e-7: Abramowitz and Stegun, Handbook of
/// Mathematical Functions, 7.1.26.
#[inline(always)]
pub fn erf_f32(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let p = t
        * (0.254_829_6
            + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152 + t * 1.061_405_4))));
    let y = 1.0 - p * crate::vector::exp::<false>(-a * a);
    y.copysign(x)
}

/// `e^x` in `f32`, relative error below 3e-7.
#[inline(always)]
pub fn exp_f32(x: f32) -> f32 {
    crate::vector::exp::<false>(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn operands_of_other_types_and_strides_are_broadcast_and_converted() {
        let (mut a, mut b) = (Storage::zeroed(4 * 6), Storage::zeroed(8 * 2));
        bytemuck::cast_slice_mut::<u8, f32>(a.bytes_mut())
            .copy_from_slice(&[0., 1., 2., 3., 4., 5.]);
        bytemuck::cast_slice_mut::<u8, i64>(b.bytes_mut()).copy_from_slice(&[10, 20]);
        let la = Layout::contiguous(&[2, 3]).transpose(0, 1);
        let lb = Layout::contiguous(&[2]);
        let lo = Layout::contiguous(&[3, 2]);
        let mut out = Storage::zeroed(4 * 6);
        let mut to = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
        let a = TensorRef::new(DType::F32, &la, a.bytes()).unwrap();
        let b = TensorRef::new(DType::I64, &lb, b.bytes()).unwrap();
        apply::<f32, 2>(&mut to, [&a, &b], &Threads::new(1), |[x, y]| x + y);
        assert_eq!(to.as_ref().to_vec::<f32>(), [10., 23., 11., 24., 12., 25.]);
    }

    #[test]
    fn the_error_function_is_close_everywhere() {
        for i in -600..600 {
            let x = i as f32 / 100.0;
            assert!(
                (erf_f32(x) as f64 - libm::erf(x as f64)).abs() < 6e-7,
                "{x}"
            );
        }
        assert!(erf_f32(f32::NAN).is_nan());
    }
}
