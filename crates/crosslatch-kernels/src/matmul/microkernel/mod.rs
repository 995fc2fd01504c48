//! The innermost loops of matrix products: a tile of the result in registers.
//!
//! A microkernel computes a tile of a fixed size, a few rows by a few vectors of columns, with one
//! instruction set on one kind of numbers. There are two families: [`mod@f32`], and [`short`],
//! which multiplies numbers of 8 or 16 bits by dot products of whole words. Within a family, the
//! loops for an architecture lie in a file of its name beside `portable.rs`, each an implementation
//! of [`Microkernel`]; the family takes the first in its list that the machine can run, and the
//! products above ask it for the size of its tiles.

pub(crate) mod f32;
pub(crate) mod short;

use crate::runtime::instructions::Features;

/// A loop that computes a tile.
pub(crate) trait Microkernel {
    /// What a tile is computed from, and where it goes.
    type TileOperands<'a>;
    /// The name by which benchmarks and tests speak of it.
    const NAME: &'static str;
    /// The features without which it must not run.
    const FEATURES: Features;
    /// The most rows of a tile.
    const ROWS: usize;
    /// Columns of a tile, always all of them.
    const COLUMNS: usize;

    /// Computes a tile.
    ///
    /// # Safety
    /// The machine has [`Microkernel::FEATURES`], and the operands are as the family's `multiply`
    /// checks them.
    unsafe fn run(operands: Self::TileOperands<'_>);
}

/// The names of the microkernels that products of each kind of numbers use on this machine.
pub fn microkernels() -> Vec<(&'static str, &'static str)> {
    let mut names = vec![
        ("f32", f32::F32Microkernel::best().name),
        ("int16", short::ShortMicrokernel::int16().name),
    ];
    let bytes = short::ShortMicrokernel::signed_int8().or_else(short::ShortMicrokernel::int8);
    names.extend(bytes.map(|kernel| ("int8", kernel.name)));
    names.extend(short::ShortMicrokernel::bf16().map(|kernel| ("bf16", kernel.name)));
    names
}
