//! Approximations of `exp`, `tanh`, `erf` and their relatives in `f32`.
//!
//! The functions of the standard library are exact to the last digit and take one number at a time.
//! These take none of the branches that keep a compiler from doing eight at a time, and are wrong
//! by a few units in the last place at most (the tests say by how much). Where two formulas are
//! needed, both are computed and one is selected.
//!
//! `FUSED` says whether the code is compiled for a machine that multiplies and adds in one
//! instruction; elsewhere the fused operation would be a call of a library.

/// `a * b + c`, fused where the machine does it in one instruction.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial with these coefficients, the highest first.
#[inline(always)]
fn polynomial<const FUSED: bool>(x: f32, coefficients: &[f32]) -> f32 {
    let mut sum = coefficients[0];
    for c in &coefficients[1..] {
        sum = multiply_add::<FUSED>(sum, x, *c);
    }
    sum
}

/// Adding this rounds a small number to an integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `x = k ln 2 + r` with whole `k` and `|r| <= ln 2 / 2`, for `-104 <= x <= 89`; `k` as an integer,
/// `r`.
#[inline(always)]
fn reduce<const FUSED: bool>(x: f32) -> (i32, f32) {
    // ln 2 in two parts: products of `k` and the first one are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = multiply_add::<FUSED>(k, -LN2_HIGH, x);
    let r = multiply_add::<FUSED>(k, -LN2_LOW, r);
    (
        (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32),
        r,
    )
}

/// `(e^r - 1) / r` for `|r| <= ln 2 / 2`: the Taylor series, whose remainder is below 1e-8 there.
const EXPM1: [f32; 7] = [
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
];

/// `2^k` for `-126 <= k <= 127`.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) << 23) as u32)
}

/// `x` clamped to `low` and `high`; NaN stays.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// `e^x`.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinity anyway.
    let (k, r) = reduce::<FUSED>(clamp(x, -104.0, 89.0));
    let p = multiply_add::<FUSED>(polynomial::<FUSED>(r, &EXPM1), r, 1.0);
    // The scale in two halves, so that results near the ends of the range are right.
    let half = k >> 1;
    p * power_of_two(half) * power_of_two(k - half)
}

/// `e^x` for `x` up to 0, as exactly as [`exp`]; what is less than `e^-87` is 0.
#[inline(always)]
pub(crate) fn exp_of_negative<const FUSED: bool>(x: f32) -> f32 {
    // The least argument whose power of two has an exponent of its own.
    const LEAST: f32 = -87.0;
    let (k, r) = reduce::<FUSED>(if x < LEAST { LEAST } else { x });
    let p = multiply_add::<FUSED>(polynomial::<FUSED>(r, &EXPM1), r, 1.0);
    let y = p * power_of_two(k);
    if x < LEAST { 0.0 } else { y }
}

/// `e^x` to four digits, for `x` up to 0; what is less than 2^-126 is 0.
#[inline(always)]
pub(crate) fn exp_coarse<const FUSED: bool>(x: f32) -> f32 {
    // 2^f for |f| <= 1/2, with the least greatest relative error.
    const POWER: [f32; 4] = [0.055_171_56, 0.242_611_06, 0.693_261, 0.999_928_1];
    let x = x * std::f32::consts::LOG2_E;
    let limited = if x < -126.0 { -126.0 } else { x };
    let shifted = limited + ROUND;
    let p = polynomial::<FUSED>(limited - (shifted - ROUND), &POWER);
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let y = p * power_of_two(k);
    if x < -126.0 { 0.0 } else { y }
}

/// `e^x - 1`, also where `x` is small.
#[inline(always)]
pub fn expm1<const FUSED: bool>(x: f32) -> f32 {
    let (k, r) = reduce::<FUSED>(clamp(x, -20.0, 80.0));
    let p = polynomial::<FUSED>(r, &EXPM1) * r;
    // 2^k (p + 1) - 1, in an order that loses nothing where `k` is 0.
    let scale = power_of_two(k);
    let y = multiply_add::<FUSED>(p, scale, scale - 1.0);
    // The sign matters where the result is 0.
    if x > 80.0 {
        exp::<FUSED>(x)
    } else {
        y.copysign(x)
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub fn silu<const FUSED: bool>(x: f32) -> f32 {
    x / (1.0 + exp::<FUSED>(-x))
}

/// `tanh x = t / (t + 2)` with `t = e^2x - 1`.
#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // The result is 1 to the last digit beyond 9.02.
    let (k, r) = reduce::<FUSED>(clamp(2.0 * x, -20.0, 20.0));
    let p = polynomial::<FUSED>(r, &EXPM1) * r;
    let scale = power_of_two(k);
    let t = multiply_add::<FUSED>(p, scale, scale - 1.0);
    // The sign matters where the result is 0.
    (t / (t + 2.0)).copysign(x)
}

/// The error function. Near 0 it is `x + x P(x²)`, elsewhere `1 - e^Q(|x|)`, with polynomials that
/// minimise the greatest relative error.
#[inline(always)]
pub fn erf<const FUSED: bool>(x: f32) -> f32 {
    const P: [f32; 7] = [
        8.382_525e-5,
        -8.145_635e-4,
        5.201_29e-3,
        -2.685_950_1e-2,
        0.112_836_97,
        -0.376_126_35,
        0.128_379_17,
    ];
    const Q: [f32; 7] = [
        1.959_382_6e-4,
        -3.043_226_7e-3,
        2.222_695_6e-2,
        -0.103_931_665,
        -0.637_182_1,
        -1.127_675_7,
        -1.956_665_4e-4,
    ];
    let a = x.abs();
    let near = multiply_add::<FUSED>(polynomial::<FUSED>(x * x, &P), x, x);
    // The result is 1 to the last digit beyond 3.92.
    let q = polynomial::<FUSED>(clamp(a, 0.0, 4.0), &Q);
    let far = (1.0 - exp::<FUSED>(q)).copysign(x);
    if a < 0.92 { near } else { far }
}

/// `x Φ(x)`, with the distribution function of the normal distribution.
#[inline(always)]
pub fn gelu<const FUSED: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `gelu` by way of `tanh`: `x (1 + tanh u) / 2 = x / (1 + e^-2u)`, `u = √(2/π) (x + 0.044715 x³)`.
#[inline(always)]
pub fn gelu_tanh<const FUSED: bool>(x: f32) -> f32 {
    // Where `u` would be infinite, of either sign, `x` is no different from a smaller number.
    let limited = clamp(x, -1e3, 1e3);
    let u =
        -2.0 * 0.797_884_6 * multiply_add::<FUSED>(0.044_715 * limited * limited, limited, limited);
    x / (1.0 + exp::<FUSED>(u))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greatest error over many numbers, relative to the result but at least to `floor`.
    fn error(f: fn(f32) -> f32, exact: fn(f64) -> f64, from: f32, to: f32, floor: f64) -> f64 {
        let n = 40_000;
        (0..=n)
            .map(|i| from + (to - from) * (i as f32 / n as f32))
            .map(|x| {
                let right = exact(x as f64);
                (f(x) as f64 - right).abs() / right.abs().max(floor)
            })
            .fold(0.0, f64::max)
    }

    macro_rules! check {
        ($f:ident, $exact:expr, $from:expr, $to:expr, $floor:expr, $bound:expr) => {
            for f in [$f::<false>, $f::<true>] {
                let worst = error(f, $exact, $from, $to, $floor);
                assert!(worst < $bound, "{}: {worst:e}", stringify!($f));
            }
        };
    }

    #[test]
    fn results_are_right_to_a_few_units_in_the_last_place() {
        check!(exp, f64::exp, -87.0, 88.7, 0.0, 2.0e-7);
        check!(exp, f64::exp, -104.0, -87.0, 1.2e-38, 2.0e-7);
        check!(exp_of_negative, f64::exp, -87.0, 0.0, 0.0, 2.0e-7);
        check!(exp_of_negative, f64::exp, -200.0, -87.0, 1e-30, 1.0e-7);
        check!(exp_coarse, f64::exp, -87.0, 0.0, 0.0, 1.0e-4);
        check!(expm1, f64::exp_m1, -25.0, 88.7, 0.0, 2.5e-7);
        check!(expm1, f64::exp_m1, -0.4, 0.4, 1e-30, 2.5e-7);
        check!(
            sigmoid,
            |x| 1.0 / (1.0 + (-x).exp()),
            -87.0,
            87.0,
            0.0,
            3.0e-7
        );
        check!(silu, |x| x / (1.0 + (-x).exp()), -80.0, 80.0, 1e-30, 3.0e-7);
        check!(tanh, f64::tanh, -12.0, 12.0, 1e-30, 4.0e-7);
        check!(tanh, f64::tanh, -0.3, 0.3, 1e-30, 4.0e-7);
        check!(erf, libm::erf, -5.0, 5.0, 1e-30, 2.5e-7);
        check!(erf, libm::erf, -0.1, 0.1, 1e-30, 2.5e-7);
    }

    #[test]
    fn activations_are_right_to_a_few_ten_millionths() {
        let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
        check!(gelu, exact, -10.0, 10.0, 1.0, 3.0e-7);
        let exact = |x: f64| {
            0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)).tanh())
        };
        check!(gelu_tanh, exact, -10.0, 10.0, 0.1, 1.0e-6);
    }

    #[test]
    fn infinities_and_nan_go_through_as_they_should() {
        let inf = f32::INFINITY;
        for f in [
            exp::<false>,
            expm1::<false>,
            sigmoid::<false>,
            silu::<false>,
            tanh::<false>,
            erf::<false>,
            gelu::<false>,
            gelu_tanh::<false>,
        ] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!(
            (exp::<false>(-inf), exp::<false>(inf), exp::<false>(200.0)),
            (0.0, inf, inf)
        );
        assert_eq!(
            (
                expm1::<false>(-inf),
                expm1::<false>(inf),
                expm1::<false>(0.0)
            ),
            (-1.0, inf, 0.0)
        );
        assert_eq!((sigmoid::<false>(-inf), sigmoid::<false>(inf)), (0.0, 1.0));
        assert_eq!(
            (tanh::<false>(-inf), tanh::<false>(inf), tanh::<false>(0.0)),
            (-1.0, 1.0, 0.0)
        );
        assert_eq!(
            (erf::<false>(-inf), erf::<false>(inf), erf::<false>(0.0)),
            (-1.0, 1.0, 0.0)
        );
        for f in [
            expm1::<false>,
            tanh::<false>,
            erf::<false>,
            silu::<false>,
            gelu::<false>,
        ] {
            for zero in [0f32, -0.0] {
                assert_eq!(f(zero).to_bits(), zero.to_bits());
            }
        }
        assert_eq!((gelu::<false>(inf), gelu_tanh::<false>(inf)), (inf, inf));
        assert_eq!(
            (gelu_tanh::<false>(1e20), gelu_tanh::<false>(-1e20)),
            (1e20, 0.0)
        );
    }
}
