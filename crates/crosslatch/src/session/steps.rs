//! Running the steps of a plan: kernels in order, the branches of a `cond`, the turns of a loop.
//!
//! A plan names memory by block and place; here the places become slices, lent for one kernel at a
//! time by [`Blocks`], which refuses two that overlap where one is written.

use std::ops::Range;

use crosslatch_kernels::runtime::{Blocks, Region};
use crosslatch_kernels::{Operands, Storage, TensorMut, TensorRef, Threads};
use smallvec::SmallVec;

use super::written::{Written, lies_in_order};
use crate::error::Error;
use crate::model::Method;
use crate::options::TurnsTaken;
use crate::plan::{Block, Location, Operand, Repeat, RunStep, Step};
use crate::tensor::is_true;

/// A session that takes part in a run.
pub(super) struct Member<'r> {
    /// All memory that the steps name, in the order of [`block_index`].
    pub blocks: Blocks<'r>,
    /// For each slot, whether this session has filled it.
    pub filled: &'r mut [bool],
    /// For each slot that is state, its bytes in that block.
    pub slots: &'r [Option<Range<usize>>],
    /// For each slot, what of it has been written.
    pub written: &'r mut [Written],
}

/// A run of a method's steps, in one session or in several that have the same plan.
pub(super) struct Run<'r> {
    /// The sessions.
    pub members: SmallVec<[Member<'r>; 1]>,
    /// Who shares the work.
    pub threads: &'r Threads,
    /// The method.
    pub method: &'r Method,
    /// How many files the model has.
    pub files: usize,
    /// Working memory for steps that several sessions take together.
    pub memory: &'r mut Storage,
    /// How many turns loops have taken.
    pub turns: TurnsTaken,
}

impl Run<'_> {
    /// Runs them in order, in these sessions. Where these go different ways, each way is gone by
    /// itself.
    pub fn steps(&mut self, steps: &[Step], who: &[usize]) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Run(step) => self
                    .kernel(step, who)
                    .map_err(|reason| self.error(&step.node, reason))?,
                Step::Loop { repeat, body, node } => self.repeat(repeat, body, who, node)?,
                Step::Cond {
                    predicate,
                    branches,
                    needs,
                    node,
                } => {
                    let mut takers: [SmallVec<[usize; 4]>; 2] = Default::default();
                    for &member in who {
                        let is_true = self
                            .predicate(member, predicate)
                            .map_err(|reason| self.error(node, reason))?;
                        takers[if is_true { 0 } else { 1 }].push(member);
                    }
                    let taken = takers.iter().enumerate();
                    for (branch, who) in taken.filter(|(_, who)| !who.is_empty()) {
                        self.check_filled(&needs[branch], who, node)?;
                        self.steps(&branches[branch], who)?;
                        for &member in who {
                            for slot in &needs[1 - branch] {
                                self.members[member].filled[*slot] = true;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs the turns of a loop, in each session as many as it needs.
    fn repeat(
        &mut self,
        repeat: &Repeat,
        body: &[Step],
        who: &[usize],
        node: &str,
    ) -> Result<(), Error> {
        let mut going: SmallVec<[usize; 4]> = SmallVec::from_slice(who);
        for turn in 0.. {
            match repeat {
                Repeat::Times(turns) if turn == *turns => return Ok(()),
                Repeat::Times(_) => {}
                Repeat::While(head, tested) => {
                    self.steps(head, &going)?;
                    let mut goes_on = SmallVec::new();
                    for member in going {
                        let is_true = self
                            .predicate(member, tested)
                            .map_err(|reason| self.error(node, reason))?;
                        if is_true {
                            goes_on.push(member);
                        }
                    }
                    going = goes_on;
                    if going.is_empty() {
                        return Ok(());
                    }
                }
            }
            let counted = self.turns.count();
            counted.map_err(|reason| self.error(node, reason))?;
            self.steps(body, &going)?;
        }
        Ok(())
    }

    /// Checks that these slots are filled in these sessions.
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

    /// Runs a kernel in these sessions. In one alone it needs no list of operands.
    fn kernel(&mut self, step: &RunStep, who: &[usize]) -> Result<(), String> {
        let (method, files) = (self.method, self.files);
        if let [one] = who {
            let mut opened = self.members[*one].open(step, method, files)?;
            let result = step.kernel.run(&mut opened.operands(self.threads));
            return result.map_err(|e| e.to_string());
        }
        let members = self.members.iter_mut().enumerate();
        let mut opened = members
            .filter(|(i, _)| who.contains(i))
            .map(|(_, member)| member.open(step, method, files))
            .collect::<Result<Vec<_>, _>>()?;
        let mut many: Vec<_> = opened
            .iter_mut()
            .map(|opened| opened.operands(self.threads))
            .collect();
        let result = step.kernel.run_batched(&mut many, self.memory);
        result.map_err(|e| e.to_string())
    }

    /// Whether a predicate is true in a session.
    fn predicate(&self, member: usize, operand: &Operand) -> Result<bool, String> {
        let region = region(&operand.location, self.files);
        let bytes = self.members[member].blocks.read(&region);
        let bytes = bytes.map_err(|e| e.to_string())?;
        let tensor = TensorRef::new(operand.dtype, &operand.layout, bytes);
        Ok(is_true(&tensor.map_err(|e| e.to_string())?))
    }
}

impl<'r> Member<'r> {
    /// The operands of a step, with a note of what it will write.
    fn open<'o>(
        &'o mut self,
        step: &'o RunStep,
        method: &Method,
        files: usize,
    ) -> Result<Opened<'o>, String> {
        let opened = Opened::new(&mut self.blocks, step, files)?;
        for output in &step.outputs {
            let location = &output.location;
            let holds = |slot: &Option<Range<usize>>| {
                let holds = |slot: &Range<usize>| slot.contains(&location.start);
                slot.as_ref().is_some_and(holds)
            };
            if location.block != Block::State || location.len == 0 {
                continue;
            }
            if let Some(i) = self.slots.iter().position(holds) {
                let layout = method.bindings[i].as_ref().map(|weight| &weight.layout);
                let is_whole = layout.is_some_and(|layout| {
                    lies_in_order(layout)
                        && layout.shape == output.layout.shape
                        && layout.strides == output.layout.strides
                });
                let entries = match is_whole {
                    true => step.kernel.entries_written(&opened.inputs),
                    false => None,
                };
                let written = entries.map_or(Written::All, Written::Entries);
                self.written[i] = self.written[i].or(written);
            }
        }
        Ok(opened)
    }
}

/// The index of a plan's block among a member's blocks, for a model of this many files.
fn block_index(block: Block, files: usize) -> usize {
    match block {
        Block::Arena => 0,
        Block::State => 1,
        Block::Copied => 2,
        Block::Quantized => 3,
        Block::File(file) => 4 + file,
        Block::Input(input) => 4 + files + input,
    }
}

/// The bytes of a location, among the blocks of a member.
fn region(location: &Location, files: usize) -> Region {
    Region {
        block: block_index(location.block, files),
        start: location.start,
        len: location.len,
    }
}

/// The operands of a step in one session.
struct Opened<'o> {
    inputs: SmallVec<[TensorRef<'o>; 8]>,
    outputs: SmallVec<[TensorMut<'o>; 4]>,
    scratch: &'o mut [u8],
}

impl<'o> Opened<'o> {
    fn new(blocks: &'o mut Blocks<'_>, step: &'o RunStep, files: usize) -> Result<Self, String> {
        let regions = |operands: &[Operand]| -> SmallVec<[Region; 8]> {
            let locations = operands.iter().map(|operand| &operand.location);
            locations.map(|location| region(location, files)).collect()
        };
        let reads = regions(&step.inputs);
        let writes = regions(&step.outputs);
        let scratch = region(&step.scratch, files);
        let (reads, mut writes) = blocks
            .open(
                reads.iter().copied(),
                writes.iter().copied().chain([scratch]),
            )
            .map_err(|e| e.to_string())?;
        // The working memory comes last.
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
