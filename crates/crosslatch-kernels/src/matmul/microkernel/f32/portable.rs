//! Tiles of `f32` on any machine, in a form that compilers vectorise.

use super::{F32Operands, OfPanels};
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::Features;

pub(super) struct Portable;

impl OfPanels for Portable {
    const PANEL_ROWS: usize = 4;
}

impl Microkernel for Portable {
    type TileOperands<'a> = F32Operands<'a>;
    const NAME: &'static str = "portable 4x8";
    const FEATURES: Features = Features::NONE;
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;

    unsafe fn run(o: F32Operands<'_>) {
        let mut sums = [[0f32; 8]; 4];
        for k in 0..o.depth {
            let right = &o.right[k * 8..][..8];
            for (i, sum) in sums.iter_mut().enumerate().take(o.rows) {
                let a = o.left.data[i * o.left.row_stride + k * o.left.column_stride];
                for (s, b) in sum.iter_mut().zip(right) {
                    *s += a * b;
                }
            }
        }
        for (i, sum) in sums.iter().enumerate().take(o.rows) {
            // SAFETY: the caller's promise.
            let out = unsafe { std::slice::from_raw_parts_mut(o.out.add(i * o.out_stride), 8) };
            for (y, s) in out.iter_mut().zip(sum) {
                *y = if o.add { *y + s } else { *s };
            }
        }
    }
}
