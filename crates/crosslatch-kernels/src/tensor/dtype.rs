//! Element types, and the arithmetic type that each is computed in.
//!
//! PyTorch computes half-precision pointwise operators in `f32` and rounds once at the end, and
//! integer operators with wrap-around. [`Element`] says so in one place: `widen` to the type that a
//! kernel computes in, `from_accumulator` to what is stored. A kernel is then written three times
//! at most (`f32`, `f64`, `i64`) and works for ten element types.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum DType {
    Bool,
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    /// A complex number of two `f32`: the real part, then the imaginary one.
    C64,
    /// A complex number of two `f64`.
    C128,
}

impl DType {
    /// Every element type, in promotion order within its category.
    pub const ALL: [DType; 12] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::C64,
        DType::C128,
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 | DType::C64 => 8,
            DType::C128 => 16,
        }
    }

    /// The name that the text form and every message use: `f32`, `i64`, `bool`, …
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::C64 => "c64",
            DType::C128 => "c128",
        }
    }

    /// The type with this [`name`](DType::name).
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Whether elements are floating point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether elements are integers; `bool` is not one.
    pub fn is_int(self) -> bool {
        !self.is_float() && !self.is_complex() && self != DType::Bool
    }

    /// Whether elements are complex numbers.
    pub fn is_complex(self) -> bool {
        matches!(self, DType::C64 | DType::C128)
    }

    /// The type of the parts of a complex number; other types themselves.
    pub fn of_parts(self) -> DType {
        match self {
            DType::C64 => DType::F32,
            DType::C128 => DType::F64,
            other => other,
        }
    }

    /// The complex type with parts of this type, if there is one.
    pub fn of_pairs(self) -> Option<DType> {
        match self {
            DType::F32 => Some(DType::C64),
            DType::F64 => Some(DType::C128),
            _ => None,
        }
    }

    /// Bytes that an element is aligned to: those of its parts.
    pub fn alignment(self) -> usize {
        self.of_parts().size()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A stored boolean: one byte, as PyTorch stores it. Any byte but zero is true, so that a hostile
/// file cannot make an invalid `bool`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
    /// The stored form of `value`.
    pub fn new(value: bool) -> Bool {
        Bool(value as u8)
    }

    /// The boolean.
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

/// A type that tensors can hold, and the type that its arithmetic is done in.
pub trait Element: Pod + Send + Sync + fmt::Debug {
    /// The [`DType`] of this type.
    const DTYPE: DType;
    /// `f32` for 16- and 32-bit floats, `f64` for itself, `i64` for integers and `bool`.
    type Accumulator: Copy + Send + Sync + PartialOrd + fmt::Debug;
    /// The value in the type that kernels compute in.
    fn widen(self) -> Self::Accumulator;
    /// The nearest stored value: floats round to nearest even, integers wrap, `bool` is `!= 0`.
    fn from_accumulator(value: Self::Accumulator) -> Self;
    /// Conversion from a 64-bit float, as `Tensor.to` does it (integers truncate).
    fn from_f64(value: f64) -> Self;
    /// Conversion from a 64-bit integer, as `Tensor.to` does it.
    fn from_i64(value: i64) -> Self;
    /// The value as a 64-bit float.
    fn to_f64(self) -> f64;
    /// The value as a 64-bit integer, truncated.
    fn to_i64(self) -> i64;
}

macro_rules! float_element {
    ($type:ty, $tag:ident, $accumulator:ty, $widen:expr, $from_accumulator:expr, $from_f64:expr, $to_f64:expr,
     $from_i64:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$tag;
            type Accumulator = $accumulator;
            #[inline(always)]
            fn widen(self) -> $accumulator {
                $widen(self)
            }
            #[inline(always)]
            fn from_accumulator(value: $accumulator) -> Self {
                $from_accumulator(value)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                $from_i64(value)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                truncate_to_i64($to_f64(self))
            }
        }
    };
}

float_element!(
    f32,
    F32,
    f32,
    |x| x,
    |x| x,
    |x| x as f32,
    |x| x as f64,
    |i| i as f32
);
float_element!(f64, F64, f64, |x| x, |x| x, |x| x, |x| x, |i| i as f64);
float_element!(
    f16,
    F16,
    f32,
    f16::to_f32,
    f16::from_f32,
    |x: f64| f16::from_f32(x as f32),
    f16::to_f64,
    |i: i64| f16::from_f32(i as f32)
);
float_element!(
    bf16,
    BF16,
    f32,
    bf16::to_f32,
    bf16::from_f32,
    |x: f64| bf16::from_f32(x as f32),
    bf16::to_f64,
    |i: i64| bf16::from_f32(i as f32)
);

macro_rules! int_element {
    ($type:ty, $tag:ident, $truncate:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$tag;
            type Accumulator = i64;
            #[inline(always)]
            fn widen(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn from_accumulator(value: i64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $truncate(value) as $type
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
        }
    };
}

// PyTorch converts to `u8` by way of 64 bits, and to signed integers of up to 32 bits by way of 32;
// both wrap.
int_element!(u8, U8, truncate_to_i64);
int_element!(i8, I8, truncate_to_i32);
int_element!(i16, I16, truncate_to_i32);
int_element!(i32, I32, truncate_to_i32);
int_element!(i64, I64, truncate_to_i64);

impl Element for Bool {
    const DTYPE: DType = DType::Bool;
    type Accumulator = i64;
    #[inline(always)]
    fn widen(self) -> i64 {
        self.get() as i64
    }
    #[inline(always)]
    fn from_accumulator(value: i64) -> Self {
        Bool::new(value != 0)
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Bool::new(value != 0.0)
    }
    #[inline(always)]
    fn from_i64(value: i64) -> Self {
        Bool::new(value != 0)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.get() as u8 as f64
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self.get() as i64
    }
}

/// A float truncated to 64 bits, as x86-64 does it: what does not fit, NaN included, becomes the
/// smallest number.
#[inline(always)]
fn truncate_to_i64(value: f64) -> i64 {
    match value.abs() < 9_223_372_036_854_775_808.0 {
        true => value as i64,
        false => i64::MIN,
    }
}

/// The same to 32 bits.
#[inline(always)]
fn truncate_to_i32(value: f64) -> i32 {
    match value > -2_147_483_649.0 && value < 2_147_483_648.0 {
        true => value as i32,
        false => i32::MIN,
    }
}

/// Ends a kernel for real numbers that got complex ones. Operators take those only where they say
/// so, which is checked when a call is lowered.
#[doc(hidden)]
pub fn no_real_element(dtype: DType) -> ! {
    unreachable!("a kernel for real numbers got elements of {dtype}")
}

/// Evaluates an expression with `$T` bound to the element type that a [`DType`] names, of real
/// numbers.
///
/// # Panics
/// If it names complex numbers.
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::Bool => {
                type $T = $crate::Bool;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::F16 => {
                type $T = ::half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = ::half::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::C64 | $crate::DType::C128 => $crate::tensor::no_real_element($dtype),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name_and_has_its_size() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            if dtype.is_complex() {
                assert_eq!(dtype.size(), 2 * dtype.of_parts().size());
                assert_eq!(dtype.of_parts().of_pairs(), Some(dtype));
                continue;
            }
            with_element!(dtype, T => {
                assert_eq!(size_of::<T>(), dtype.size());
                assert_eq!(<T as Element>::DTYPE, dtype);
            });
        }
    }

    #[test]
    fn integers_wrap_and_any_non_zero_byte_is_true() {
        assert_eq!(u8::from_f64(-1.0), 255);
        assert_eq!(i8::from_accumulator(200), -56);
        assert!(bytemuck::cast::<u8, Bool>(7).get());
        assert_eq!(Bool::from_accumulator(3).to_i64(), 1);
    }

    #[test]
    fn floats_that_do_not_fit_become_what_x86_64_makes_of_them() {
        for x in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e30, -1e30] {
            assert_eq!((i64::from_f64(x), i32::from_f64(x)), (i64::MIN, i32::MIN));
            assert_eq!(
                (i16::from_f64(x), i8::from_f64(x), u8::from_f64(x)),
                (0, 0, 0)
            );
            assert!(Bool::from_f64(x).get());
            assert_eq!((x as f32).to_i64(), i64::MIN);
        }
        assert_eq!((u8::from_f64(300.0), i8::from_f64(-129.0)), (44, 127));
        assert_eq!((u8::from_f64(3e9 + 1.0), i8::from_f64(3e9 + 1.0)), (1, 0));
        assert_eq!(i32::from_f64(-2_147_483_648.9), i32::MIN);
        assert_eq!(i32::from_f64(2_147_483_647.9), i32::MAX);
        assert_eq!(i64::from_f64(-9_223_372_036_854_775_808.0), i64::MIN);
    }

    #[test]
    fn long_integers_are_rounded_once() {
        // By way of `f64` this would be rounded up twice.
        let long = (1 << 60) + (1 << 36) + 1;
        assert_eq!(f32::from_i64(long) as i64, (1 << 60) + (1 << 37));
    }
}
