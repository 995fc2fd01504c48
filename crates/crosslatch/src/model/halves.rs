//! Weights that a file has in 16 bits and the program types `f32`.
//!
//! They stay as they are where only kernels read them that widen what they load, and sessions share
//! them in the file's memory. The others, which are mostly small (biases, factors of normalizations,
//! positions), are widened when the model is loaded.

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::OutOfMemory;

use crate::ir::Program;
use crate::passes::halves::{is_half, only_widened, type_as_f32};
use crate::pt2::archive::Archive;
use crate::pt2::weights::{Weight, Weights};

/// Removes conversions of such weights from a program that was loaded with these bindings.
pub(super) fn remove_conversions(program: &mut Program, bindings: &mut [Option<Weight>]) {
    // A conversion would lay the elements out anew.
    let is_plain = |slot: usize| {
        let weight = bindings[slot].as_ref();
        weight.is_some_and(|w| is_half(w.dtype) && w.layout.is_contiguous())
    };
    let changed = type_as_f32(program, &is_plain);
    for (weight, _) in bindings
        .iter_mut()
        .zip(changed)
        .filter(|(_, changed)| *changed)
    {
        if let Some(weight) = weight {
            weight.dtype = DType::F32;
        }
    }
}

/// Widens the weights that some reader has to see in their own type.
///
/// # Errors
/// If the system has no memory for a widened weight; and which slot's it is.
pub(super) fn widen_others(
    program: &Program,
    bindings: &mut [Option<Weight>],
    weights: &mut Weights,
    files: &[Archive],
) -> Result<(), (usize, OutOfMemory)> {
    let is_narrow = |weight: &Option<Weight>| weight.as_ref().is_some_and(|w| w.stored != w.dtype);
    if !bindings.iter().any(is_narrow) {
        return Ok(());
    }
    let stay = only_widened(program).into_iter();
    for (slot, (weight, stays)) in bindings.iter_mut().zip(stay).enumerate() {
        if let Some(weight) = weight.as_mut().filter(|w| w.stored != w.dtype && !stays) {
            weights.widen(files, weight).map_err(|e| (slot, e))?;
        }
    }
    Ok(())
}
