//! A method: a program, the weights that belong to it, and how it relates to other methods.

use crosslatch_kernels::DType;

use crate::effects::{Readiness, readiness};
use crate::error::Error;
use crate::ir::Program;
use crate::ir::graph::{SlotKind, ValueType};
use crate::ir::verify::VerifyError;
use crate::passes::alignment::{Heads, align};
use crate::passes::carry;
use crate::passes::part::Part;
use crate::passes::segments::Refusal;
use crate::pt2::weights::Weight;

/// A program with the weights that belong to it.
#[derive(Clone, Debug)]
pub struct Method {
    /// The program.
    pub program: Program,
    /// For each slot that is not an input, its contents in the file.
    pub bindings: Vec<Option<Weight>>,
    /// The caches that one branch of a `cond` fills and the other returns, and that are empty in the
    /// file.
    pub readiness: Vec<Readiness>,
    /// Where its latched slots come from, if it has any.
    pub latch: Option<Latch>,
    /// Where its carried slots come from, if it has any.
    pub carry: Option<Carry>,
    /// Whose attention it returns the weights of, if it is a method made for that.
    pub alignment: Option<Alignment>,
    /// The segments that a run of it consists of, if a session runs it in segments.
    pub segments: Option<Segments>,
    /// Why a session cannot run it in segments, though it makes numbers of contents.
    pub uncut: Option<Refusal>,
}

/// The place of a method among the segments of a run (`passes::segments`).
#[derive(Clone, Debug)]
pub struct Segments {
    /// Indices of the segments before this one, in order.
    pub before: Vec<usize>,
    /// The method that is the last segment, whose state all of them work on.
    pub last: usize,
}

/// The method that another one returns the weights of attention of, working on its state.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// Index of the method. Both have the same slots, and in a session the same state.
    pub of: usize,
    /// The input that takes tokens.
    pub tokens: String,
    /// The heads.
    pub heads: Heads,
    /// Names of the outputs, in the order of the heads.
    pub weights: Vec<String>,
}

/// The method that is run before another one and leaves it its carried slots.
#[derive(Clone, Debug)]
pub struct Carry {
    /// Index of the method.
    pub first: usize,
    /// Where each carried slot comes from.
    pub links: Vec<carry::Link>,
}

impl Carry {
    /// What a part of the method carries. `slots` names, for each slot of the part, the slot of the
    /// method that it is.
    pub(super) fn of_part(&self, slots: &[Option<usize>]) -> Carry {
        let links = self.links.iter().filter_map(|link| {
            let slot = slots.iter().position(|s| *s == Some(link.slot))?;
            Some(carry::Link {
                slot,
                ..link.clone()
            })
        });
        Carry {
            first: self.first,
            links: links.collect(),
        }
    }
}

/// The part of a method that is run once for each set of latched inputs.
#[derive(Clone, Debug)]
pub struct Latch {
    /// Index of the method that it is. Its inputs are the latched ones, its outputs have the names
    /// of the latched slots.
    pub once: usize,
    /// What depends on latched inputs alone and is computed at every run nevertheless, each with the
    /// reason.
    pub left: Vec<(String, &'static str)>,
}

impl Method {
    pub(super) fn new(program: Program, bindings: Vec<Option<Weight>>) -> Method {
        let mut readiness = readiness(&program);
        // A slot that has contents in the file need not be filled first.
        readiness.retain(|r| bindings[r.slot].as_ref().is_some_and(|w| w.is_zero));
        Method {
            program,
            bindings,
            readiness,
            latch: None,
            carry: None,
            alignment: None,
            segments: None,
            uncut: None,
        }
    }

    /// The method whose state this one works on, if it has none of its own. `index` is that of this one.
    pub(crate) fn works_on(&self, index: usize) -> Option<usize> {
        let of = match (&self.alignment, &self.segments) {
            (Some(alignment), _) => alignment.of,
            (None, Some(segments)) => segments.last,
            (None, None) => return None,
        };
        (of != index).then_some(of)
    }

    /// The method that returns the weights of attention of this one, which is the method `of` of its
    /// model.
    pub(super) fn aligned(&self, of: usize, tokens: &str, heads: &Heads) -> Result<Method, String> {
        if self.carry.is_some() {
            return Err("it carries its caches from run to run".to_owned());
        }
        let aligned = align(&self.program, tokens, heads).map_err(|e| e.to_string())?;
        crate::ir::verify::verify(&aligned.program).map_err(|e| e.to_string())?;
        let mut method = Method::new(aligned.program, self.bindings.clone());
        method.latch.clone_from(&self.latch);
        method.alignment = Some(Alignment {
            of,
            tokens: tokens.to_owned(),
            heads: heads.clone(),
            weights: aligned.weights,
        });
        Ok(method)
    }

    /// Whether it is a segment that another one follows. `index` is its own.
    pub(crate) fn is_continued(&self, index: usize) -> bool {
        self.segments.as_ref().is_some_and(|s| s.last != index)
    }

    /// A method as it was loaded; `look` notes whether a slot of its state holds zeros only.
    pub(super) fn loaded(
        program: Program,
        mut bindings: Vec<Option<Weight>>,
        look: impl Fn(&mut Weight),
    ) -> Method {
        let slots = program.slots.iter().zip(&mut bindings);
        slots
            .filter(|(slot, _)| slot.kind == SlotKind::State)
            .filter_map(|(_, weight)| weight.as_mut())
            .for_each(look);
        Method::new(program, bindings)
    }

    /// The error of a `cond` whose predicate says that a slot is filled when nothing has filled it.
    pub(crate) fn not_filled(&self, node: &str, slot: usize) -> Error {
        let slot = self.program.slots.get(slot);
        Error::NotFilled {
            method: self.program.name.clone(),
            node: node.to_owned(),
            slot: slot.map_or(String::new(), |s| s.name.clone()),
        }
    }

    /// One of two parts of the method.
    pub(super) fn part(&self, part: Part) -> Result<Method, VerifyError> {
        crate::ir::verify::verify(&part.program)?;
        let from = |slot: Option<usize>| self.bindings.get(slot?)?.clone();
        let bindings = part.slots.iter().map(|slot| from(*slot)).collect();
        Ok(Method::new(part.program, bindings))
    }
}

/// Element type and sizes, if the sizes are constants.
pub(super) fn constant_type(ty: &ValueType) -> Option<(DType, Vec<usize>)> {
    let ValueType::Tensor(ty) = ty else {
        return None;
    };
    let sizes: Option<Vec<usize>> = ty
        .sizes
        .iter()
        .map(|s| usize::try_from(s.constant()?).ok())
        .collect();
    Some((ty.dtype, sizes?))
}

/// Checks that the type which the program declares for each weight is that of its payload.
pub(super) fn check_bindings(program: &Program, bindings: &[Option<Weight>]) -> Result<(), String> {
    let graph = &program.graph;
    let slots = program.slots.iter().zip(bindings).zip(&graph.inputs);
    for ((slot, binding), input) in slots {
        let Some(weight) = binding else {
            continue;
        };
        let declared = constant_type(&graph.value(*input).ty);
        if declared.is_none_or(|(dtype, shape)| {
            dtype != weight.dtype || shape[..] != weight.layout.shape[..]
        }) {
            return Err(format!(
                "`{}`: the program and the payload disagree about its type",
                slot.name
            ));
        }
    }
    Ok(())
}
