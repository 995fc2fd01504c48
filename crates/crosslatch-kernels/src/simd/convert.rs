//! Conversions between `f32` and the short numbers that weights and activations are stored as.
//!
//! A number is converted by a few integer operations, which compilers vectorise; the slices come in
//! a version for each instruction set.

use half::{bf16, f16};

use crate::Element;
use crate::runtime::instructions::multiversion;

/// Adding this rounds a small number to a whole one, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// The whole number nearest to a small one, in two's complement in the lowest bits.
#[inline(always)]
pub(crate) fn round_to_bits(x: f32) -> u32 {
    (x + ROUND).to_bits()
}

/// The greatest magnitude; NaN if an element is not finite.
#[inline(always)]
pub(crate) fn largest_magnitude(x: &[f32]) -> f32 {
    // Without the sign, floats are ordered as their bits are, and what is not finite is the
    // greatest.
    let magnitude = |x: &f32| (x.to_bits() & 0x7fff_ffff) as i32;
    let largest = x.iter().map(magnitude).fold(0, i32::max);
    match f32::from_bits(largest as u32) {
        largest if largest.is_finite() => largest,
        _ => f32::NAN,
    }
}

/// The nearest bf16, the even one where two are equally near; NaN stays NaN.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // A NaN of which only the lower half says so would become infinite.
    let bits = if x.is_nan() {
        bits | 0x0040_0000
    } else {
        rounded
    };
    (bits >> 16) as u16
}

/// The value of a bf16.
#[inline(always)]
pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// The value of an f16.
#[inline(always)]
pub(crate) fn from_f16(bits: u16) -> f32 {
    let (sign, magnitude) = ((bits as u32 & 0x8000) << 16, bits as u32 & 0x7fff);
    // With exponent and fraction in their places, what is left of the conversion is a power of two,
    // also for numbers that are too small for an exponent of their own.
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 127 - 15) << 23);
    let quiet = if magnitude > 0x7c00 { 0x0040_0000 } else { 0 };
    let widened = match magnitude < 0x7c00 {
        true => finite.to_bits(),
        false => magnitude << 13 | 0x7f80_0000 | quiet,
    };
    f32::from_bits(sign | widened)
}

multiversion! {
    /// Rounds numbers to bf16.
    pub(crate) fn f32_to_bf16(from: &[f32], to: &mut [u16]), f32_to_bf16_portable
}

#[inline(always)]
fn f32_to_bf16_portable<const FUSED: bool>(from: &[f32], to: &mut [u16]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = to_bf16(*x);
    }
}

multiversion! {
    /// Quantizes a row symmetrically; returns its scale, or nothing if an element is not finite.
    pub(crate) fn f32_to_int8(from: &[f32], to: &mut [i8]) -> Option<f32>, f32_to_int8_portable
}

#[inline(always)]
fn f32_to_int8_portable<const FUSED: bool>(from: &[f32], to: &mut [i8]) -> Option<f32> {
    let largest = largest_magnitude(from);
    if !largest.is_finite() {
        return None;
    }
    // A row of numbers too small to have a factor is stored as zeros.
    let factor = Some(127.0 / largest).filter(|f| f.is_finite());
    let by = factor.unwrap_or(0.0);
    for (to, x) in to.iter_mut().zip(from) {
        *to = round_to_bits(x * by) as i8;
    }
    Some(factor.map_or(0.0, |_| largest / 127.0))
}

multiversion! {
    /// Whether more than half of the elements that are not 0 are smaller than this.
    pub(crate) fn loses_most(from: &[f32], least: f32) -> bool, loses_most_portable
}

#[inline(always)]
fn loses_most_portable<const FUSED: bool>(from: &[f32], least: f32) -> bool {
    let (mut lost, mut kept) = (0u32, 0u32);
    for x in from {
        let is_small = x.abs() < least;
        lost += (is_small && *x != 0.0) as u32;
        kept += !is_small as u32;
    }
    lost > kept
}

multiversion! {
    /// Widens bf16 to `f32`.
    pub(crate) fn bf16_to_f32(from: &[u16], to: &mut [f32]), bf16_to_f32_portable
}

#[inline(always)]
fn bf16_to_f32_portable<const FUSED: bool>(from: &[u16], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = from_bf16(*x);
    }
}

multiversion! {
    /// Widens f16 to `f32`.
    pub(crate) fn f16_to_f32(from: &[u16], to: &mut [f32]), f16_to_f32_portable
}

#[inline(always)]
fn f16_to_f32_portable<const FUSED: bool>(from: &[u16], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = from_f16(*x);
    }
}

/// A type of 16 bits that `f32` holds all values of.
pub(crate) trait Half: Element<Accumulator = f32> {
    /// Widens as many elements as both sides have.
    fn widen_all(from: &[Self], to: &mut [f32]);
}

impl Half for f16 {
    fn widen_all(from: &[f16], to: &mut [f32]) {
        f16_to_f32(bytemuck::cast_slice(from), to);
    }
}

impl Half for bf16 {
    fn widen_all(from: &[bf16], to: &mut [f32]) {
        bf16_to_f32(bytemuck::cast_slice(from), to);
    }
}

multiversion! {
    /// Widens integers to `f32`, multiplied by their scale.
    pub(crate) fn int8_to_f32(from: &[i8], scale: f32, to: &mut [f32]), int8_to_f32_portable
}

#[inline(always)]
fn int8_to_f32_portable<const FUSED: bool>(from: &[i8], scale: f32, to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = *x as f32 * scale;
    }
}

multiversion! {
    /// Widens integers to 16 bits.
    pub(crate) fn int8_to_int16(from: &[i8], to: &mut [i16]), int8_to_int16_portable
}

#[inline(always)]
fn int8_to_int16_portable<const FUSED: bool>(from: &[i8], to: &mut [i16]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = *x as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_has_its_value() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut widened = vec![0f32; all.len()];
        f16_to_f32(&all, &mut widened);
        for (bits, x) in all.iter().zip(&widened) {
            assert_eq!(
                x.to_bits(),
                f16::from_bits(*bits).to_f32().to_bits(),
                "{bits:x}"
            );
        }
    }

    #[test]
    fn bf16_is_rounded_as_its_definition_says() {
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
            1.003_906_2,
            1.011_718_8,
        ];
        let hashed =
            (0..1000u32).map(|i| ((i ^ 1).wrapping_mul(2_654_435_761) >> 8) as f32 * 1.2e-7 - 1.0);
        for x in special.into_iter().chain(hashed) {
            assert_eq!(to_bf16(x), bf16::from_f32(x).to_bits(), "{x}");
        }
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff] {
            assert!(from_bf16(to_bf16(f32::from_bits(bits))).is_nan());
        }
    }
}
