//! Products with quantized weights.

pub(crate) mod activations;
pub(crate) mod gemm;
pub(crate) mod gemv;
