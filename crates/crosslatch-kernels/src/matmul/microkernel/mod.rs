//! The innermost loops of matrix products: a tile of the result in registers.

pub(crate) mod tile;
pub(crate) mod words;
