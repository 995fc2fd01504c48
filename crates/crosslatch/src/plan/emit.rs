//! From instructions to steps: every place becomes a region of a block of memory.

use std::sync::Arc;

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::runtime::Region;
use crosslatch_kernels::{DType, Kernel, Layout, Operands};

use super::arena::{self, Piece};
use super::coalesce::Decisions;
use super::instructions::{Inst, Lowered, LoweredOutput, Origin, Place, StorageId};
use super::{
    Memory, Operand, Plan, PlannedOutput, PlannedPiece, PlannedValue, RunStep, Step, block,
};
use crate::error::Error;
use crate::model::{Model, Stored};
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
    let mut workers = Vec::new();
    scratch_pieces(&lowered.insts, &mut 0, &mut pieces, &mut workers);
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
                    (Some(Stored::Quantized(_, range)), _) => Region {
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
        kept: 0,
        position: 0,
        positions: Vec::new(),
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
    let piece = |storage: StorageId| piece_of_class[decisions.class[storage.0].0];
    let values = lowered.values.into_iter().map(|v| PlannedValue {
        memory: memory(v.storage),
        piece: piece(v.storage),
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
    let positions = &emitter.positions;
    Ok(Plan {
        pieces: planned_pieces(&pieces, &starts, positions, first_scratch, &workers),
        steps,
        outputs,
        arena_bytes,
        copies: decisions.kept,
        elided: decisions.removed,
        values,
    })
}

/// Working memory of kernels, wanted at one position only, and their nodes; in program order.
fn scratch_pieces(
    insts: &[Inst],
    position: &mut usize,
    pieces: &mut Vec<Piece>,
    nodes: &mut Vec<Arc<str>>,
) {
    for inst in insts {
        let at = *position;
        *position += 1;
        match inst {
            Inst::Run { kernel, node, .. } => {
                pieces.push(Piece {
                    bytes: kernel.scratch_bytes(),
                    span: (at, at),
                });
                nodes.push(Arc::clone(node));
            }
            Inst::Copy(_) => {}
            Inst::Cond { branches, .. } => {
                for branch in branches {
                    scratch_pieces(branch, position, pieces, nodes);
                }
            }
        }
    }
}

/// The pieces of the arena at the steps that came of the instructions at these positions. `nodes` are
/// those of the pieces from `first_scratch` on.
fn planned_pieces(
    pieces: &[Piece],
    starts: &[usize],
    positions: &[usize],
    first_scratch: usize,
    nodes: &[Arc<str>],
) -> Vec<PlannedPiece> {
    // Of a span that begins or ends at a copy that vanished, what is left.
    let first = |position: usize| positions.partition_point(|p| *p < position);
    let last = |position: usize| positions.partition_point(|p| *p <= position);
    let placed = pieces.iter().zip(starts).enumerate();
    let placed = placed.map(|(i, (piece, start))| PlannedPiece {
        start: *start,
        bytes: piece.bytes,
        steps: (first(piece.span.0), last(piece.span.1).saturating_sub(1)),
        scratch_of: i.checked_sub(first_scratch).map(|n| Arc::clone(&nodes[n])),
    });
    placed.collect()
}

struct Emitter<'a, S> {
    bases: Vec<Region>,
    elided: &'a [bool],
    next_copy: usize,
    /// Copies so far that stay.
    kept: usize,
    /// Of the next instruction.
    position: usize,
    /// Of the instructions that steps came of.
    positions: Vec<usize>,
    scratch: S,
}

impl<S: Iterator<Item = Region>> Emitter<'_, S> {
    fn steps(&mut self, insts: Vec<Inst>) -> Vec<Step> {
        let mut steps = Vec::new();
        for inst in insts {
            let position = self.position;
            self.position += 1;
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
                    self.positions.push(position);
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
                        let mut step = self.run(kernel, &[c.from], &[c.to], c.node);
                        step.copy = Some(self.kept);
                        self.kept += 1;
                        self.positions.push(position);
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
                    self.positions.push(position);
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
            copy: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::types_for;
    use crate::{Options, Session};

    /// Every step's operands in the arena, with the step's number.
    fn in_arena(steps: &[Step], number: &mut usize, found: &mut Vec<(usize, Region)>) {
        for step in steps {
            let at = *number;
            *number += 1;
            match step {
                Step::Run(run) => {
                    let operands = run.inputs.iter().chain(&run.outputs).map(|o| o.region);
                    let regions = operands.chain([run.scratch]);
                    let regions = regions.filter(|r| r.block == block::ARENA && r.len > 0);
                    found.extend(regions.map(|region| (at, region)));
                }
                Step::Cond { branches, .. } => {
                    for branch in branches {
                        in_arena(branch, number, found);
                    }
                }
            }
        }
    }

    #[test]
    fn every_step_works_in_a_piece_that_is_kept_for_it_and_no_two_pieces_overlap() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
        let model = Model::open(std::path::Path::new(path)).unwrap();
        let mut session = Session::new(&model, Options::default()).unwrap();
        for method in model.methods() {
            let types = types_for(&method.program, |symbol| symbol.min.max(1)).unwrap();
            let plan = session.plan(&method.program.name, &types).unwrap();
            let mut used = Vec::new();
            in_arena(&plan.steps, &mut 0, &mut used);
            assert!(used.len() > 50);
            for (at, region) in used {
                let holds = |p: &&PlannedPiece| {
                    let end = p.start + p.bytes;
                    (p.start..=end).contains(&region.start) && region.start + region.len <= end
                };
                let kept = |p: &PlannedPiece| (p.steps.0..=p.steps.1).contains(&at);
                assert!(plan.pieces.iter().filter(holds).any(kept), "step {at}");
            }
            for (i, a) in plan.pieces.iter().enumerate() {
                assert!(a.start + a.bytes <= plan.arena_bytes);
                for b in &plan.pieces[i + 1..] {
                    let together = a.steps.0 <= b.steps.1 && b.steps.0 <= a.steps.1;
                    let apart = a.start + a.bytes <= b.start || b.start + b.bytes <= a.start;
                    assert!(!together || apart || a.bytes == 0 || b.bytes == 0);
                }
            }
        }
    }
}
