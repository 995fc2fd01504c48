//! Weights in fewer bits as the right side of a product in `f32`: they are widened while they are
//! packed, so that the microkernel computes as ever.
//!
//! Weights that a file has in 16 bits are always multiplied this way in `f32`. Quantized ones are
//! where the machine has no instructions for their format.

use std::ops::Range;

use half::{bf16, f16};

use crate::matmul::packing::{Pack, Packing, RightElement};
use crate::movement::quantize::dequantize_row;
use crate::simd::convert::Half;
use crate::simd::transpose::transpose;
use crate::tensor::matrix::Matrices;
use crate::tensor::quantized::QuantizedMatrix;

/// Steps along the depth, and columns of a strip, that are widened at a time.
const STEPS: usize = 64;
const COLUMNS: usize = 32;

/// The product is with the transposed matrix: column `j` of the right side is row `j` here.
impl Pack for QuantizedMatrix<'_> {
    fn pack(&self, piece: &Packing, to: &mut [f32]) {
        pack_widened(piece, to, |column, steps, to| {
            dequantize_row(self, column, steps, to);
        });
    }
}

impl RightElement for f16 {
    fn pack(matrices: &Matrices<'_, f16>, piece: &Packing, to: &mut [f32]) {
        pack_halves(matrices, piece, to);
    }
}

impl RightElement for bf16 {
    fn pack(matrices: &Matrices<'_, bf16>, piece: &Packing, to: &mut [f32]) {
        pack_halves(matrices, piece, to);
    }
}

fn pack_halves<W: Half>(matrices: &Matrices<'_, W>, piece: &Packing, to: &mut [f32]) {
    let matrix = matrices.at(piece.batch);
    pack_widened(piece, to, |column, steps, to| {
        let from = matrix.from(steps.start, column);
        if from.row_stride == 1 {
            return W::widen_all(&from.data[..to.len()], to);
        }
        for (k, x) in to.iter_mut().enumerate() {
            *x = from.data[k * from.row_stride].widen();
        }
    });
}

/// Packs columns that `widen` writes: a column of the right side, and which of its elements.
fn pack_widened(piece: &Packing, to: &mut [f32], widen: impl Fn(usize, Range<usize>, &mut [f32])) {
    let (depth, width) = (&piece.depth, piece.width);
    let mut widened = [0f32; COLUMNS * STEPS];
    for (first, filled, strip) in piece.strips(to) {
        if filled < width {
            strip.fill(0.0);
        }
        for k in depth.clone().step_by(STEPS) {
            let steps = k..depth.end.min(k + STEPS);
            for c in (0..filled).step_by(COLUMNS) {
                let side = COLUMNS.min(filled - c);
                for j in 0..side {
                    let to = &mut widened[j * STEPS..][..steps.len()];
                    widen(first + c + j, steps.clone(), to);
                }
                let to = &mut strip[(k - depth.start) * width + c..];
                transpose(&widened, STEPS, side, steps.len(), width, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::movement::quantize::{Unquantized, quantize};
    use crate::tensor::quantized::WeightFormat;
    use crate::{Storage, Threads};

    #[test]
    fn strips_hold_the_widened_rows_as_columns() {
        let threads = Threads::new(1);
        let (rows, columns) = (45, 150);
        let numbers: Vec<f32> = (0..(rows * columns) as u32)
            .map(|i| ((i ^ 3).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0)
            .collect();
        for format in [WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4] {
            let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
            let size = [rows, columns];
            quantize(
                format,
                Unquantized::F32(&numbers),
                size,
                to.bytes_mut(),
                &threads,
                &|_| {},
            )
            .unwrap();
            let matrix = QuantizedMatrix::new(format, rows, columns, to.bytes()).unwrap();
            for (depth, part, width) in [(0..150, 0..45, 16), (3..80, 9..20, 8), (5..6, 1..45, 40)]
            {
                let strips = part.len().div_ceil(width);
                let mut packed = vec![f32::NAN; strips * width * depth.len()];
                let piece = Packing {
                    batch: 0,
                    depth: depth.clone(),
                    columns: part.clone(),
                    width,
                };
                matrix.pack(&piece, &mut packed);
                let mut row = vec![0f32; depth.len()];
                for s in 0..strips * width {
                    row.fill(0.0);
                    if s < part.len() {
                        dequantize_row(&matrix, part.start + s, depth.clone(), &mut row);
                    }
                    for (k, x) in row.iter().enumerate() {
                        let at = (s / width * depth.len() + k) * width + s % width;
                        assert_eq!(packed[at], *x);
                    }
                }
            }
        }
    }
}
