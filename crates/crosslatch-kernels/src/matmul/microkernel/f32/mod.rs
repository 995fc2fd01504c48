//! Tiles of `f32`.
//!
//! For each step along the depth, one element of each left row is multiplied with one row of the
//! right matrix and added to the tile; nothing is loaded twice, and nothing is stored before the
//! end. The right matrix has been packed for this ([`crate::matmul::packing`]): the columns of the
//! tile lie side by side, one step after the other. The left one is read where it is, with any
//! strides, since only single elements of it are needed at a time; a product in which they are
//! needed often packs it in panels, which have room for more rows where registers are many.
//!
//! An element of the result is one chain of fused multiply-adds in the order of the depth, whatever
//! the size of the tile and wherever the element lies in it: results do not depend on how a product
//! is cut into tiles.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::sync::OnceLock;

use super::Microkernel;
use crate::runtime::instructions::{Features, features};
use crate::tensor::matrix::Strided;

/// Elements of the largest tile.
pub(crate) const LARGEST: usize = 14 * 32;

/// The loops of this architecture, the best first.
#[cfg(target_arch = "x86_64")]
const OF_MACHINE: &[F32Microkernel] = x86_64::MICROKERNELS;
#[cfg(not(target_arch = "x86_64"))]
const OF_MACHINE: &[F32Microkernel] = &[];

const PORTABLE: F32Microkernel = F32Microkernel::of::<portable::Portable>();

/// A [`Microkernel`] of this family, whichever it is.
#[derive(Clone, Copy)]
pub(crate) struct F32Microkernel {
    /// See [`Microkernel::NAME`].
    pub name: &'static str,
    /// See [`Microkernel::ROWS`].
    pub rows: usize,
    /// See [`OfPanels::PANEL_ROWS`].
    pub panel_rows: usize,
    /// See [`Microkernel::COLUMNS`].
    pub columns: usize,
    features: Features,
    run: unsafe fn(F32Operands<'_>),
}

/// What a tile is computed from and where it goes.
pub(super) struct F32Operands<'a> {
    pub depth: usize,
    pub left: Strided<'a>,
    pub rows: usize,
    pub right: &'a [f32],
    pub out: *mut f32,
    pub out_stride: usize,
    pub add: bool,
}

/// A microkernel of this family.
trait OfPanels: for<'a> Microkernel<TileOperands<'a> = F32Operands<'a>> {
    /// The most rows of a tile whose left rows are packed, and the distance of their columns.
    const PANEL_ROWS: usize;
}

impl Strided<'_> {
    /// Whether the rows are packed in panels of so many.
    fn is_panel(&self, panel_rows: usize) -> bool {
        self.row_stride == 1 && self.column_stride == panel_rows
    }
}

impl F32Microkernel {
    const fn of<K: OfPanels>() -> F32Microkernel {
        F32Microkernel {
            name: K::NAME,
            rows: K::ROWS,
            panel_rows: K::PANEL_ROWS,
            columns: K::COLUMNS,
            features: K::FEATURES,
            run: K::run,
        }
    }

    /// The best one for this machine.
    pub fn best() -> F32Microkernel {
        static BEST: OnceLock<F32Microkernel> = OnceLock::new();
        *BEST.get_or_init(|| F32Microkernel::all().next().unwrap_or(PORTABLE))
    }

    /// All that this machine can run, the best first.
    fn all() -> impl Iterator<Item = F32Microkernel> {
        let all = OF_MACHINE.iter().chain([&PORTABLE]).copied();
        all.filter(|kernel| features().contains(kernel.features))
    }

    /// `out = left * right`, or `out += left * right` with `add`. `left` is `rows` by `depth`,
    /// `right` is `depth` by `self.columns`, `out` is `rows` by `self.columns`, the latter two
    /// without gaps. There may be `self.rows` rows, or `self.panel_rows` of a panel.
    ///
    /// # Panics
    /// If a slice is too short or `rows` too large.
    #[inline]
    pub fn multiply(
        &self,
        depth: usize,
        left: Strided<'_>,
        rows: usize,
        right: &[f32],
        out: &mut [f32],
        add: bool,
    ) {
        let out = &mut out[..rows * self.columns];
        // SAFETY: `out` is as long as it must be, and borrowed exclusively.
        unsafe {
            self.multiply_to(
                depth,
                left,
                rows,
                right,
                out.as_mut_ptr(),
                self.columns,
                add,
            )
        }
    }

    /// As [`multiply`](F32Microkernel::multiply), into rows that are `out_stride` apart.
    ///
    /// # Safety
    /// `out.add(i * out_stride)` is `self.columns` elements that may be written, and read if `add`,
    /// for each `i < rows`.
    ///
    /// # Panics
    /// As there.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn multiply_to(
        &self,
        depth: usize,
        left: Strided<'_>,
        rows: usize,
        right: &[f32],
        out: *mut f32,
        out_stride: usize,
        add: bool,
    ) {
        let most_rows = match left.is_panel(self.panel_rows) {
            true => self.panel_rows,
            false => self.rows,
        };
        assert!((1..=most_rows).contains(&rows) && depth > 0);
        let last = (rows - 1) * left.row_stride + (depth - 1) * left.column_stride;
        assert!(last < left.data.len());
        let right = &right[..depth * self.columns];
        // SAFETY: `all` lists a loop only if the machine has the features that it needs; the
        // lengths that it relies on have just been checked, and `out` is the caller's promise.
        unsafe {
            (self.run)(F32Operands {
                depth,
                left,
                rows,
                right,
                out,
                out_stride,
                add,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_microkernel_computes_every_number_of_rows_with_any_strides() {
        let data: Vec<f32> = (0..4000).map(|i| ((i * 37) % 64) as f32 - 31.0).collect();
        for kernel in F32Microkernel::all() {
            assert!(kernel.rows.max(kernel.panel_rows) * kernel.columns <= LARGEST);
            for (depth, row_stride, column_stride) in [
                (1, 5, 1),
                (7, 9, 1),
                (30, 1, 11),
                (3, 0, 2),
                (3, 1, kernel.panel_rows),
                (4, 1, kernel.panel_rows),
                (29, 1, kernel.panel_rows),
            ] {
                let is_panel = row_stride == 1 && column_stride == kernel.panel_rows;
                let most_rows = if is_panel {
                    kernel.panel_rows
                } else {
                    kernel.rows
                };
                for rows in 1..=most_rows {
                    let left = Strided {
                        data: &data[3..],
                        row_stride,
                        column_stride,
                    };
                    let right = &data[100..][..depth * kernel.columns];
                    let mut out = vec![1f32; rows * kernel.columns];
                    kernel.multiply(depth, left, rows, right, &mut out, false);
                    kernel.multiply(depth, left, rows, right, &mut out, true);
                    for i in 0..rows {
                        for j in 0..kernel.columns {
                            // Whole numbers, so that sums are exact in any order.
                            let sum: f32 = (0..depth)
                                .map(|k| {
                                    left.data[i * row_stride + k * column_stride]
                                        * right[k * kernel.columns + j]
                                })
                                .sum();
                            assert_eq!(out[i * kernel.columns + j], 2.0 * sum, "{}", kernel.name);
                        }
                    }
                }
            }
        }
    }
}
