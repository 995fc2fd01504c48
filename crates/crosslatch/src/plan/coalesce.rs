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
//! of the run is written before it is read, which lowering guarantees.

use std::collections::{HashMap, HashSet};
use std::mem::take;

use super::PlannedCopy;
use super::conflict::{Conflict, Obstacle};
use super::instructions::Position;
use super::instructions::{Copies, Copy, CopyId, CopyReason, Lowered, Origin, StorageId};
use super::liveness::{Access, Accesses, Event, Events, live_at_end};

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
    /// The copies that stay, in program order.
    pub kept: Vec<(CopyId, PlannedCopy)>,
    /// The copies that do nothing, in program order.
    pub elided: Vec<PlannedCopy>,
}

impl Decisions {
    /// Where the memory of a storage comes from.
    pub fn origin_of(&self, storage: StorageId) -> Origin {
        self.origin[self.class[storage.0].0]
    }
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
    let copies = Copies::of(lowered);
    let returned: HashSet<StorageId> = lowered.output_places().map(|p| p.storage).collect();
    // A copy of a place to itself does nothing from the start.
    let does_something =
        |event: &&Event| event.copy.is_none_or(|id| copies[id].from != copies[id].to);
    let mut classes: Vec<Class> = lowered
        .storages
        .iter()
        .zip(&events.of)
        .enumerate()
        .map(|(i, (info, events))| Class {
            members: vec![StorageId(i)],
            events: events.iter().filter(does_something).cloned().collect(),
            origin: info.origin,
            bytes: info.bytes,
            contents: info.contents,
            returned: returned.contains(&StorageId(i)),
        })
        .collect();
    let mut class: Vec<StorageId> = (0..lowered.storages.len()).map(StorageId).collect();

    let moves_state = |copy: &Copy| {
        [&copy.from, &copy.to]
            .into_iter()
            .any(|p| live_at_end(lowered.storages[p.storage.0].origin))
    };
    let mut order: Vec<&Copy> = lowered.copies().collect();
    order.sort_by_key(|copy| !moves_state(copy));
    let mut obstacles: HashMap<CopyId, Obstacle> = HashMap::new();
    for copy in order {
        let (a, b) = (class[copy.from.storage.0], class[copy.to.storage.0]);
        if a == b && copy.from.layout == copy.to.layout {
            continue;
        }
        let sides = Sides {
            copy,
            copies: &copies,
            class: &class,
            classes: [a, b],
            is_continued: lowered.is_continued,
        };
        match obstacle(events, &sides, &classes[a.0], &classes[b.0]) {
            Some(obstacle) => {
                obstacles.insert(copy.id, obstacle);
            }
            None => join(&mut classes, &mut class, &copies, a, b),
        }
    }

    let mut decisions = Decisions {
        kept: Vec::new(),
        elided: Vec::new(),
        origin: classes.iter().map(|c| c.origin).collect(),
        bytes: classes.iter().map(|c| c.bytes).collect(),
        span: classes.iter().map(|class| span(events, class)).collect(),
        class,
    };
    for copy in lowered.copies() {
        let [from, to] = [&copy.from, &copy.to].map(|place| decisions.class[place.storage.0]);
        let pinned = |class: StorageId| live_at_end(decisions.origin[class.0]);
        let planned = PlannedCopy {
            value: copy.node.to_string(),
            bytes: copy.to.bytes(),
            state: pinned(from) || pinned(to),
            store: copy.why == CopyReason::Assignment,
            reason: match obstacles.get(&copy.id) {
                Some(obstacle) => format!("{}; {obstacle}", copy.why.text()),
                None => copy.why.text().to_owned(),
            },
        };
        match from == to && copy.from.layout == copy.to.layout {
            true => decisions.elided.push(planned),
            false => decisions.kept.push((copy.id, planned)),
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
            CopyReason::Carried => "a loop carries it from turn to turn",
            CopyReason::Mutation => "a buffer takes its new contents",
            CopyReason::InPlaceResult => "an in-place operator stores its result",
            CopyReason::ReturnedInput => "an input is returned",
            CopyReason::ReturnedState => "a segment returns what lies in the state",
        }
    }
}

/// A copy, and the classes of its two sides.
struct Sides<'s> {
    copy: &'s Copy,
    copies: &'s Copies<'s>,
    class: &'s [StorageId],
    classes: [StorageId; 2],
    is_continued: bool,
}

impl Sides<'_> {
    /// Whether an access is that of a copy between the two classes, same place to same place: were
    /// they one, it would do nothing.
    fn between(&self, event: &Event) -> bool {
        event.copy.is_some_and(|id| {
            let copy = &self.copies[id];
            let sides = [&copy.from, &copy.to].map(|place| self.class[place.storage.0]);
            sides.iter().all(|side| self.classes.contains(side))
                && copy.from.layout == copy.to.layout
        })
    }
}

/// Why the classes of the two sides of a copy cannot be one memory; `None` if they can.
fn obstacle(events: &Events, sides: &Sides<'_>, a: &Class, b: &Class) -> Option<Obstacle> {
    let copy = sides.copy;
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
    let state = |c: &Class| matches!(c.origin, Origin::State(_));
    let returned_state = (state(a) && b.returned) || (state(b) && a.returned);
    if sides.is_continued && returned_state && Conflict::NextSegment.counts() {
        return Some(Obstacle::Conflict(Conflict::NextSegment, None));
    }
    let conflicts = [(a, b), (b, a)];
    conflicts
        .into_iter()
        .find_map(|(written, other)| conflict(events, sides, written, other))
}

/// The first write of a class that stands against sharing its memory with another one.
///
/// Only a few of a long list of writes have to be examined. After a write that comes before its first
/// access, the other class is wanted only if it is wanted at the start of the run; after a write that
/// comes behind its last access, and behind the loops around that, only if it is wanted at the end.
fn conflict(
    events: &Events,
    sides: &Sides<'_>,
    written: &Class,
    other: &Class,
) -> Option<Obstacle> {
    let writes = |from: usize, to: usize| {
        let writes = written.events[from..to].iter();
        writes.filter(|e| e.access != Access::Read && !sides.between(e))
    };
    let found = |kind: Conflict, at: Position| Some(Obstacle::Conflict(kind, Some(at)));
    let all = written.events.len();
    if matches!(other.origin, Origin::Input(_) | Origin::Weight(_)) && Conflict::ReadOnly.counts() {
        return writes(0, all)
            .next()
            .and_then(|write| found(Conflict::ReadOnly, write.at));
    }
    // If all that is written lies where the copy puts it, the copy replaces all of that part.
    let within = written.contents == sides.copy.to.layout.numel() * sides.copy.to.dtype.size();
    let replacing = |event: &Event| within && sides.between(event);
    let others = Accesses {
        events: &other.events,
        contents: other.contents,
        replacing: match within && other.contents > written.contents {
            true => &replacing,
            false => &|_| false,
        },
    };
    let lives_on = live_at_end(other.origin);
    let (first, behind) = match (other.events.first(), other.events.last()) {
        (Some(first), Some(last)) => (
            written.events.partition_point(|e| e.at < first.at),
            written
                .events
                .partition_point(|e| e.at <= events.repeated_until(last.at)),
        ),
        _ => (0, 0),
    };
    let before = match events.live_after(&others, None, lives_on) {
        true => 0,
        false => first,
    };
    let end = if lives_on { all } else { behind };
    for write in writes(before, end) {
        let there = other.events.partition_point(|e| e.at < write.at);
        let there = other.events[there..]
            .iter()
            .take_while(|e| e.at == write.at);
        if there.into_iter().any(|e| !sides.between(e)) && Conflict::ReadByTheWriter.counts() {
            return found(Conflict::ReadByTheWriter, write.at);
        }
        if events.live_after(&others, Some(write.at), lives_on) && Conflict::StillWanted.counts() {
            return found(Conflict::StillWanted, write.at);
        }
    }
    None
}

/// Joins the classes of two storages.
fn join(
    classes: &mut [Class],
    class: &mut [StorageId],
    copies: &Copies<'_>,
    a: StorageId,
    b: StorageId,
) {
    // The class that is pinned keeps its name, or else the one with more accesses, so that few
    // accesses are moved.
    let [pinned_a, pinned_b] = [a, b].map(|c| classes[c.0].origin != Origin::Fresh);
    let larger_b = classes[b.0].events.len() > classes[a.0].events.len();
    let (keep, gone) = match pinned_b || (larger_b && !pinned_a) {
        true => (b, a),
        false => (a, b),
    };
    let gone = &mut classes[gone.0];
    let (members, events) = (take(&mut gone.members), take(&mut gone.events));
    let (bytes, contents, returned) = (gone.bytes, gone.contents, gone.returned);
    for member in &members {
        class[member.0] = keep;
    }
    let kept = &mut classes[keep.0];
    kept.members.extend(members);
    kept.bytes = kept.bytes.max(bytes);
    kept.contents = kept.contents.max(contents);
    kept.returned |= returned;
    for event in events {
        let order = |e: &Event| (e.at, e.access != Access::Read);
        // A copy within the class does nothing: neither of its accesses is one.
        let is_within = event.copy.is_some_and(|id| {
            let copy = &copies[id];
            let sides = [&copy.from, &copy.to].map(|place| class[place.storage.0]);
            sides == [keep; 2] && copy.from.layout == copy.to.layout
        });
        if is_within {
            let from = kept.events.partition_point(|e| e.at < event.at);
            let same = kept.events[from..].iter().take_while(|e| e.at == event.at);
            let twin = same.into_iter().position(|e| e.copy == event.copy);
            if let Some(twin) = twin {
                kept.events.remove(from + twin);
            }
        } else {
            let at = kept.events.partition_point(|e| order(e) <= order(&event));
            kept.events.insert(at, event);
        }
    }
}

fn span(events: &Events, class: &Class) -> Option<(Position, Position)> {
    match class.origin {
        Origin::Fresh => events.span(&Accesses::to(&class.events, class.contents)),
        _ => None,
    }
}
