//! Running the steps of a plan: kernels in order, and the branches of a `cond`.
//!
//! A plan names memory by block and place; here the places become slices, lent for one kernel at a
//! time by [`Blocks`], which refuses two that overlap where one is written.

use crosslatch_kernels::runtime::{Blocks, Region};
use crosslatch_kernels::{Operands, Storage, TensorMut, TensorRef, Threads};
use smallvec::SmallVec;

use crate::error::Error;
use crate::model::Method;
use crate::plan::{Operand, RunStep, Step};
use crate::tensor::is_true;

/// A session that takes part in a run.
pub(super) struct Member<'r> {
    /// All memory that the steps name.
    pub blocks: Blocks<'r>,
    /// For each slot, whether this session has filled it.
    pub filled: &'r mut [bool],
}

/// A run of a method's steps, in one session or in several that have the same plan.
pub(super) struct Run<'r> {
    /// The sessions.
    pub members: SmallVec<[Member<'r>; 1]>,
    /// Who shares the work.
    pub threads: &'r Threads,
    /// The method.
    pub method: &'r Method,
    /// Memory for what several sessions do together.
    pub memory: &'r mut Storage,
}

impl Run<'_> {
    /// Runs them in order, in these sessions. Where these go different ways, each way is gone by
    /// itself.
    pub fn steps(&mut self, steps: &[Step], who: &[usize]) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Run(step) => match who {
                    [one] => self.kernel(step, *one),
                    _ => self.kernel_together(step, who),
                }
                .map_err(|reason| self.error(&step.node, reason))?,
                Step::Cond {
                    predicate,
                    branches,
                    needs,
                    node,
                } => {
                    let mut ways: [SmallVec<[usize; 4]>; 2] = Default::default();
                    for &member in who {
                        let taken = predicate_of(&self.members[member], predicate)
                            .map_err(|reason| self.error(node, reason))?;
                        ways[if taken { 0 } else { 1 }].push(member);
                    }
                    for (way, who) in ways.iter().enumerate().filter(|(_, who)| !who.is_empty()) {
                        self.check_filled(&needs[way], who, node)?;
                        self.steps(&branches[way], who)?;
                        for &member in who {
                            for slot in &needs[1 - way] {
                                self.members[member].filled[*slot] = true;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a branch may take these slots for filled.
    fn check_filled(&self, needs: &[usize], who: &[usize], node: &str) -> Result<(), Error> {
        for &member in who {
            let filled = &self.members[member].filled;
            if let Some(slot) = needs.iter().find(|slot| !filled[**slot]) {
                return Err(self.method.not_filled(node, *slot));
            }
        }
        Ok(())
    }

    fn error(&self, node: &str, reason: String) -> Error {
        Error::Node {
            method: self.method.program.name.clone(),
            node: node.to_owned(),
            reason,
        }
    }

    fn kernel(&mut self, step: &RunStep, member: usize) -> Result<(), String> {
        let mut opened = Opened::new(&mut self.members[member].blocks, step)?;
        let result = step.kernel.run(&mut opened.operands(self.threads));
        result.map_err(|e| e.to_string())
    }

    fn kernel_together(&mut self, step: &RunStep, who: &[usize]) -> Result<(), String> {
        let members = self.members.iter_mut().enumerate();
        let mut opened = members
            .filter(|(i, _)| who.contains(i))
            .map(|(_, member)| Opened::new(&mut member.blocks, step))
            .collect::<Result<Vec<_>, _>>()?;
        let mut many: Vec<_> = opened
            .iter_mut()
            .map(|opened| opened.operands(self.threads))
            .collect();
        let result = step.kernel.run_batched(&mut many, self.memory);
        result.map_err(|e| e.to_string())
    }
}

fn predicate_of(member: &Member<'_>, operand: &Operand) -> Result<bool, String> {
    let bytes = (member.blocks.read(&operand.region)).map_err(|e| e.to_string())?;
    let tensor = TensorRef::new(operand.dtype, &operand.layout, bytes);
    Ok(is_true(&tensor.map_err(|e| e.to_string())?))
}

/// The operands of a step in one session.
struct Opened<'o> {
    inputs: SmallVec<[TensorRef<'o>; 8]>,
    outputs: SmallVec<[TensorMut<'o>; 4]>,
    scratch: &'o mut [u8],
}

impl<'o> Opened<'o> {
    fn new(blocks: &'o mut Blocks<'_>, step: &'o RunStep) -> Result<Self, String> {
        let regions = |operands: &'_ [Operand]| {
            let regions: SmallVec<[Region; 8]> = operands.iter().map(|o| o.region).collect();
            regions
        };
        let reads = regions(&step.inputs);
        let writes = regions(&step.outputs);
        let (reads, mut writes) = blocks
            .open(
                reads.iter().copied(),
                writes.iter().copied().chain([step.scratch]),
            )
            .map_err(|e| e.to_string())?;
        // The working memory was put last.
        let scratch = writes.pop().unwrap_or_default();
        let mut inputs = SmallVec::new();
        for (operand, bytes) in step.inputs.iter().zip(reads) {
            inputs.push(
                TensorRef::new(operand.dtype, &operand.layout, bytes).map_err(|e| e.to_string())?,
            );
        }
        let mut outputs = SmallVec::new();
        for (operand, bytes) in step.outputs.iter().zip(writes) {
            outputs.push(
                TensorMut::new(operand.dtype, &operand.layout, bytes).map_err(|e| e.to_string())?,
            );
        }
        Ok(Opened {
            inputs,
            outputs,
            scratch,
        })
    }

    fn operands<'c>(&'c mut self, threads: &'c Threads) -> Operands<'c, 'o> {
        Operands {
            inputs: &self.inputs,
            outputs: &mut self.outputs,
            scratch: self.scratch,
            threads,
        }
    }
}
