//! Fourier transforms: PyTorch's core operators, the functions of `torch.fft`, and those of short
//! times.

mod functions;
mod short_time;
mod transforms;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[
    functions::OPERATORS,
    short_time::OPERATORS,
    transforms::OPERATORS,
];
