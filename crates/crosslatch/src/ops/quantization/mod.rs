//! Operators of quantized programs, as PyTorch's quantization flows write them.
//!
//! A number is stored as an integer: `x ≈ (q - zero_point) * scale`, with a scale and a zero point for a
//! whole tensor, a channel, a row, a group of a row, or a block. All of these are blocks, so that there is
//! one implementation: `blocks` says which elements share a scale, `affine` converts there and back, and
//! `parameters` chooses scale and zero point for the contents of a tensor.
//!
//! The formulas are those of torch/ao/quantization/fx/_decomposed.py (`quantized_decomposed`) and of
//! torchao/quantization/quant_primitives.py (`torchao`), in the order of their operations, because another
//! order rounds some elements to a neighbour.

mod affine;
mod blocks;
mod parameters;

use crate::ir::catalogue::Table;

/// The tables of this folder.
pub(super) const TABLES: &[Table] = &[affine::OPERATORS, parameters::OPERATORS];
