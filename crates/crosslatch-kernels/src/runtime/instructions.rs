//! Which vector instructions the machine has, and functions compiled for each set of them.
//!
//! Most inner loops are written once, portably, in a form that compilers turn into vector
//! instructions. [`compiled`] compiles such a function for the baseline and for each set below, and
//! runs the best that the machine has; a loop that needs certain instructions asks for them here.
//! Which set is used is decided once per process. `CROSSLATCH_INSTRUCTIONS` in the environment names
//! the largest that may be used, `portable`, `avx2` or `avx512`, for comparing and for tests.
//!
//! The sets with vectors fuse multiplications with additions; all of them give the same bits.

use std::sync::OnceLock;

/// Sets of instructions, each with all that come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Instructions {
    /// What every machine has that the program is built for.
    Portable,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512 with its forms for shorter vectors, bytes, and double words.
    Avx512,
}

/// The best set that may be used.
pub(crate) fn instructions() -> Instructions {
    static BEST: OnceLock<Instructions> = OnceLock::new();
    *BEST.get_or_init(|| {
        let most = match std::env::var("CROSSLATCH_INSTRUCTIONS").as_deref() {
            Ok("portable") => Instructions::Portable,
            Ok("avx2") => Instructions::Avx2,
            _ => Instructions::Avx512,
        };
        most.min(of_machine())
    })
}

#[cfg(target_arch = "x86_64")]
fn of_machine() -> Instructions {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return Instructions::Portable;
    }
    let has_all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match has_all {
        true => Instructions::Avx512,
        false => Instructions::Avx2,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_machine() -> Instructions {
    Instructions::Portable
}

/// Whether AVX2 and fused multiply-add may be used.
pub(crate) fn has_avx2() -> bool {
    instructions() >= Instructions::Avx2
}

/// Whether AVX-512 may be used.
pub(crate) fn has_avx512() -> bool {
    instructions() >= Instructions::Avx512
}

/// Whether products of small integers, added up in 32 bits, may be used beside AVX-512.
pub(crate) fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_avx512() && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether products of bf16, added up in `f32`, may be used beside AVX-512.
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_avx512() && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Makes a function that runs another one, `portable`, compiled for the best set of instructions.
/// That one has a parameter `const FUSED: bool`: whether multiplications are fused with additions;
/// then, if there is one, the parameter in brackets.
macro_rules! compiled {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident$([$type:ident: $bound:ident])?
     ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?, $portable:ident) => {
        $(#[$attribute])*
        #[inline]
        $vis fn $name$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
                    $portable::<true $(, $type)?>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
                    $portable::<true $(, $type)?>($($arg),*)
                }
                match $crate::runtime::instructions::instructions() {
                    $crate::runtime::instructions::Instructions::Portable => {}
                    // SAFETY: the machine has AVX2 and FMA.
                    $crate::runtime::instructions::Instructions::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: the machine has these, and those of AVX2.
                    $crate::runtime::instructions::Instructions::Avx512 => return unsafe { avx512($($arg),*) },
                }
            }
            $portable::<false $(, $type)?>($($arg),*)
        }
    };
}
pub(crate) use compiled;
