//! Arithmetic on the types that kernels accumulate in.

/// Arithmetic in `f32`, `f64` or `i64`, the types that
/// [`Element::Accumulator`](crate::Element::Accumulator) can be. Integers wrap around.
pub trait Accumulate: Copy {
    /// The number in this type; integers truncate.
    fn from_f64(value: f64) -> Self;
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// The larger one; NaN if one is NaN.
    fn max_or_nan(self, other: Self) -> Self;
    /// The smaller one; NaN if one is NaN.
    fn min_or_nan(self, other: Self) -> Self;
    /// The quotient by a count; of integers, rounded down.
    fn divided_by(self, count: i64) -> Self;
}

macro_rules! float_accumulator {
    ($type:ty) => {
        impl Accumulate for $type {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn max_or_nan(self, other: Self) -> Self {
                if self > other || self.is_nan() {
                    self
                } else {
                    other
                }
            }
            #[inline(always)]
            fn min_or_nan(self, other: Self) -> Self {
                if self < other || self.is_nan() {
                    self
                } else {
                    other
                }
            }
            #[inline(always)]
            fn divided_by(self, count: i64) -> Self {
                self / count as $type
            }
        }
    };
}

float_accumulator!(f32);
float_accumulator!(f64);

impl Accumulate for i64 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as i64
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    fn max_or_nan(self, other: Self) -> Self {
        self.max(other)
    }
    #[inline(always)]
    fn min_or_nan(self, other: Self) -> Self {
        self.min(other)
    }
    #[inline(always)]
    fn divided_by(self, count: i64) -> Self {
        match count {
            0 => 0,
            _ => self.wrapping_div_euclid(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_wins_and_integers_wrap() {
        assert!(1f32.max_or_nan(f32::NAN).is_nan() && f32::NAN.min_or_nan(1.0).is_nan());
        assert_eq!(i64::MAX.add(1), i64::MIN);
        assert_eq!((-3i64).divided_by(2), -2);
    }
}
