//! Which vector instructions the machine has, and functions compiled for them.
//!
//! Most inner loops are written once, portably, in a form that compilers turn into vector
//! instructions. [`multiversion!`] compiles such a function for the baseline and for the
//! instruction sets below, and runs the best version that the machine has. A loop that is written
//! in certain instructions lies in a file named after the architecture, `x86_64.rs`, and is chosen
//! by asking for its [`Feature`]s.
//!
//! Features are a set, not a scale: a machine may have short dot products without long vectors. The
//! set is found out once per process. `CROSSLATCH_INSTRUCTIONS` in the environment limits it, for
//! comparisons and for tests: to nothing (`portable`), or to what [`x86_64::LIMITS`] lists (`avx2`,
//! `avx-vnni`, `avx512`).
//!
//! The versions with vectors fuse multiplications with additions; all of them give the same bits.

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::sync::OnceLock;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

pub(crate) use machine::multiversion;

/// Instructions that some loop is written in or compiled for: extensions of the processor that the
/// loops use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Feature {
    /// x86-64: AVX2, fused multiply-add, and the conversion of f16, which such machines have.
    Avx2,
    /// x86-64: AVX-512 for shorter vectors too, for bytes, and for double words (F, VL, BW, DQ).
    Avx512,
    /// x86-64: products of small integers, added up in 32 bits, in AVX-512.
    Avx512Vnni,
    /// x86-64: products of bf16, added up in `f32`, in AVX-512.
    Avx512Bf16,
    /// x86-64: products of small integers, added up in 32 bits, in vectors of AVX2's length.
    AvxVnni,
    /// x86-64: products of blocks of bytes and of bf16 in tile registers, which the system lets
    /// this process use.
    Amx,
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(u32);

impl Features {
    /// No features: what every machine has that the program is built for.
    pub const NONE: Features = Features::of(&[]);

    /// The set of these features.
    pub const fn of(features: &[Feature]) -> Features {
        let (mut bits, mut i) = (0, 0);
        while i < features.len() {
            bits |= 1 << features[i] as u32;
            i += 1;
        }
        Features(bits)
    }

    /// What both sets contain.
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Whether a feature is in the set.
    #[inline]
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u32) != 0
    }

    /// Whether the set contains all of another one.
    #[inline]
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The features that may be used: those of the machine, as far as the environment allows.
#[inline]
pub(crate) fn features() -> Features {
    static USABLE: OnceLock<Features> = OnceLock::new();
    *USABLE.get_or_init(|| {
        let wanted = std::env::var("CROSSLATCH_INSTRUCTIONS").unwrap_or_default();
        if wanted == "portable" {
            return Features::NONE;
        }
        let limit = machine::LIMITS.iter().find(|(name, _)| *name == wanted);
        match limit {
            Some((_, limit)) => machine::detect().and(*limit),
            None => machine::detect(),
        }
    })
}

/// Whether [`multiversion!`] runs a version that fuses multiplications with additions. Other loops
/// that are to give the same bits ask for this.
#[inline]
pub(crate) fn is_fused() -> bool {
    machine::is_fused(features())
}

/// Whether a feature may be used.
#[inline]
pub(crate) fn has(feature: Feature) -> bool {
    features().has(feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let set = Features::of(&[Feature::Avx2, Feature::Avx512Bf16]);
        assert!(set.has(Feature::Avx2) && set.has(Feature::Avx512Bf16));
        assert!(!set.has(Feature::Avx512) && !Features::NONE.has(Feature::Avx2));
        assert!(set.contains(Features::NONE) && !Features::NONE.contains(set));
        assert_eq!(
            set.and(Features::of(&[Feature::Avx2])),
            Features::of(&[Feature::Avx2])
        );
    }
}
