//! Rows of tensors as blocks of floats to compute with.
//!
//! Norms and softmax do the same few things to a row, a block at a time, whatever type its elements
//! have and however far apart they lie: a block is read into a small buffer of `f32` or `f64`,
//! computed with, and written back, rounded once. The blocks are cut at the same places always, so
//! that strides do not change a bit.

use bytemuck::Pod;

use crate::runtime::shared_output::SharedOutput;
use crate::simd::vectors;
use crate::{DType, Dims, Element, Layout};

/// Elements of a block.
pub(crate) const BLOCK: usize = 512;

/// A type that rows are computed in, and what is done to blocks of it.
pub(crate) trait RowFloat: Pod + Send + Sync {
    const DTYPE: DType;
    fn of(value: f64) -> Self;
    fn to(self) -> f64;
    /// The greatest element; NaN may be passed over.
    fn max(x: &[Self]) -> Self;
    fn sum(x: &[Self]) -> Self;
    fn square_sum(x: &[Self], mean: Self) -> Self;
    /// `x = (x - mean) * factor * weight + bias`.
    fn normalize(x: &mut [Self], mean: Self, factor: Self, weight: &[Self], bias: &[Self]);
    /// `x = exp(x - shift)`; returns the sum.
    fn exp_and_sum(x: &mut [Self], shift: Self) -> Self;
    /// `x = (x - shift) * factor`.
    fn shift_and_scale(x: &mut [Self], shift: Self, factor: Self);
}

impl RowFloat for f32 {
    const DTYPE: DType = DType::F32;
    fn of(value: f64) -> f32 {
        value as f32
    }
    fn to(self) -> f64 {
        self as f64
    }
    fn max(x: &[f32]) -> f32 {
        vectors::max(x)
    }
    fn sum(x: &[f32]) -> f32 {
        vectors::sum(x)
    }
    fn square_sum(x: &[f32], mean: f32) -> f32 {
        vectors::square_sum(x, mean)
    }
    fn normalize(x: &mut [f32], mean: f32, factor: f32, weight: &[f32], bias: &[f32]) {
        vectors::normalize(x, mean, factor, weight, bias);
    }
    fn exp_and_sum(x: &mut [f32], shift: f32) -> f32 {
        vectors::exp_and_sum(x, shift)
    }
    fn shift_and_scale(x: &mut [f32], shift: f32, factor: f32) {
        x.iter_mut().for_each(|x| *x = (*x - shift) * factor);
    }
}

impl RowFloat for f64 {
    const DTYPE: DType = DType::F64;
    fn of(value: f64) -> f64 {
        value
    }
    fn to(self) -> f64 {
        self
    }
    fn max(x: &[f64]) -> f64 {
        x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
    fn sum(x: &[f64]) -> f64 {
        x.iter().sum()
    }
    fn square_sum(x: &[f64], mean: f64) -> f64 {
        x.iter().map(|x| (x - mean) * (x - mean)).sum()
    }
    fn normalize(x: &mut [f64], mean: f64, factor: f64, weight: &[f64], bias: &[f64]) {
        for ((x, w), b) in x.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * factor * w + b;
        }
    }
    fn exp_and_sum(x: &mut [f64], shift: f64) -> f64 {
        x.iter_mut().for_each(|x| *x = (*x - shift).exp());
        x.iter().sum()
    }
    fn shift_and_scale(x: &mut [f64], shift: f64, factor: f64) {
        x.iter_mut().for_each(|x| *x = (*x - shift) * factor);
    }
}

/// Where the rows of a tensor lie: the last dimensions are a row, the others number the rows.
pub(crate) struct Rows {
    outer: Layout,
    /// A row, from position 0.
    inner: Layout,
    /// The distance of a row's elements, if it is always the same.
    stride: Option<usize>,
}

impl Rows {
    /// Rows of the last `dims` dimensions.
    pub fn new(layout: &Layout, dims: usize) -> Rows {
        let split = layout.rank() - dims;
        let part = |range: std::ops::Range<usize>, offset| Layout {
            shape: Dims::from_slice(&layout.shape[range.clone()]),
            strides: Dims::from_slice(&layout.strides[range]),
            offset,
        };
        let inner = part(split..layout.rank(), 0);
        let stride = inner.reshape(&[inner.numel()]).map(|l| l.strides[0]);
        Rows {
            outer: part(0..split, layout.offset),
            inner,
            stride,
        }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.outer.numel()
    }

    /// Elements of a row.
    pub fn len(&self) -> usize {
        self.inner.numel()
    }

    /// Position of the first element of a row.
    pub fn start(&self, row: usize) -> usize {
        self.outer.position(row)
    }

    /// Reads elements `first ..` of the row that starts at `start`.
    pub fn read<T: Element, R: RowFloat>(
        &self,
        data: &[T],
        start: usize,
        first: usize,
        block: &mut [R],
    ) {
        match self.stride {
            Some(1) if T::DTYPE == R::DTYPE => {
                let from = &data[start + first..][..block.len()];
                block.copy_from_slice(bytemuck::cast_slice(from));
            }
            Some(stride) => {
                for (i, x) in block.iter_mut().enumerate() {
                    *x = R::of(data[start + (first + i) * stride].to_f64());
                }
            }
            None => {
                for (i, x) in block.iter_mut().enumerate() {
                    *x = R::of(data[start + self.inner.position(first + i)].to_f64());
                }
            }
        }
    }

    /// Writes elements `first ..` of the row that starts at `start`.
    ///
    /// # Safety
    /// Nothing else accesses this row meanwhile.
    pub unsafe fn write<T: Element, R: RowFloat>(
        &self,
        target: &SharedOutput<'_, T>,
        start: usize,
        first: usize,
        block: &[R],
    ) {
        if self.stride == Some(1) && T::DTYPE == R::DTYPE {
            // SAFETY: part of the row.
            let to = unsafe { target.slice(start + first, block.len()) };
            to.copy_from_slice(bytemuck::cast_slice(block));
            return;
        }
        for (i, x) in block.iter().enumerate() {
            let at = match self.stride {
                Some(stride) => (first + i) * stride,
                None => self.inner.position(first + i),
            };
            // SAFETY: an element of the row.
            let to = unsafe { target.slice(start + at, 1) };
            to[0] = T::from_f64(x.to());
        }
    }
}

/// Evaluates an expression with `$T` bound to the element type and `$R` to the type that it is
/// computed in: `f32` if that holds every value, unless `$exact` asks for `f64`. Other types than
/// floats do nothing: lowerings refuse them.
macro_rules! with_row_float {
    ($dtype:expr, $exact:expr, $T:ident, $R:ident => $body:expr) => {{
        macro_rules! run {
            ($t:ty, $r:ty) => {{
                type $T = $t;
                type $R = $r;
                $body
            }};
        }
        match ($dtype, $exact) {
            ($crate::DType::F32, false) => run!(f32, f32),
            ($crate::DType::F16, false) => run!(half::f16, f32),
            ($crate::DType::BF16, false) => run!(half::bf16, f32),
            ($crate::DType::F32, true) => run!(f32, f64),
            ($crate::DType::F16, true) => run!(half::f16, f64),
            ($crate::DType::BF16, true) => run!(half::bf16, f64),
            ($crate::DType::F64, _) => run!(f64, f64),
            _ => debug_assert!(false, "a row of something else than floats"),
        }
    }};
}
pub(crate) use with_row_float;
