//! How the numbers of a tensor are stored, and what they are as `f32`.
//!
//! Three kinds occur. Plain floats. ggml's blocks of 32 numbers of a row, which share a scale, an
//! `f16`, and in some formats a smallest number (ggml-common.h and ggml-quants.c of ggml describe
//! them). And CTranslate2's rows of small integers, which are divided by one scale a row.

use std::ops::Range;

use half::{bf16, f16};

/// How the numbers of a tensor are stored. All are little-endian.
#[derive(Clone, Debug)]
pub enum Encoding {
    /// Floats.
    Float(Float),
    /// ggml's blocks.
    Blocks(Block),
    /// Integers of so many bytes, 1 or 2, each divided by the scale of its row.
    Scaled {
        /// Bytes of an integer.
        bytes: usize,
        /// The scales.
        scales: Scales,
    },
    /// A type that no weight has.
    Other(String),
}

/// A type of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    F32,
    F16,
    BF16,
}

/// The scales of rows, in the same file.
#[derive(Clone, Debug)]
pub struct Scales {
    /// Where they lie.
    pub range: Range<usize>,
    /// What they are.
    pub float: Float,
    /// How many integers share one: those of a row, or all of a tensor.
    pub shared_by: usize,
}

/// A format of blocks of ggml, named as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

/// Numbers in a block.
pub const BLOCK: usize = 32;

impl Float {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Float::F32 => 4,
            Float::F16 | Float::BF16 => 2,
        }
    }

    /// The numbers that these bytes are.
    pub fn numbers(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Float::F32 => {
                let words = bytes.as_chunks().0.iter();
                words.map(|word| f32::from_le_bytes(*word)).collect()
            }
            Float::F16 => halves(bytes)
                .map(|half| f16::from_le_bytes(half).to_f32())
                .collect(),
            Float::BF16 => halves(bytes)
                .map(|half| bf16::from_le_bytes(half).to_f32())
                .collect(),
        }
    }
}

/// Elements of two bytes.
fn halves(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

impl Block {
    /// Bytes of a block: its scale, its smallest number, the fifth bits, the rest.
    pub fn size(self) -> usize {
        match self {
            Block::Q4_0 => 2 + 16,
            Block::Q4_1 => 2 + 2 + 16,
            Block::Q5_0 => 2 + 4 + 16,
            Block::Q5_1 => 2 + 2 + 4 + 16,
            Block::Q8_0 => 2 + 32,
        }
    }

    /// Appends the numbers of a block.
    fn numbers(self, block: &[u8], numbers: &mut Vec<f32>) {
        let float = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let scale = float(0);
        if self == Block::Q8_0 {
            let bytes = block[2..].iter();
            numbers.extend(bytes.map(|&byte| f32::from(byte.cast_signed()) * scale));
            return;
        }
        let (least, fifth, rest) = match self {
            Block::Q4_0 => (-8.0 * scale, None, &block[2..]),
            Block::Q4_1 => (float(2), None, &block[4..]),
            Block::Q5_0 => (-16.0 * scale, Some(&block[2..6]), &block[6..]),
            _ => (float(2), Some(&block[4..8]), &block[8..]),
        };
        // The first half of the numbers is in the low four bits, the second in the high ones.
        let low = rest.iter().map(|byte| byte & 15);
        let high = rest.iter().map(|byte| byte >> 4);
        for (i, bits) in low.chain(high).enumerate() {
            let fifth = fifth.map_or(0, |fifth| (fifth[i / 8] >> (i % 8) & 1) << 4);
            numbers.push(f32::from(bits | fifth) * scale + least);
        }
    }
}

impl Encoding {
    /// Bytes of a tensor of this shape; `None` if it cannot be stored so.
    pub fn size(&self, shape: &[usize]) -> Option<usize> {
        let numel = shape
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))?;
        match self {
            Encoding::Float(float) => numel.checked_mul(float.size()),
            Encoding::Scaled { bytes, .. } => numel.checked_mul(*bytes),
            Encoding::Blocks(block) => {
                let is_whole = shape.last().is_some_and(|row| row.is_multiple_of(BLOCK));
                is_whole.then(|| (numel / BLOCK).checked_mul(block.size()))?
            }
            Encoding::Other(_) => None,
        }
    }

    /// The numbers that these bytes of a file are.
    ///
    /// # Errors
    /// The name of the type, if it is none for weights.
    pub fn numbers(&self, file: &[u8], range: Range<usize>) -> Result<Vec<f32>, &str> {
        let bytes = &file[range];
        match self {
            Encoding::Float(float) => Ok(float.numbers(bytes)),
            Encoding::Blocks(block) => {
                let blocks = bytes.chunks_exact(block.size());
                let mut numbers = Vec::with_capacity(blocks.len() * BLOCK);
                for one in blocks {
                    block.numbers(one, &mut numbers);
                }
                Ok(numbers)
            }
            Encoding::Scaled {
                bytes: size,
                scales,
            } => {
                let mut numbers: Vec<f32> = match size {
                    1 => bytes
                        .iter()
                        .map(|&byte| f32::from(byte.cast_signed()))
                        .collect(),
                    _ => halves(bytes)
                        .map(|half| f32::from(i16::from_le_bytes(half)))
                        .collect(),
                };
                let by = scales.float.numbers(&file[scales.range.clone()]);
                for (row, scale) in numbers.chunks_mut(scales.shared_by.max(1)).zip(by) {
                    row.iter_mut().for_each(|number| *number /= scale);
                }
                Ok(numbers)
            }
            Encoding::Other(name) => Err(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block whose bytes count up behind a scale of a half and, if it has one, a least of -3.
    fn numbers(block: Block) -> Vec<f32> {
        let mut bytes = f16::from_f32(0.5).to_le_bytes().to_vec();
        if matches!(block, Block::Q4_1 | Block::Q5_1) {
            bytes.extend(f16::from_f32(-3.0).to_le_bytes());
        }
        if matches!(block, Block::Q5_0 | Block::Q5_1) {
            bytes.extend(0x8000_0005u32.to_le_bytes());
        }
        let rest = block.size() - bytes.len();
        bytes.extend((0..rest as u8).map(|i| i | 0x30));
        let encoding = Encoding::Blocks(block);
        assert_eq!(encoding.size(&[1, 32]), Some(bytes.len()));
        assert_eq!(encoding.size(&[32, 1]), None);
        encoding.numbers(&bytes, 0..bytes.len()).unwrap()
    }

    #[test]
    fn blocks_are_scaled_integers() {
        let close = |numbers: &[f32], at: [usize; 4]| at.map(|i| numbers[i]);
        // Low bits 0, 1, 2 … 15, then high bits 3.
        assert_eq!(
            close(&numbers(Block::Q4_0), [0, 1, 15, 31]),
            [-4.0, -3.5, 3.5, -2.5]
        );
        assert_eq!(
            close(&numbers(Block::Q4_1), [0, 1, 15, 31]),
            [-3.0, -2.5, 4.5, -1.5]
        );
        // The fifth bit of numbers 0, 2 and 31 is set.
        assert_eq!(
            close(&numbers(Block::Q5_0), [0, 1, 2, 31]),
            [0.0, -7.5, 1.0, 1.5]
        );
        assert_eq!(
            close(&numbers(Block::Q5_1), [0, 1, 2, 31]),
            [5.0, -2.5, 6.0, 6.5]
        );
        assert_eq!(
            close(&numbers(Block::Q8_0), [0, 1, 15, 31]),
            [24.0, 24.5, 31.5, 31.5]
        );
    }

    #[test]
    fn rows_are_divided_by_their_scales() {
        let mut file = vec![2u8, 0xfe, 100, 0x9c];
        file.extend([2f32, 0.5].map(f32::to_le_bytes).as_flattened());
        let scales = Scales {
            range: 4..12,
            float: Float::F32,
            shared_by: 2,
        };
        let rows = Encoding::Scaled { bytes: 1, scales };
        assert_eq!(
            rows.numbers(&file, 0..4).unwrap(),
            [1.0, -1.0, 200.0, -200.0]
        );
    }
}
