//! Elementwise functions of `f32`, over slices: what activations and pointwise operators are made
//! of.
//!
//! Each is a formula of [`crate::simd::approximate`], compiled for each instruction set. A number's
//! result does not depend on where in the slice it stands.

use crate::TensorMut;
use crate::runtime::instructions::multiversion;
use crate::simd::approximate;
use crate::tensor::layout::for_each_run;

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x Φ(x)`.
    Gelu,
    /// `gelu`, approximated by way of `tanh`.
    GeluTanh,
}

impl Function {
    /// Replaces each number by its value.
    pub fn map(self, x: &mut [f32]) {
        match self {
            Function::Exp => exp(x),
            Function::Expm1 => expm1(x),
            Function::Sigmoid => sigmoid(x),
            Function::Tanh => tanh(x),
            Function::Erf => erf(x),
            Function::Silu => silu(x),
            Function::Gelu => gelu(x),
            Function::GeluTanh => gelu_tanh(x),
        }
    }

    /// Replaces each element of an `f32` tensor by its value.
    pub(crate) fn map_tensor(self, x: &mut TensorMut<'_>) {
        let layout = x.layout().clone();
        let data: &mut [f32] = x.data();
        for_each_run([&layout], |[start], [step], n| match step {
            1 => self.map(&mut data[start..][..n]),
            _ => (0..n).for_each(|i| self.map(&mut data[start + i * step..][..1])),
        });
    }

    /// The value in double precision, by formulas that are obviously right.
    pub fn exact(self, x: f64) -> f64 {
        match self {
            Function::Exp => x.exp(),
            Function::Expm1 => x.exp_m1(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Erf => libm::erf(x),
            Function::Silu => x / (1.0 + (-x).exp()),
            Function::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Function::GeluTanh => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + u.tanh())
            }
        }
    }
}

/// For each name a function over slices that calls the one of that name in `approximate`.
macro_rules! over_slices {
    ($($name:ident)*) => {
        $(fn $name(x: &mut [f32]) {
            #[inline(always)]
            fn portable<const FUSED: bool>(x: &mut [f32]) {
                for x in x {
                    *x = approximate::$name::<FUSED>(*x);
                }
            }
            multiversion!(fn best(x: &mut [f32]), portable);
            best(x);
        })*
    };
}

over_slices!(exp expm1 sigmoid tanh erf silu gelu gelu_tanh);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_depends_on_the_number_alone() {
        let all = [
            Function::Exp,
            Function::Expm1,
            Function::Sigmoid,
            Function::Tanh,
            Function::Erf,
            Function::Silu,
            Function::Gelu,
            Function::GeluTanh,
        ];
        let numbers: Vec<f32> = (0..53).map(|i| (i as f32 - 26.0) / 5.0).collect();
        for function in all {
            let mut together = numbers.clone();
            function.map(&mut together);
            for (x, y) in numbers.iter().zip(&together) {
                let mut alone = [*x];
                function.map(&mut alone);
                assert_eq!(alone[0].to_bits(), y.to_bits(), "{function:?} of {x}");
                let right = function.exact(*x as f64);
                assert!(
                    (*y as f64 - right).abs() < 1e-6 * right.abs().max(1.0),
                    "{function:?}"
                );
            }
        }
    }
}
