//! Destination passing: a kernel writes its result where a copy would have put it.
//!
//! Problem. A projection computes `[positions, heads * channels]`; the cache that it is for holds
//! `[heads, positions, channels]`. The program says so with a view, a transposition and a copy,
//! and of these only the copy moves anything.
//!
//! Idea. Where a copy is the only reader of a value, and the only writer is a kernel that can write
//! other layouts ([`Kernel::accepts`]), the value may be laid out from the start as the copy would lay
//! it out. Its storage becomes as large as the one that is copied to, with its elements at the same
//! places; both sides of the copy then have the same layout, and [`super::coalesce`] can prove the
//! copy unnecessary. If it cannot, the copy moves the same elements as before.
//!
//! Copies are visited from the last to the first, so that a value that is copied twice (transposed,
//! then stored in a part of the cache) gets the layout of its final place.

use crosslatch_kernels::{Dims, Kernel, Layout};

use super::instructions::{Copy, Inst, Lowered, Origin, Place, for_each_mut, in_program_order};

/// Where a storage's value is written instead.
#[derive(Clone)]
struct Destination {
    /// The layout that is written, in the shape that the writer knows.
    written: Layout,
    /// The layout that the copy reads.
    read: Layout,
    /// Bytes of the storage.
    bytes: usize,
}

/// Gives values the layouts of their destinations wherever their writers can write them.
pub fn pass_destinations(lowered: &mut Lowered) {
    let decided = decide(lowered);
    for (info, destination) in lowered.storages.iter_mut().zip(&decided) {
        if let Some(destination) = destination {
            info.bytes = destination.bytes;
        }
    }
    apply(&mut lowered.insts, &decided);
}

/// Who writes a storage.
#[derive(Clone, Copy)]
enum Writer<'l> {
    Kernel(&'l dyn Kernel, &'l Place),
    Copy(&'l Copy),
}

/// Who uses a storage, and how often.
#[derive(Clone, Default)]
struct Uses<'l> {
    reads: usize,
    writes: usize,
    writer: Option<Writer<'l>>,
}

fn decide(lowered: &Lowered) -> Vec<Option<Destination>> {
    let uses = uses(lowered);
    let copies: Vec<&Copy> = lowered.copies().collect();
    let mut decided: Vec<Option<Destination>> = vec![None; lowered.storages.len()];
    for copy in copies.into_iter().rev() {
        let (from, to) = (&copy.from, &copy.to);
        let (info, uses) = (&lowered.storages[from.storage.0], &uses[from.storage.0]);
        let is_all = from.layout.numel() * from.dtype.size() == info.bytes && info.bytes > 0;
        let once = uses.reads == 1 && uses.writes == 1;
        if info.origin != Origin::Fresh || !once || !is_all || from.dtype != to.dtype {
            continue;
        }
        let (target, bytes) = match &decided[to.storage.0] {
            Some(destination) => (destination.written.clone(), destination.bytes),
            None => (to.layout.clone(), lowered.storages[to.storage.0].bytes),
        };
        if from.layout == target {
            continue;
        }
        let Some(elements) = in_order_of(&from.layout, &target) else {
            continue;
        };
        let written = match uses.writer {
            Some(Writer::Kernel(kernel, place)) => {
                let layout = elements.reshape(&place.layout.shape).unwrap_or(elements);
                let from_start = Layout {
                    offset: 0,
                    ..layout.clone()
                };
                kernel.accepts(&from_start).then_some(layout)
            }
            Some(Writer::Copy(inner)) => elements.reshape(&inner.to.layout.shape),
            None => None,
        };
        decided[from.storage.0] = written.map(|written| Destination {
            written,
            read: target,
            bytes,
        });
    }
    decided
}

fn uses(lowered: &Lowered) -> Vec<Uses<'_>> {
    let mut uses = vec![Uses::default(); lowered.storages.len()];
    for inst in in_program_order(&lowered.insts) {
        match inst {
            Inst::Run {
                kernel,
                inputs,
                outputs,
                partial,
                ..
            } => {
                for place in inputs {
                    uses[place.storage.0].reads += 1;
                }
                // Only the first of several results may be asked to lie elsewhere.
                for (i, place) in outputs.iter().enumerate() {
                    let uses = &mut uses[place.storage.0];
                    uses.writes += 1;
                    uses.writer = (i == 0 && !partial).then_some(Writer::Kernel(&**kernel, place));
                }
            }
            Inst::Copy(copy) => {
                uses[copy.from.storage.0].reads += 1;
                let uses = &mut uses[copy.to.storage.0];
                uses.writes += 1;
                uses.writer = Some(Writer::Copy(copy));
            }
            Inst::Cond { predicate, .. } | Inst::Test { predicate } => {
                uses[predicate.storage.0].reads += 1;
            }
            Inst::Loop { .. } => {}
        }
    }
    for place in lowered.output_places() {
        uses[place.storage.0].reads += 1;
    }
    for join in &lowered.joins {
        uses[join.result.0].reads += 1;
        uses[join.operand.0].reads += 1;
    }
    uses
}

/// The layout under which a copy writes the elements of a contiguous value, with the elements in the
/// value's own order. `from` is the value as the copy reads it, `to` as the copy writes it. `None`
/// unless `from` is the whole value with its dimensions permuted.
fn in_order_of(from: &Layout, to: &Layout) -> Option<Layout> {
    let mut dims: Dims = (0..from.rank()).filter(|&d| from.shape[d] != 1).collect();
    dims.sort_by_key(|&d| std::cmp::Reverse(from.strides[d]));
    let mut expected = 1;
    for &d in dims.iter().rev() {
        if from.strides[d] != expected {
            return None;
        }
        expected *= from.shape[d];
    }
    (from.offset == 0).then(|| Layout {
        shape: dims.iter().map(|&d| to.shape[d]).collect(),
        strides: dims.iter().map(|&d| to.strides[d]).collect(),
        offset: to.offset,
    })
}

fn apply(insts: &mut [Inst], decided: &[Option<Destination>]) {
    let write_there = |place: &mut Place| {
        if let Some(destination) = &decided[place.storage.0] {
            place.layout = destination.written.clone();
        }
    };
    for_each_mut(insts, &mut |inst| match inst {
        Inst::Run { outputs, .. } => outputs.iter_mut().for_each(write_there),
        Inst::Copy(copy) => {
            write_there(&mut copy.to);
            if let Some(destination) = &decided[copy.from.storage.0] {
                copy.from.layout = destination.read.clone();
            }
        }
        Inst::Cond { .. } | Inst::Loop { .. } | Inst::Test { .. } => {}
    });
}
