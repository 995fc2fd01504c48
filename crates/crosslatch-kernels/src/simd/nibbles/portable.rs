//! Looking up on any machine.

use crate::tensor::int4::{BLOCK, BLOCK_BYTES, GROUP, GROUPS, TABLES};

/// See [`unpack_block`](super::unpack_block).
pub(super) fn unpack_block(
    factors: &[u8; GROUPS],
    indices: &[u8; BLOCK_BYTES],
    to: &mut [i8; BLOCK],
) {
    for (group, to) in to.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let table = &TABLES[factors[group] as usize];
        for (word, to) in indices.as_chunks::<2>().0.iter().zip(to) {
            let index = u16::from_le_bytes(*word) >> (4 * group) & 15;
            *to = table[index as usize];
        }
    }
}
