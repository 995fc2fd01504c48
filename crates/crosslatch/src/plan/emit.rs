//! From instructions to steps: every place becomes a location in memory.

use std::collections::HashMap;
use std::sync::Arc;

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::{DType, Kernel, Layout, Operands};

use super::Request;
use super::coalesce::Decisions;
use super::instructions::Position;
use super::instructions::{Copy, CopyId, Inst, Lowered, LoweredOutput, Origin, Place, Turns};
use super::placement::Placement;
use super::report::{Memory, PlannedPiece, PlannedValue};
use super::steps::{Block, Location, Operand, Plan, PlannedOutput, Repeat, RunStep, Step};

/// Turns instructions into a plan.
pub fn emit(
    request: &Request<'_>,
    lowered: Lowered,
    decisions: Decisions,
    placement: &Placement,
) -> Plan {
    let inputs = crate::inputs::fed_slots(&request.method().program);
    let inputs: Vec<&str> = inputs.map(|(_, name)| name).collect();
    let values = lowered.values.into_iter();
    let values = values.map(|value| PlannedValue {
        memory: memory(request, &inputs, decisions.origin_of(value.storage)),
        piece: placement.piece(&decisions, value.storage),
        name: value.name,
        made_by: value.made_by,
    });
    let values = values.collect();
    let kept = decisions.kept.iter().enumerate();
    let mut emitter = Emitter {
        placement,
        kept: kept.map(|(i, (id, _))| (*id, i)).collect(),
        next: 0,
        positions: Vec::new(),
    };
    let steps = emitter.steps(lowered.insts);
    let outputs = lowered.outputs.into_iter().map(|(name, output)| {
        let output = match output {
            LoweredOutput::Place(place) => PlannedOutput::Tensor(operand(placement, &place)),
            LoweredOutput::Constant(tensor) => PlannedOutput::Constant(tensor),
        };
        (name, output)
    });
    Plan {
        steps,
        outputs: outputs.collect(),
        arena_bytes: placement.arena_bytes,
        pieces: planned_pieces(placement, &emitter.positions),
        copies: decisions.kept.into_iter().map(|(_, copy)| copy).collect(),
        elided: decisions.elided,
        values,
    }
}

/// The memory that a storage of this origin lives in, by name.
fn memory(request: &Request<'_>, inputs: &[&str], origin: Origin) -> Memory {
    let slot = |i: usize| request.method().program.slots[i].name.clone();
    match origin {
        Origin::State(i) => Memory::State(slot(i)),
        Origin::Weight(i) => Memory::Weight(slot(i)),
        Origin::Input(n) => Memory::Input(inputs[n].to_owned()),
        Origin::Fresh => Memory::Run,
    }
}

/// The pieces of the arena, needed by the steps that came from the instructions at these positions.
fn planned_pieces(placement: &Placement, positions: &[Position]) -> Vec<PlannedPiece> {
    // A span may begin or end at a copy that vanished; what is left of it counts.
    let first = |position: Position| positions.partition_point(|p| *p < position);
    let last = |position: Position| positions.partition_point(|p| *p <= position);
    let pieces = placement.pieces.iter();
    let pieces = pieces.map(|placed| {
        let (from, to) = placed.piece.span;
        PlannedPiece {
            start: placed.start,
            bytes: placed.piece.bytes,
            steps: (first(from), last(to).saturating_sub(1)),
            scratch_of: placed.scratch_of.clone(),
        }
    });
    pieces.collect()
}

struct Emitter<'p> {
    placement: &'p Placement,
    /// The copies that stay, and which of [`Plan::copies`] each one is.
    kept: HashMap<CopyId, usize>,
    /// Position of the next instruction.
    next: Position,
    /// Positions of the instructions that became steps.
    positions: Vec<Position>,
}

impl Emitter<'_> {
    fn steps(&mut self, insts: Vec<Inst>) -> Vec<Step> {
        let mut steps = Vec::new();
        for inst in insts {
            let at = self.next;
            self.next += 1;
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
                    let step = self.run(kernel, &inputs, &outputs, node);
                    self.positions.push(at);
                    steps.push(Step::Run(RunStep {
                        scratch: self.placement.scratch[&at],
                        flops,
                        bytes: bytes.unwrap_or(step.bytes),
                        ..step
                    }));
                }
                Inst::Copy(copy) => {
                    if let Some(&kept) = self.kept.get(&copy.id) {
                        self.positions.push(at);
                        steps.push(Step::Run(self.copy(copy, kept)));
                    }
                }
                Inst::Cond {
                    predicate,
                    branches,
                    needs,
                    node,
                } => {
                    self.positions.push(at);
                    steps.push(Step::Cond {
                        predicate: operand(self.placement, &predicate),
                        branches: branches.map(|branch| self.steps(branch)),
                        needs,
                        node,
                    });
                }
                Inst::Loop {
                    turns,
                    regions: [head, body],
                    node,
                } => {
                    self.positions.push(at);
                    let tested = head.last().and_then(|inst| match inst {
                        Inst::Test { predicate } => Some(operand(self.placement, predicate)),
                        _ => None,
                    });
                    let head = self.steps(head);
                    let repeat = match (turns, tested) {
                        (Turns::While, Some(tested)) => Repeat::While(head, tested),
                        (Turns::Times(turns), _) => Repeat::Times(turns),
                        (Turns::While, None) => unreachable!("the head of a loop ends with a test"),
                    };
                    let body = self.steps(body);
                    steps.push(Step::Loop { repeat, body, node });
                }
                // It is a part of the loop's step.
                Inst::Test { .. } => {}
            }
        }
        steps
    }

    /// The step of a copy that stays.
    fn copy(&self, c: Copy, kept: usize) -> RunStep {
        let kernel = Box::new(|o: &mut Operands<'_, '_>| {
            copy(&mut o.outputs[0], &o.inputs[0], o.threads);
            Ok(())
        });
        RunStep {
            copy: Some(kept),
            ..self.run(kernel, &[c.from], &[c.to], c.node)
        }
    }

    /// A step without working memory.
    fn run(
        &self,
        kernel: Box<dyn Kernel>,
        inputs: &[Place],
        outputs: &[Place],
        node: Arc<str>,
    ) -> RunStep {
        let operands = |places: &[Place]| -> Vec<Operand> {
            places.iter().map(|p| operand(self.placement, p)).collect()
        };
        let (inputs, outputs) = (operands(inputs), operands(outputs));
        let bytes = |o: &Operand| o.layout.numel() * o.dtype.size();
        RunStep {
            kernel,
            bytes: inputs.iter().chain(&outputs).map(bytes).sum::<usize>() as u64,
            inputs,
            outputs,
            scratch: Location::EMPTY,
            flops: 0,
            node,
            copy: None,
        }
    }
}

/// The operand at a place: the bytes from its first to its last element. A quantized weight is
/// handed over as bytes, which its kernel knows how to read.
fn operand(placement: &Placement, place: &Place) -> Operand {
    let storage = placement.storages[place.storage.0];
    if storage.block == Block::Quantized {
        return Operand {
            location: storage,
            dtype: DType::U8,
            layout: Layout::contiguous(&[storage.len]),
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
        location: Location {
            block: storage.block,
            start: storage.start + start,
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
    use crate::{Model, Options, Session};

    /// Every step's operands in the arena, with the step's number.
    fn in_arena(steps: &[Step], number: &mut usize, found: &mut Vec<(usize, Location)>) {
        for step in steps {
            let at = *number;
            *number += 1;
            match step {
                Step::Run(run) => {
                    let operands = run.inputs.iter().chain(&run.outputs).map(|o| o.location);
                    let regions = operands.chain([run.scratch]);
                    let regions = regions.filter(|r| r.block == Block::Arena && r.len > 0);
                    found.extend(regions.map(|region| (at, region)));
                }
                Step::Cond { branches, .. } => {
                    for branch in branches {
                        in_arena(branch, number, found);
                    }
                }
                Step::Loop { repeat, body, .. } => {
                    if let Repeat::While(head, _) = repeat {
                        in_arena(head, number, found);
                    }
                    in_arena(body, number, found);
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
