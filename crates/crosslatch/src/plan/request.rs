//! What a plan is made for.

use std::ops::Range;

use crosslatch_kernels::{DType, Layout};

use crate::error::Error;
use crate::ir::{KernelSet, Number};
use crate::memory::MemoryLimit;
use crate::model::{Method, Model, Stored};
use crate::precision::Precision;

/// A method, the sizes of its inputs, and how a session runs it.
pub struct Request<'r> {
    /// The model, as it is in this precision.
    pub model: &'r Model,
    /// Index of the method.
    pub method: usize,
    /// Type and layout of each tensor that a run is fed with.
    pub inputs: &'r [(DType, Layout)],
    /// The numbers that earlier segments computed, in the order of their slots.
    pub numbers: &'r [Number],
    /// For each slot that is state, its bytes in the state of the session.
    pub state: &'r [Option<Range<usize>>],
    /// Which kernels to choose.
    pub kernels: KernelSet,
    /// How weights are stored.
    pub precision: Precision,
    /// The most memory that the session may take.
    pub limit: MemoryLimit,
}

impl<'r> Request<'r> {
    /// The method.
    pub fn method(&self) -> &'r Method {
        &self.model.methods()[self.method]
    }

    /// How each slot of the method is stored; empty if all have their own types.
    pub fn stored(&self) -> &'r [Stored] {
        let weights = self.model.quantized_weights(self.precision);
        weights.map_or(&[], |weights| weights.slots(self.method))
    }

    /// An error of the plan as a whole.
    pub fn error(&self, reason: &str) -> Error {
        Error::Node {
            method: self.method().program.name.clone(),
            node: "plan".into(),
            reason: reason.to_owned(),
        }
    }
}
