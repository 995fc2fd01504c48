//! Looking up int4 weights: from indices of four bits to the int8 weights that they stand for.

mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;

use crate::tensor::int4::{BLOCK, BLOCK_BYTES, GROUPS, Int4Rows};

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// Weights `start ..` of a row, as many as `to` has.
///
/// # Panics
/// If there are no such weights.
pub(crate) fn unpack(rows: &Int4Rows<'_>, row: usize, start: usize, to: &mut [i8]) {
    let part = rows.part(row, start / BLOCK..(start + to.len()).div_ceil(BLOCK));
    let (mut skip, mut to) = (start % BLOCK, to);
    for (factors, indices) in part.factors.iter().zip(part.indices) {
        let filled = to.len().min(BLOCK - skip);
        let (these, rest) = to.split_at_mut(filled);
        match <&mut [i8; BLOCK]>::try_from(&mut *these) {
            Ok(whole) => unpack_block(factors, indices, whole),
            Err(_) => {
                let mut whole = [0; BLOCK];
                unpack_block(factors, indices, &mut whole);
                these.copy_from_slice(&whole[skip..][..filled]);
            }
        }
        (skip, to) = (0, rest);
    }
}

/// The weights of a block, group by group.
#[inline]
pub(crate) fn unpack_block(
    factors: &[u8; GROUPS],
    indices: &[u8; BLOCK_BYTES],
    to: &mut [i8; BLOCK],
) {
    machine::unpack_block(factors, indices, to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::int4::TABLES;

    fn bytes(n: usize, seed: u32) -> Vec<u8> {
        (0..n as u32)
            .map(|i| ((i ^ seed).wrapping_mul(2654435761) >> 13) as u8)
            .collect()
    }

    #[test]
    fn any_part_of_a_row_is_looked_up_as_the_format_says() {
        let columns = 5 * BLOCK;
        let (factors, indices) = (bytes(2 * 5 * GROUPS, 3), bytes(2 * 5 * BLOCK_BYTES, 4));
        let rows = Int4Rows::new(columns, factors.as_chunks().0, indices.as_chunks().0);
        let value = |row: usize, k: usize| {
            let (block, group, i) = (row * 5 + k / BLOCK, k % BLOCK / 32, k % 32);
            let byte = indices[block * BLOCK_BYTES + 2 * i + group / 2];
            let index = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            TABLES[factors[block * GROUPS + group] as usize][index as usize]
        };
        for (start, len) in [
            (0, 640),
            (0, 0),
            (1, 1),
            (127, 2),
            (128, 128),
            (250, 300),
            (639, 1),
        ] {
            for row in 0..2 {
                let mut to = vec![0; len];
                unpack(&rows, row, start, &mut to);
                let wanted: Vec<i8> = (start..start + len).map(|k| value(row, k)).collect();
                assert_eq!(to, wanted, "{start} {len}");
            }
        }
    }
}
