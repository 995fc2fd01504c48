//! How the rows of an int4 matrix lie in memory: four bits for each weight.
//!
//! An int4 weight is an int8 weight of which only sixteen values may occur. Thirty-two weights
//! beside each other in a row are a *group*, and its byte, the *factor*, names the sixteen: they are
//! the [`LEVELS`] times the factor, rounded ([`TABLES`]). A weight is an index among them. So
//! whatever multiplies int8 rows can multiply these once the indices have been looked up, with one
//! scale for each row as ever, and the sums are those of the int8 rows, bit for bit.
//!
//! Four groups are a *block*: 32 words of 16 bits, little-endian. The four nibbles of word `i`, from
//! the lowest up, are weight `i` of each of the four groups, so that a shift brings a whole group to
//! where it is looked up from. Rows are filled up to whole blocks, whatever with.

/// Weights that share a factor.
pub(crate) const GROUP: usize = 32;

/// Groups of a block.
pub(crate) const GROUPS: usize = 4;

/// Weights of a block.
pub(crate) const BLOCK: usize = GROUP * GROUPS;

/// Bytes of the indices of a block.
pub(crate) const BLOCK_BYTES: usize = BLOCK / 2;

/// What the indices stand for in a group whose factor is 127, in ascending order. They lie closer
/// together near zero, where most weights are.
pub(crate) const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// For each factor, a signed byte, what the indices stand for. Every byte has a table, so that none
/// has to be refused.
pub(crate) static TABLES: [[i8; 16]; 256] = tables();

/// [`LEVELS`] times a factor between -1 and 1, of which `factor` is 127 times as much, rounded.
pub(crate) const fn table(factor: i8) -> [i8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let product = LEVELS[i] as i32 * factor as i32;
        let rounded = (2 * product + 127).div_euclid(254);
        table[i] = if rounded < -127 {
            -127
        } else if rounded > 127 {
            127
        } else {
            rounded
        } as i8;
        i += 1;
    }
    table
}

const fn tables() -> [[i8; 16]; 256] {
    let mut tables = [[0; 16]; 256];
    let mut factor = 0;
    while factor < 256 {
        tables[factor] = table(factor as u8 as i8);
        factor += 1;
    }
    tables
}

/// Blocks of a row of so many weights.
pub(crate) const fn blocks(columns: usize) -> usize {
    columns.div_ceil(BLOCK)
}

/// The rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Int4Rows<'a> {
    /// Blocks of a row.
    blocks: usize,
    factors: &'a [[u8; GROUPS]],
    indices: &'a [[u8; BLOCK_BYTES]],
}

impl<'a> Int4Rows<'a> {
    /// Rows of `columns` weights: the factors of each block, then the blocks, both row by row.
    pub fn new(
        columns: usize,
        factors: &'a [[u8; GROUPS]],
        indices: &'a [[u8; BLOCK_BYTES]],
    ) -> Int4Rows<'a> {
        let blocks = blocks(columns);
        Int4Rows {
            blocks,
            factors,
            indices,
        }
    }

    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// These blocks of a row.
    #[inline(always)]
    pub fn part(&self, row: usize, blocks: std::ops::Range<usize>) -> Int4Blocks<'a> {
        let from = row * self.blocks + blocks.start;
        Int4Blocks {
            factors: &self.factors[from..][..blocks.len()],
            indices: &self.indices[from..][..blocks.len()],
        }
    }
}

/// Blocks of a row, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Int4Blocks<'a> {
    /// The factors of each.
    pub factors: &'a [[u8; GROUPS]],
    /// The indices of each.
    pub indices: &'a [[u8; BLOCK_BYTES]],
}

impl Int4Blocks<'_> {
    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.indices.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_levels_times_the_factor() {
        for factor in -127..=127i8 {
            let table = TABLES[factor as u8 as usize];
            for (level, value) in LEVELS.iter().zip(table) {
                let exact = *level as f64 * factor as f64 / 127.0;
                assert!(
                    (exact - value as f64).abs() <= 0.5,
                    "{level} {factor} {value}"
                );
            }
        }
    }
}
