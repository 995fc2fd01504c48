//! From instructions to steps: every place becomes a region of a block of memory.

use std::sync::Arc;

use crosslatch_kernels::copy::copy;
use crosslatch_kernels::memory::Region;
use crosslatch_kernels::{DType, Kernel, Layout, Operands};

use super::arena::{self, Piece};
use super::coalesce::Decisions;
use super::instructions::{Inst, Lowered, LoweredOutput, Origin, Place, StorageId};
use super::{Memory, Operand, Plan, PlannedOutput, PlannedValue, RunStep, Step, block};
use crate::error::Error;
use crate::model::Model;
use crate::precision::Stored;
use crate::pt2::weights::Source;

/// Turns instructions into steps. `state` says where in the state block each slot lies, `stored`
/// which weights are narrow.
pub fn emit(
    lowered: Lowered,
    decisions: Decisions,
    model: &Model,
    method: usize,
    state: &[Option<Region>],
    stored: &[Stored],
) -> Result<Plan, Error> {
    let method = &model.methods()[method];
    let fail = |reason: &str| Error::Node {
        method: method.program.name.clone(),
        node: "plan".into(),
        reason: reason.to_owned(),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut piece_of_class = vec![None; decisions.span.len()];
    for (class, span) in decisions.span.iter().enumerate() {
        if let Some(span) = span {
            piece_of_class[class] = Some(pieces.len());
            pieces.push(Piece {
                bytes: decisions.bytes[class],
                span: *span,
            });
        }
    }
    let first_scratch = pieces.len();
    let mut position = 0;
    scratch_pieces(&lowered.insts, &mut position, &mut pieces);
    let (starts, arena_bytes) =
        arena::place(&pieces).ok_or_else(|| fail("the memory that it needs overflows"))?;

    let mut bases = Vec::new();
    for (storage, class) in decisions.class.iter().enumerate() {
        let bytes = lowered.storages[storage].bytes;
        let base = match decisions.origin[class.0] {
            Origin::Fresh => match piece_of_class[class.0] {
                Some(piece) => Region {
                    block: block::ARENA,
                    start: starts[piece],
                    len: bytes,
                },
                // Never touched.
                None => Region {
                    block: block::ARENA,
                    start: 0,
                    len: 0,
                },
            },
            Origin::Input(n) => Region {
                block: block::FILES + model.files().len() + n,
                start: 0,
                len: bytes,
            },
            Origin::State(slot) => state
                .get(slot)
                .copied()
                .flatten()
                .ok_or_else(|| fail("a state slot has no memory"))?,
            Origin::Weight(slot) => {
                let weight = method.bindings[slot]
                    .as_ref()
                    .ok_or_else(|| fail("a weight has no payload"))?;
                match (stored.get(slot), &weight.source) {
                    (Some(Stored::Narrow(_, range)), _) => Region {
                        block: block::NARROW,
                        start: range.start,
                        len: range.len(),
                    },
                    (_, Source::File(file, range)) => Region {
                        block: block::FILES + file,
                        start: range.start,
                        len: range.len(),
                    },
                    (_, Source::Copied(range)) => Region {
                        block: block::COPIED,
                        start: range.start,
                        len: range.len(),
                    },
                }
            }
        };
        bases.push(base);
    }
    let mut emitter = Emitter {
        bases,
        elided: &decisions.elided,
        next_copy: 0,
        scratch: pieces[first_scratch..]
            .iter()
            .zip(&starts[first_scratch..])
            .map(|(piece, start)| Region {
                block: block::ARENA,
                start: *start,
                len: piece.bytes,
            }),
    };
    let input_names: Vec<&str> = crate::inputs::fed_slots(&method.program)
        .map(|(_, name)| name)
        .collect();
    let slot = |i: usize| method.program.slots[i].name.clone();
    let memory = |storage: StorageId| match decisions.origin[decisions.class[storage.0].0] {
        Origin::State(i) => Memory::State(slot(i)),
        Origin::Weight(i) => Memory::Weight(slot(i)),
        Origin::Input(n) => Memory::Input(input_names[n].to_owned()),
        Origin::Fresh => Memory::Run,
    };
    let values = lowered.values.into_iter().map(|v| PlannedValue {
        memory: memory(v.storage),
        name: v.name,
        made_by: v.made_by,
    });
    let values = values.collect();
    let steps = emitter.steps(lowered.insts);
    let outputs = lowered
        .outputs
        .into_iter()
        .map(|(name, output)| {
            let output = match output {
                LoweredOutput::Place(place) => {
                    PlannedOutput::Tensor(operand(&emitter.bases, &place))
                }
                LoweredOutput::Constant(tensor) => PlannedOutput::Constant(tensor),
            };
            (name, output)
        })
        .collect();
    Ok(Plan {
        steps,
        outputs,
        arena_bytes,
        copies: decisions.kept,
        elided: decisions.removed,
        values,
    })
}

/// Working memory of kernels, wanted at one position only; in program order of the kernels.
fn scratch_pieces(insts: &[Inst], position: &mut usize, pieces: &mut Vec<Piece>) {
    for inst in insts {
        let at = *position;
        *position += 1;
        match inst {
            Inst::Run { kernel, .. } => pieces.push(Piece {
                bytes: kernel.scratch_bytes(),
                span: (at, at),
            }),
            Inst::Copy(_) => {}
            Inst::Cond { branches, .. } => {
                for branch in branches {
                    scratch_pieces(branch, position, pieces);
                }
            }
        }
    }
}

struct Emitter<'a, S> {
    bases: Vec<Region>,
    elided: &'a [bool],
    next_copy: usize,
    scratch: S,
}

impl<S: Iterator<Item = Region>> Emitter<'_, S> {
    fn steps(&mut self, insts: Vec<Inst>) -> Vec<Step> {
        let mut steps = Vec::new();
        for inst in insts {
            match inst {
                Inst::Run {
                    kernel,
                    inputs,
                    outputs,
                    flops,
                    bytes,
                    node,
                    ..
                } => {
                    let scratch = self.scratch.next().unwrap_or(Region {
                        block: block::ARENA,
                        start: 0,
                        len: 0,
                    });
                    let mut step = self.run(kernel, &inputs, &outputs, node);
                    step.scratch = scratch;
                    step.flops = flops;
                    step.bytes = bytes.unwrap_or(step.bytes);
                    steps.push(Step::Run(step));
                }
                Inst::Copy(c) => {
                    let elided = self.elided[self.next_copy];
                    self.next_copy += 1;
                    if !elided {
                        let kernel = Box::new(|o: &mut Operands<'_, '_>| {
                            copy(&mut o.outputs[0], &o.inputs[0], o.threads);
                            Ok(())
                        });
                        let step = self.run(kernel, &[c.from], &[c.to], c.node);
                        steps.push(Step::Run(step));
                    }
                }
                Inst::Cond {
                    predicate,
                    branches,
                    needs,
                    node,
                } => {
                    let [a, b] = branches;
                    steps.push(Step::Cond {
                        predicate: operand(&self.bases, &predicate),
                        branches: [self.steps(a), self.steps(b)],
                        needs,
                        node,
                    });
                }
            }
        }
        steps
    }

    fn run(
        &self,
        kernel: Box<dyn Kernel>,
        inputs: &[Place],
        outputs: &[Place],
        node: Arc<str>,
    ) -> RunStep {
        let operands = |places: &[Place]| -> Vec<Operand> {
            places.iter().map(|p| operand(&self.bases, p)).collect()
        };
        let (inputs, outputs) = (operands(inputs), operands(outputs));
        let bytes = |o: &Operand| o.layout.numel() * o.dtype.size();
        RunStep {
            kernel,
            bytes: inputs.iter().chain(&outputs).map(bytes).sum::<usize>() as u64,
            inputs,
            outputs,
            scratch: Region {
                block: block::ARENA,
                start: 0,
                len: 0,
            },
            flops: 0,
            node,
        }
    }
}

/// The region of a place: from its first element to its last. Of a weight in a narrow format it is
/// all bytes, of which the kernel knows what they mean.
fn operand(bases: &[Region], place: &Place) -> Operand {
    let base = bases[place.storage.0];
    if base.block == block::NARROW {
        return Operand {
            region: base,
            dtype: DType::U8,
            layout: Layout::contiguous(&[base.len]),
        };
    }
    let size = place.dtype.size();
    let layout = Layout {
        offset: 0,
        ..place.layout.clone()
    };
    let (start, len) = match place.layout.numel() {
        0 => (0, 0),
        // Lowering checked that the layout's end is a number and lies inside the storage.
        _ => (place.layout.offset * size, layout.end().unwrap_or(0) * size),
    };
    Operand {
        region: Region {
            block: base.block,
            start: base.start + start,
            len,
        },
        dtype: place.dtype,
        layout,
    }
}
