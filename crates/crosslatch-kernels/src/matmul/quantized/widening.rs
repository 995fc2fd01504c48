//! Quantized weights as the right side of a product in `f32`: they are widened while they are
//! packed, so that the microkernel computes as ever. Machines without instructions for a format
//! multiply many rows this way.

use crate::matmul::packing::{Pack, Packing};
use crate::movement::quantize::dequantize_row;
use crate::simd::transpose::transpose;
use crate::tensor::quantized::QuantizedMatrix;

/// Steps along the depth, and columns of a strip, that are widened at a time.
const STEPS: usize = 64;
const COLUMNS: usize = 32;

/// The product is with the transposed matrix: column `j` of the right side is row `j` here.
impl Pack for QuantizedMatrix<'_> {
    fn pack(&self, piece: &Packing, to: &mut [f32]) {
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
                        dequantize_row(self, first + c + j, steps.clone(), to);
                    }
                    let to = &mut strip[(k - depth.start) * width + c..];
                    transpose(&widened, STEPS, side, steps.len(), width, to);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::movement::quantize::quantize;
    use crate::tensor::quantized::WeightFormat;
    use crate::{Storage, Threads};

    #[test]
    fn strips_hold_the_widened_rows_as_columns() {
        let threads = Threads::new(1);
        let (rows, columns) = (45, 150);
        let numbers: Vec<f32> = (0..(rows * columns) as u32)
            .map(|i| ((i ^ 3).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0)
            .collect();
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
            let size = [rows, columns];
            quantize(format, &numbers, size, to.bytes_mut(), &threads, &|_| {}).unwrap();
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
