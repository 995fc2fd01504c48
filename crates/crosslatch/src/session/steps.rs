//! Running the steps of a plan: kernels in order, and the branches of a `cond`.
//!
//! A plan names memory by block and place; here the places become slices, lent for one kernel at a
//! time by [`Blocks`], which refuses two that overlap where one is written.

use crosslatch_kernels::memory::{Blocks, Region};
use crosslatch_kernels::{Operands, TensorMut, TensorRef, Threads};
use smallvec::SmallVec;

use crate::error::Error;
use crate::model::Model;
use crate::plan::{Operand, RunStep, Step};
use crate::reference::is_true;

/// A run of a method's steps.
pub(super) struct Run<'r> {
    /// All memory that the steps name.
    pub blocks: Blocks<'r>,
    /// Who shares the work.
    pub threads: &'r Threads,
    /// Name of the method.
    pub method: &'r str,
    /// Its model.
    pub model: &'r Model,
    /// For each slot, whether this session has filled it.
    pub filled: &'r mut [bool],
}

impl Run<'_> {
    /// Runs them in order.
    pub fn steps(&mut self, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Run(step) => self
                    .kernel(step)
                    .map_err(|reason| self.error(&step.node, reason))?,
                Step::Cond {
                    predicate,
                    branches,
                    needs,
                    node,
                } => {
                    let taken = self
                        .predicate(predicate)
                        .map_err(|reason| self.error(node, reason))?;
                    let (taken, other) = if taken { (0, 1) } else { (1, 0) };
                    if let Some(slot) = needs[taken].iter().find(|slot| !self.filled[**slot]) {
                        return Err(not_filled(self.model, self.method, node, *slot));
                    }
                    self.steps(&branches[taken])?;
                    for slot in &needs[other] {
                        self.filled[*slot] = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn error(&self, node: &str, reason: String) -> Error {
        Error::Node {
            method: self.method.to_owned(),
            node: node.to_owned(),
            reason,
        }
    }

    fn predicate(&self, operand: &Operand) -> Result<bool, String> {
        let bytes = self
            .blocks
            .read(&operand.region)
            .map_err(|e| e.to_string())?;
        let tensor = TensorRef::new(operand.dtype, &operand.layout, bytes);
        Ok(is_true(&tensor.map_err(|e| e.to_string())?))
    }

    fn kernel(&mut self, step: &RunStep) -> Result<(), String> {
        let regions = |operands: &'_ [Operand]| {
            let regions: SmallVec<[Region; 8]> = operands.iter().map(|o| o.region).collect();
            regions
        };
        let reads = regions(&step.inputs);
        let writes = regions(&step.outputs);
        let (reads, mut writes) = self
            .blocks
            .open(
                reads.iter().copied(),
                writes.iter().copied().chain([step.scratch]),
            )
            .map_err(|e| e.to_string())?;
        // The working memory was put last.
        let scratch = writes.pop().unwrap_or_default();
        let mut inputs: SmallVec<[TensorRef<'_>; 8]> = SmallVec::new();
        for (operand, bytes) in step.inputs.iter().zip(reads) {
            inputs.push(
                TensorRef::new(operand.dtype, &operand.layout, bytes).map_err(|e| e.to_string())?,
            );
        }
        let mut outputs: SmallVec<[TensorMut<'_>; 4]> = SmallVec::new();
        for (operand, bytes) in step.outputs.iter().zip(writes) {
            outputs.push(
                TensorMut::new(operand.dtype, &operand.layout, bytes).map_err(|e| e.to_string())?,
            );
        }
        step.kernel
            .run(&mut Operands {
                inputs: &inputs,
                outputs: &mut outputs,
                scratch,
                threads: self.threads,
            })
            .map_err(|e| e.to_string())
    }
}

/// The error of a `cond` that takes a slot for filled.
pub(crate) fn not_filled(model: &Model, method: &str, node: &str, slot: usize) -> Error {
    let of = model.methods().iter().find(|m| m.program.name == method);
    let slot = of.and_then(|m| m.program.slots.get(slot));
    Error::NotFilled {
        method: method.to_owned(),
        node: node.to_owned(),
        slot: slot.map_or(String::new(), |s| s.name.clone()),
    }
}
