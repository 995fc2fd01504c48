//! The features of x86-64, and functions compiled for them.

use super::{Feature, Features};

/// What `CROSSLATCH_INSTRUCTIONS` may limit the features to.
pub(super) const LIMITS: &[(&str, Features)] = &[
    ("avx2", Features::of(&[Feature::Avx2])),
    ("avx-vnni", Features::of(&[Feature::Avx2, Feature::AvxVnni])),
    (
        "avx512",
        Features::of(&[
            Feature::Avx2,
            Feature::Avx512,
            Feature::Avx512Vnni,
            Feature::Avx512Bf16,
        ]),
    ),
];

/// The features of this machine. What is in AVX-512 counts only beside AVX2.
pub(super) fn detect() -> Features {
    let has_avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let has_avx512 = has_avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let found = [
        (Feature::Avx2, has_avx2),
        (Feature::Avx512, has_avx512),
        (
            Feature::Avx512Vnni,
            has_avx512 && is_x86_feature_detected!("avx512vnni"),
        ),
        (
            Feature::Avx512Bf16,
            has_avx512 && is_x86_feature_detected!("avx512bf16"),
        ),
        (
            Feature::AvxVnni,
            has_avx2 && is_x86_feature_detected!("avxvnni"),
        ),
        (Feature::Amx, has_avx512 && has_amx()),
    ];
    let found = found.into_iter().filter(|(_, is_there)| *is_there);
    Features::of(&found.map(|(feature, _)| feature).collect::<Vec<_>>())
}

/// Whether the machine has tile registers with products of bytes and of bf16, and the system, asked
/// for them, lets this process use them.
///
/// The bits are those of leaf 7 in Intel's Software Developer's Manual, volume 2, CPUID. A process
/// has to ask before its first use, because the registers make what the system saves of a thread
/// larger (Linux: Documentation/arch/x86/xstate.rst).
#[cfg(all(target_os = "linux", not(miri)))]
fn has_amx() -> bool {
    const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    let has_leaf = std::arch::x86_64::__cpuid(0).eax >= 7;
    if !has_leaf || std::arch::x86_64::__cpuid_count(7, 0).edx & BF16_TILE_INT8 != BF16_TILE_INT8 {
        return false;
    }
    // SAFETY: changes nothing but the permission.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    refused == 0
}

/// On other systems nobody has tried how to ask for the registers.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn has_amx() -> bool {
    false
}

/// Every version with vectors is fused.
#[inline]
pub(super) fn is_fused(features: Features) -> bool {
    features.has(Feature::Avx2)
}

/// Makes a function that runs another one, `portable`, compiled for the best instruction set that
/// the machine has. `portable` has a parameter `const FUSED: bool`, which says whether
/// multiplications are fused with additions, and then, if there is one, the type parameter in
/// brackets.
macro_rules! multiversion {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident$([$type:ident: $bound:ident])?
     ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?, $portable:ident) => {
        $(#[$attribute])*
        #[inline]
        $vis fn $name$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
                $portable::<true $(, $type)?>($($arg),*)
            }
            #[target_feature(enable = "avx2,fma")]
            fn avx2$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
                $portable::<true $(, $type)?>($($arg),*)
            }
            use $crate::runtime::instructions::{Feature, features};
            let features = features();
            if features.has(Feature::Avx512) {
                // SAFETY: the machine has these instructions, and those of AVX2.
                return unsafe { avx512$(::<$type>)?($($arg),*) };
            }
            if features.has(Feature::Avx2) {
                // SAFETY: the machine has AVX2 and FMA.
                return unsafe { avx2$(::<$type>)?($($arg),*) };
            }
            $portable::<false $(, $type)?>($($arg),*)
        }
    };
}
pub(crate) use multiversion;
