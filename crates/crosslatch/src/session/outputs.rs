//! The outputs of a run, read where the run left them.

use crosslatch_kernels::TensorRef;

use super::method::MethodState;
use crate::error::Error;
use crate::ir::Program;
use crate::model::Model;
use crate::plan::{Block, Operand, PlannedOutput};

/// The outputs of a method's last run.
#[derive(Clone, Copy)]
pub struct Outputs<'s> {
    pub(super) model: &'s Model,
    pub(super) program: &'s Program,
    pub(super) method: &'s MethodState,
}

impl<'s> Outputs<'s> {
    fn planned(&self) -> Option<&'s [(String, PlannedOutput)]> {
        let plan = &self.method.plans[self.method.last?].plan;
        Some(&plan.outputs)
    }

    /// The output with this name.
    ///
    /// # Errors
    /// If the method has not run since the session was made or reset, or has no such output.
    pub fn get(&self, name: &str) -> Result<TensorRef<'s>, Error> {
        let not_run = || Error::NotRun {
            method: self.program.name.clone(),
        };
        let planned = self.planned().ok_or_else(not_run)?;
        let Some((_, output)) = planned.iter().find(|(n, _)| n == name) else {
            return Err(Error::NoSuchOutput {
                method: self.program.name.clone(),
                name: name.to_owned(),
                available: planned.iter().map(|(n, _)| n.clone()).collect(),
            });
        };
        self.tensor(output).ok_or_else(not_run)
    }

    /// All outputs, in the order of the program; none if the method has not run.
    pub fn iter(&self) -> impl Iterator<Item = (&'s str, TensorRef<'s>)> + '_ {
        let planned = self.planned().unwrap_or_default().iter();
        planned.filter_map(|(name, output)| Some((name.as_str(), self.tensor(output)?)))
    }

    fn tensor(&self, output: &'s PlannedOutput) -> Option<TensorRef<'s>> {
        let operand = match output {
            PlannedOutput::Tensor(operand) => operand,
            PlannedOutput::Constant(tensor) => return Some(tensor.view()),
        };
        let at = &operand.location;
        if at.block != Block::State {
            return in_memory(self.model, self.method.arena(), operand);
        }
        // A slot is borrowed as a whole; an output may be a part of it.
        let mut slots = self.method.slots.iter().flatten();
        let slot = slots.find(|s| s.start <= at.start && at.start + at.len <= s.end)?;
        let bytes = self.method.state(slot)?.get(at.start - slot.start..)?;
        TensorRef::new(operand.dtype, &operand.layout, bytes.get(..at.len)?).ok()
    }
}

/// A tensor that a run left in its arena, or that is a weight.
pub(super) fn in_memory<'s>(
    model: &'s Model,
    arena: &'s [u8],
    operand: &'s Operand,
) -> Option<TensorRef<'s>> {
    let at = &operand.location;
    let block = match at.block {
        Block::Arena => arena,
        Block::Copied => model.copied_bytes(),
        Block::File(file) => model.files().get(file)?.contents().bytes(),
        // State is read slot by slot, no output is quantized, and the plan copies what would be an
        // input.
        Block::State | Block::Quantized | Block::Input(_) => return None,
    };
    let bytes = block.get(at.start..)?.get(..at.len)?;
    TensorRef::new(operand.dtype, &operand.layout, bytes).ok()
}
