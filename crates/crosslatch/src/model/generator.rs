//! The generator of random numbers with which a session begins.

use crosslatch_kernels::random::{Generator, STATE};

use crate::tensor::{Tensor, TensorSizeError};

/// The seed of a fresh process of PyTorch: `default_rng_seed_val` of c10/core/GeneratorImpl.h.
const SEED: u64 = 67_280_421_310_721;

/// The state of the generator as it is in a fresh process of PyTorch.
///
/// # Errors
/// If the system has no memory for it.
pub(super) fn initial() -> Result<Tensor, TensorSizeError> {
    Tensor::from_slice(&[STATE], &Generator::seeded(SEED).state())
}
