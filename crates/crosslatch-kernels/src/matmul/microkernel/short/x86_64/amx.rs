//! Tiles of short numbers in AMX: whole matrices in registers.
//!
//! A tile register holds sixteen rows of sixteen words. One instruction multiplies such a block of
//! left rows with a block of a packed strip, whose layout is the one that the instruction wants,
//! and adds the products to a block of sums. A *group* is four blocks of sums, two of each operand:
//! all eight registers.
//!
//! The shapes of the registers are set before a tile and forgotten after it, which takes as long as
//! a small group; a tile is therefore several groups. In exchange nothing is left behind: other
//! code of the process may use the registers in between, and the system need not save them.
//!
//! What bounds a group is the second-level cache, from which the left rows come. They are loaded
//! with the hint that they need not stay in the first level, where the strip stays: 1,270 instead of
//! 900 billion multiply-adds of bf16 a second on a core of Sapphire Rapids.

use std::arch::asm;
use std::ops::Range;

use super::super::{ShortMicrokernel, ShortOperands};
use crate::matmul::microkernel::Microkernel;
use crate::runtime::instructions::{Feature, Features};

/// For words of four bytes with signs on both sides.
pub(in super::super) const SIGNED_INT8: &[ShortMicrokernel<i32>] =
    &[ShortMicrokernel::of::<Int8Amx>()];

/// For words of two bf16.
pub(in super::super) const FAST_BF16: &[ShortMicrokernel<f32>] =
    &[ShortMicrokernel::of::<Bf16Amx>()];

/// Rows, and words of a row, of a register.
const SIDE: usize = 16;

/// Bytes of a row of a packed strip and of the sums.
const STRIDE: usize = COLUMNS * 4;

/// Rows of a group.
const GROUP: usize = 2 * SIDE;

/// Rows of a tile.
const ROWS: usize = 3 * GROUP;

const COLUMNS: usize = 2 * SIDE;

/// What `ldtilecfg` reads (Intel's Software Developer's Manual, volume 1, chapter 18): the palette
/// in byte 0, the bytes of a row of each register from byte 16, in 16 bits each, and its rows from
/// byte 48.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

impl Shapes {
    /// For a group of so many rows: registers 0 and 1 hold the sums of the first ones, 2 and 3 of
    /// the others, 4 and 5 the left rows, 6 and 7 the two halves of a strip.
    const fn of(rows: usize) -> Shapes {
        let first = if rows < SIDE { rows } else { SIDE };
        let second = rows - first;
        let rows = [first, first, second, second, first, second, SIDE, SIDE];
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut i = 0;
        while i < rows.len() {
            if rows[i] > 0 {
                bytes[16 + 2 * i] = (SIDE * 4) as u8;
                bytes[48 + i] = rows[i] as u8;
            }
            i += 1;
        }
        Shapes(bytes)
    }
}

/// The shapes for each number of rows of a group.
static SHAPES: [Shapes; GROUP + 1] = {
    let mut shapes = [const { Shapes::of(0) }; GROUP + 1];
    let mut rows = 1;
    while rows <= GROUP {
        shapes[rows] = Shapes::of(rows);
        rows += 1;
    }
    shapes
};

/// Sets the shapes for groups of `rows` rows.
///
/// # Safety
/// The machine has the instruction, and the system lets this process use it.
#[inline(always)]
unsafe fn set_shapes(rows: usize) {
    // SAFETY: the shapes are valid for every number of rows; otherwise as the caller vouches.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPES[rows], options(nostack, readonly)) };
}

/// A number of whole steps along the depth, each of [`SIDE`] words.
struct Steps {
    count: usize,
    left: *const u32,
    /// Bytes between left rows.
    left_stride: usize,
    right: *const u32,
}

/// Loads the two registers of a block's rows of sums.
macro_rules! load_sums {
    ($sums:ident, $first:literal, $second:literal) => {
        asm!(
            concat!("tileloadd ", $first, ", [{sums} + {stride}]"),
            concat!("tileloadd ", $second, ", [{sums} + {stride} + 64]"),
            sums = in(reg) $sums, stride = in(reg) STRIDE,
            options(nostack, readonly),
        )
    };
}

/// Stores the two registers of a block's rows of sums.
macro_rules! store_sums {
    ($sums:ident, $first:literal, $second:literal) => {
        asm!(
            concat!("tilestored [{sums} + {stride}], ", $first),
            concat!("tilestored [{sums} + {stride} + 64], ", $second),
            sums = in(reg) $sums, stride = in(reg) STRIDE,
            options(nostack),
        )
    };
}

/// A microkernel with a kind of words: the same loops with its instruction.
macro_rules! microkernel {
    ($kernel:ident, $name:literal, $sum_type:ty, $dot:literal) => {
        struct $kernel;

        impl Microkernel for $kernel {
            type TileOperands<'a> = ShortOperands<'a, $sum_type>;
            const NAME: &'static str = $name;
            const FEATURES: Features = Features::of(&[Feature::Amx]);
            const ROWS: usize = ROWS;
            const COLUMNS: usize = COLUMNS;

            unsafe fn run(mut o: ShortOperands<'_, $sum_type>) {
                let mut shaped = 0;
                for first in (0..o.rows).step_by(GROUP) {
                    let rows = first..o.rows.min(first + GROUP);
                    if rows.len() != shaped {
                        shaped = rows.len();
                        // SAFETY: the machine has the instructions, as the caller vouches.
                        unsafe { set_shapes(shaped) };
                    }
                    // SAFETY: the shapes are those of so many rows.
                    unsafe { Self::group(&mut o, rows) };
                }
                // SAFETY: nothing reads the registers after this.
                unsafe { asm!("tilerelease", options(nostack, nomem)) };
            }
        }

        impl $kernel {
            /// The sums of a group's rows.
            ///
            /// # Safety
            /// The shapes for so many rows are set.
            #[inline(always)]
            unsafe fn group(o: &mut ShortOperands<'_, $sum_type>, rows: Range<usize>) {
                let has_second = rows.len() > SIDE;
                let sums = &mut o.sums[rows.start * COLUMNS..rows.end * COLUMNS];
                let sums = sums.as_mut_ptr();
                let left = &o.left[rows.start * o.row_length..];
                // SAFETY: the sums have rows of `COLUMNS` elements, and registers of the
                // second rows are used only if there are any, here as below.
                unsafe { Self::begin(sums, has_second, o.add) };
                for pass in o.passes {
                    let left = &left[pass.left..];
                    let right = &o.right[pass.right * COLUMNS..];
                    // SAFETY: the shapes are set, and the sums loaded.
                    unsafe { Self::pass(o.words, (left, o.row_length), rows.len(), right) };
                }
                // SAFETY: as where the sums were loaded.
                unsafe { Self::end(sums, has_second) };
            }

            /// Adds the products of some words of `rows` left rows to the sums in the registers.
            ///
            /// # Safety
            /// The shapes for so many rows are set and the sums loaded; each of the rows,
            /// `row_length` apart, has `words` words, and the right side `words` rows of
            /// [`COLUMNS`].
            #[inline(always)]
            unsafe fn pass(
                words: usize,
                (left, row_length): (&[u32], usize),
                rows: usize,
                right: &[u32],
            ) {
                let has_second = rows > SIDE;
                let whole = words / SIDE;
                if whole > 0 {
                    let steps = Steps {
                        count: whole,
                        left: left.as_ptr(),
                        left_stride: row_length * 4,
                        right: right.as_ptr(),
                    };
                    // SAFETY: as the caller vouches.
                    unsafe { Self::add(steps, has_second) };
                }
                let rest = words % SIDE;
                if rest > 0 {
                    let mut last = [0u32; GROUP * SIDE];
                    for (i, to) in last.chunks_exact_mut(SIDE).take(rows).enumerate() {
                        let from = &left[i * row_length + whole * SIDE..];
                        to[..rest].copy_from_slice(&from[..rest]);
                    }
                    let mut end = [0u32; SIDE * COLUMNS];
                    let from = &right[whole * SIDE * COLUMNS..];
                    end[..rest * COLUMNS].copy_from_slice(&from[..rest * COLUMNS]);
                    let step = Steps {
                        count: 1,
                        left: last.as_ptr(),
                        left_stride: SIDE * 4,
                        right: end.as_ptr(),
                    };
                    // SAFETY: as many elements as a step reads.
                    unsafe { Self::add(step, has_second) };
                }
            }

            /// Fills the registers of the sums.
            ///
            /// # Safety
            /// The shapes are set; `sums` has as many elements as they say.
            #[inline(always)]
            unsafe fn begin(sums: *const $sum_type, has_second: bool, add: bool) {
                if !add {
                    // SAFETY: writes registers only.
                    unsafe { asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem)) };
                    if has_second {
                        // SAFETY: writes registers only.
                        unsafe { asm!("tilezero tmm2", "tilezero tmm3", options(nostack, nomem)) };
                    }
                    return;
                }
                // SAFETY: reads what the caller vouches for.
                unsafe { load_sums!(sums, "tmm0", "tmm1") };
                if has_second {
                    let sums = sums.wrapping_add(SIDE * COLUMNS);
                    // SAFETY: as above.
                    unsafe { load_sums!(sums, "tmm2", "tmm3") };
                }
            }

            /// Adds the products of steps, at least one, to the sums in the registers.
            ///
            /// # Safety
            /// The shapes are set and the sums loaded; each left row has [`SIDE`] words a step, and
            /// the right side [`SIDE`] rows of [`COLUMNS`] words.
            #[inline(always)]
            unsafe fn add(steps: Steps, has_second: bool) {
                let second = steps.left.wrapping_byte_add(SIDE * steps.left_stride);
                if has_second {
                    // SAFETY: reads what the caller vouches for.
                    unsafe {
                        asm!(
                            "2:",
                            "tileloadd tmm6, [{right} + {stride}]",
                            "tileloaddt1 tmm4, [{left} + {left_stride}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm7, [{right} + {stride} + 64]",
                            concat!($dot, " tmm1, tmm4, tmm7"),
                            "tileloaddt1 tmm5, [{second} + {left_stride}]",
                            concat!($dot, " tmm2, tmm5, tmm6"),
                            concat!($dot, " tmm3, tmm5, tmm7"),
                            "add {right}, {step}",
                            "add {left}, 64",
                            "add {second}, 64",
                            "dec {count}",
                            "jnz 2b",
                            right = inout(reg) steps.right => _,
                            left = inout(reg) steps.left => _,
                            second = inout(reg) second => _,
                            count = inout(reg) steps.count => _,
                            stride = in(reg) STRIDE,
                            left_stride = in(reg) steps.left_stride,
                            step = const SIDE * STRIDE,
                            options(nostack, readonly),
                        );
                    }
                } else {
                    // SAFETY: as above.
                    unsafe {
                        asm!(
                            "2:",
                            "tileloadd tmm6, [{right} + {stride}]",
                            "tileloaddt1 tmm4, [{left} + {left_stride}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm7, [{right} + {stride} + 64]",
                            concat!($dot, " tmm1, tmm4, tmm7"),
                            "add {right}, {step}",
                            "add {left}, 64",
                            "dec {count}",
                            "jnz 2b",
                            right = inout(reg) steps.right => _,
                            left = inout(reg) steps.left => _,
                            count = inout(reg) steps.count => _,
                            stride = in(reg) STRIDE,
                            left_stride = in(reg) steps.left_stride,
                            step = const SIDE * STRIDE,
                            options(nostack, readonly),
                        );
                    }
                }
            }

            /// Stores the sums.
            ///
            /// # Safety
            /// As for `begin`, where the sums may be written.
            #[inline(always)]
            unsafe fn end(sums: *mut $sum_type, has_second: bool) {
                // SAFETY: writes what the caller vouches for.
                unsafe { store_sums!(sums, "tmm0", "tmm1") };
                if has_second {
                    let sums = sums.wrapping_add(SIDE * COLUMNS);
                    // SAFETY: as above.
                    unsafe { store_sums!(sums, "tmm2", "tmm3") };
                }
            }
        }
    };
}

microkernel!(Int8Amx, "AMX int8 96x32", i32, "tdpbssd");
microkernel!(Bf16Amx, "AMX bf16 96x32", f32, "tdpbf16ps");
