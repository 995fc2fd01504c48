//! Coalescing: proving that copies are not needed.
//!
//! Problem. A lowered program copies wherever its meaning says that a value is a new one: a
//! functional update of a cache, the result of a `cond`, the new contents of a buffer. Done
//! literally, a decoder would copy its caches at every step.
//!
//! Idea. It is the question that register allocators answer for moves, and bufferization for
//! tensors: a copy from A to B is a no-op if A and B can be one memory, and they can if neither is
//! written while the other's contents are still wanted. Storages are gathered in classes, each one
//! memory. For each copy whose two places have the same layout, the classes of both sides are
//! joined if
//!
//! 1. at most one of them is pinned to memory from outside (an input, a weight, a state slot), and
//!    memory that must not be written (inputs, weights) is joined only with what is never written
//!    but by copies between the two, which then do nothing; inputs are joined with no output,
//!    because the caller's tensor may be gone when the output is read;
//! 2. for every instruction that writes one of the two, other than those copies, the other is
//!    neither read by that instruction nor live after it ([`super::liveness`]).
//!
//! Condition 2 is the whole proof: under it, at every read, the common memory holds what the
//! separate one would have held. A copy that stays carries the reason: the write that is in the
//! way. The order in which copies are tried decides which of two conflicting copies stays; those
//! that move state are tried first.
//!
//! Assumes that a kernel reads its inputs and writes its outputs and nothing else, and that memory
//! of the run is written before it is read, which lowering sees to.

use super::PlannedCopy;
use super::conflict::{Conflict, Obstacle};
use super::instructions::{Copy, CopyReason, Inst, Lowered, LoweredOutput, Origin, StorageId};
use super::liveness::{Access, Event, Events, Position, live_at_end};

/// What was decided about storages and copies.
pub struct Decisions {
    /// For each storage, the one whose memory it is.
    pub class: Vec<StorageId>,
    /// For each class, by its representative: pinned origin, or `Fresh`.
    pub origin: Vec<Origin>,
    /// For each class, its bytes.
    pub bytes: Vec<usize>,
    /// For each class that is `Fresh` and used: first and last position.
    pub span: Vec<Option<(Position, Position)>>,
    /// For each copy in program order: whether it does nothing.
    pub elided: Vec<bool>,
    /// The copies that stay.
    pub kept: Vec<PlannedCopy>,
    /// The copies that do nothing.
    pub removed: Vec<PlannedCopy>,
}

struct Class {
    members: Vec<StorageId>,
    events: Vec<Event>,
    origin: Origin,
    bytes: usize,
    /// Bytes of it that are ever used.
    contents: usize,
    /// Whether an output is in it, which is read after the run.
    returned: bool,
}

/// Decides which storages share memory.
pub fn coalesce(lowered: &Lowered, events: &Events) -> Decisions {
    let mut copies = Vec::new();
    list_copies(&lowered.insts, &mut copies);
    let mut classes: Vec<Class> = lowered
        .storages
        .iter()
        .zip(&events.of)
        .enumerate()
        .map(|(i, (info, events))| Class {
            members: vec![StorageId(i)],
            events: events.clone(),
            origin: info.origin,
            bytes: info.bytes,
            contents: info.contents,
            returned: lowered.outputs.iter().any(|(_, output)| match output {
                LoweredOutput::Place(place) => place.storage.0 == i,
                LoweredOutput::Constant(_) => false,
            }),
        })
        .collect();
    let mut class: Vec<StorageId> = (0..lowered.storages.len()).map(StorageId).collect();

    let moves_state = |copy: &Copy| {
        [&copy.from, &copy.to]
            .into_iter()
            .any(|p| live_at_end(lowered.storages[p.storage.0].origin))
    };
    let mut order: Vec<usize> = (0..copies.len()).collect();
    order.sort_by_key(|&i| !moves_state(copies[i]));
    let mut obstacles: Vec<Option<Obstacle>> = vec![None; copies.len()];
    for &i in &order {
        let copy = copies[i];
        let (a, b) = (class[copy.from.storage.0], class[copy.to.storage.0]);
        if a == b && copy.from.layout == copy.to.layout {
            continue;
        }
        obstacles[i] = obstacle(events, copy, &copies, &class, &classes[a.0], &classes[b.0]);
        if obstacles[i].is_none() {
            join(&mut classes, &mut class, &copies, a, b);
        }
    }

    let mut decisions = Decisions {
        elided: Vec::new(),
        kept: Vec::new(),
        removed: Vec::new(),
        origin: classes.iter().map(|c| c.origin).collect(),
        bytes: classes.iter().map(|c| c.bytes).collect(),
        span: classes.iter().map(span).collect(),
        class,
    };
    for (i, copy) in copies.iter().enumerate() {
        let (from, to) = (
            decisions.class[copy.from.storage.0],
            decisions.class[copy.to.storage.0],
        );
        let elided = from == to && copy.from.layout == copy.to.layout;
        decisions.elided.push(elided);
        let pinned = |class: StorageId| live_at_end(decisions.origin[class.0]);
        let planned = PlannedCopy {
            value: copy.node.to_string(),
            bytes: copy.to.layout.numel() * copy.to.dtype.size(),
            state: pinned(from) || pinned(to),
            store: copy.why == CopyReason::Assignment,
            reason: match &obstacles[i] {
                Some(obstacle) => format!("{}; {obstacle}", copy.why.text()),
                None => copy.why.text().to_owned(),
            },
        };
        match elided {
            true => decisions.removed.push(planned),
            false => decisions.kept.push(planned),
        }
    }
    decisions
}

impl CopyReason {
    fn text(self) -> &'static str {
        match self {
            CopyReason::FunctionalUpdate => "a functional update leaves its operand as it was",
            CopyReason::Explicit => "the program asks for a copy",
            CopyReason::OverlappingSource => "what is written may be the memory that is read",
            CopyReason::Assignment => "an operator stores it there",
            CopyReason::BranchResult => "a `cond` returns what a branch made",
            CopyReason::Mutation => "a buffer takes its new contents",
            CopyReason::InPlaceResult => "an in-place operator stores its result",
            CopyReason::ReturnedInput => "an input is returned",
        }
    }
}

/// All copies, in program order.
pub(super) fn list_copies<'a>(insts: &'a [Inst], copies: &mut Vec<&'a Copy>) {
    for inst in insts {
        match inst {
            Inst::Copy(copy) => copies.push(copy),
            Inst::Cond { branches, .. } => {
                for branch in branches {
                    list_copies(branch, copies);
                }
            }
            Inst::Run { .. } => {}
        }
    }
}

/// Why the classes of the two sides of a copy cannot be one memory; `None` if they can.
fn obstacle(
    events: &Events,
    copy: &Copy,
    copies: &[&Copy],
    class: &[StorageId],
    a: &Class,
    b: &Class,
) -> Option<Obstacle> {
    if copy.from.layout != copy.to.layout || copy.from.dtype != copy.to.dtype {
        return Some(Obstacle::LayoutChanges);
    }
    let pinned = |c: &Class| c.origin != Origin::Fresh;
    if pinned(a) && pinned(b) && Conflict::TwoOrigins.counts() {
        return Some(Obstacle::Conflict(Conflict::TwoOrigins, None));
    }
    let input = |c: &Class| matches!(c.origin, Origin::Input(_));
    if Conflict::CallersMemory.counts() && ((input(a) && b.returned) || (input(b) && a.returned)) {
        return Some(Obstacle::Conflict(Conflict::CallersMemory, None));
    }
    // A copy between the two classes, same place to same place, would do nothing.
    let between = |event: &Event| {
        event.copy.is_some_and(|i| {
            let (from, to) = (
                class[copies[i].from.storage.0],
                class[copies[i].to.storage.0],
            );
            let ours = [a.members[0], b.members[0]].map(|m| class[m.0]);
            ours.contains(&from)
                && ours.contains(&to)
                && copies[i].from.layout == copies[i].to.layout
        })
    };
    for (written, other) in [(a, b), (b, a)] {
        let read_only = matches!(other.origin, Origin::Input(_) | Origin::Weight(_));
        let other_lives_on = live_at_end(other.origin);
        // All that is written here lies where the copy puts it: to that part, the copy is an end.
        let within = written.contents == copy.to.layout.numel() * copy.to.dtype.size();
        let replaced: Vec<Event>;
        let others = match within && other.contents > written.contents {
            false => &other.events,
            true => {
                let replace = |event: &Event| match between(event) && event.access != Access::Read {
                    true => Event {
                        access: Access::Overwrite,
                        ..event.clone()
                    },
                    false => event.clone(),
                };
                replaced = other.events.iter().map(replace).collect();
                &replaced
            }
        };
        let writes = written
            .events
            .iter()
            .filter(|e| e.access != Access::Read && !between(e));
        for write in writes {
            let conflict = |kind: Conflict| Some(Obstacle::Conflict(kind, Some(write.at)));
            if read_only && Conflict::ReadOnly.counts() {
                return conflict(Conflict::ReadOnly);
            }
            let read_there = other.events.iter().any(|e| e.at == write.at && !between(e));
            if read_there && Conflict::ReadByTheWriter.counts() {
                return conflict(Conflict::ReadByTheWriter);
            }
            if events.live_after(others, Some(write.at), other_lives_on)
                && Conflict::StillWanted.counts()
            {
                return conflict(Conflict::StillWanted);
            }
        }
    }
    None
}

fn join(
    classes: &mut [Class],
    class: &mut [StorageId],
    copies: &[&Copy],
    a: StorageId,
    b: StorageId,
) {
    // The pinned one, if any, gives the class its name.
    let (keep, gone) = if classes[b.0].origin != Origin::Fresh {
        (b, a)
    } else {
        (a, b)
    };
    let members = std::mem::take(&mut classes[gone.0].members);
    let mut moved = std::mem::take(&mut classes[gone.0].events);
    for member in &members {
        class[member.0] = keep;
    }
    let Class {
        bytes,
        contents,
        returned,
        ..
    } = classes[gone.0];
    // What filled the smaller one changes a part of the larger.
    let largest = contents.max(classes[keep.0].contents);
    let fills = |own: usize, events: &mut [Event]| {
        for event in events.iter_mut().filter(|e| e.access == Access::Overwrite) {
            if own < largest {
                event.access = Access::Change;
            }
        }
    };
    fills(contents, &mut moved);
    let kept = &mut classes[keep.0];
    fills(kept.contents, &mut kept.events);
    kept.contents = largest;
    kept.members.extend(members);
    kept.bytes = kept.bytes.max(bytes);
    kept.returned |= returned;
    kept.events.extend(moved);
    kept.events.retain(|event| {
        event.copy.is_none_or(|i| {
            let copy = copies[i];
            let inside = class[copy.from.storage.0] == keep && class[copy.to.storage.0] == keep;
            !(inside && copy.from.layout == copy.to.layout)
        })
    });
    kept.events
        .sort_by_key(|e| (e.at, e.access != Access::Read));
}

fn span(class: &Class) -> Option<(Position, Position)> {
    let first = class.events.first()?.at;
    let last = class.events.last()?.at;
    (class.origin == Origin::Fresh).then_some((first, last))
}
