//! The size of the cache that blocks of matrices are cut for.
//!
//! A kernel that goes over a block of rows many times wants it to stay in the cache that a core has
//! for itself, the second level. Its size differs fourfold between the machines of one decade, and
//! so the block is cut for the machine at hand. No result depends on it.

use std::sync::OnceLock;

/// What is assumed where the machine does not say: the smallest one among machines with AVX2.
const UNKNOWN: usize = 256 << 10;

/// Bytes of the second-level cache of a core.
pub(crate) fn second_level() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| machine::second_level().unwrap_or(UNKNOWN))
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod machine {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// Intel lists caches in leaf 4 (Software Developer's Manual, volume 2, CPUID), AMD in leaf
    /// 0x8000001d, in the same form (Architecture Programmer's Manual, volume 3, appendix E).
    pub(super) fn second_level() -> Option<usize> {
        let leaves = [(0, 4), (0x8000_0000, 0x8000_001d)];
        let known = leaves
            .into_iter()
            .filter(|(base, leaf)| __cpuid(*base).eax >= *leaf);
        known.into_iter().find_map(|(_, leaf)| size_in(leaf))
    }

    /// The size of the unified cache of level 2 in a list of caches.
    fn size_in(leaf: u32) -> Option<usize> {
        const UNIFIED: u32 = 3;
        const MOST: u32 = 16;
        let caches = (0..MOST).map(|i| __cpuid_count(leaf, i));
        let found = caches
            .take_while(|cache| cache.eax & 0x1f != 0)
            .find(|cache| cache.eax & 0x1f == UNIFIED && cache.eax >> 5 & 7 == 2)?;
        // Each field holds one less.
        let field = |shift: u32, bits: u32| (found.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
        Some(field(22, 10) * field(12, 10) * field(0, 12) * (found.ecx as usize + 1))
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod machine {
    pub(super) fn second_level() -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_level_cache_has_the_size_of_one() {
        assert!((64 << 10..=64 << 20).contains(&second_level()));
    }
}
