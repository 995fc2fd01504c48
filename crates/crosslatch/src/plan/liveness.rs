//! Liveness: which instruction accesses which storage, and whether its contents are still wanted.
//!
//! Instructions are numbered in program order, so that the regions of a `cond` or a loop are ranges of
//! positions right behind it. A storage is *live* after a position if some later instruction may read
//! what it holds before all of it is overwritten; behind the last instruction of a loop, the first of it
//! may come again. State is live at the end of a run.

use std::collections::HashMap;
use std::ops::Range;

use super::conflict::Conflict;
use super::instructions::{CopyId, Inst, Lowered, Origin, Place, Position, StorageId, Turns};

/// Which regions an instruction is in: position of the `cond` or loop and number of the region, from the
/// outside in.
pub type Path = Vec<(Position, usize)>;

/// An instruction with regions.
struct Nest {
    /// Positions of its two regions; the second begins where the first ends.
    regions: [Range<Position>; 2],
    /// How often they run.
    kind: NestKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NestKind {
    /// One of the two runs, once.
    Cond,
    /// The first, then the second, again and again; the first comes last.
    Loop(Turns),
}

/// What an instruction does to a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads some of it.
    Read,
    /// Overwrites all of its contents, which are this many bytes. Of memory with more contents it
    /// changes a part.
    Overwrite(usize),
    /// Changes a part and keeps the rest.
    Change,
}

/// An access to a storage.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which instruction.
    pub at: Position,
    /// What it does.
    pub access: Access,
    /// The copy, if the instruction is one.
    pub copy: Option<CopyId>,
}

/// The accesses to some memory.
pub struct Accesses<'e> {
    /// In program order; at one position reads come before writes.
    pub events: &'e [Event],
    /// Bytes of the memory that are ever used.
    pub contents: usize,
    /// Further writes that count as overwriting all of its contents.
    pub replacing: &'e dyn Fn(&Event) -> bool,
}

impl<'e> Accesses<'e> {
    /// Accesses to memory with this many bytes of contents.
    pub fn to(events: &'e [Event], contents: usize) -> Accesses<'e> {
        Accesses {
            events,
            contents,
            replacing: &|_| false,
        }
    }

    fn is_overwritten_by(&self, event: &Event) -> bool {
        match event.access {
            Access::Read => false,
            Access::Overwrite(bytes) if bytes == self.contents => true,
            _ => (self.replacing)(event),
        }
    }
}

/// All accesses of a lowered method.
pub struct Events {
    /// For each storage, in program order; at one position reads come before writes.
    pub of: Vec<Vec<Event>>,
    /// For each position, the regions it is in.
    pub paths: Vec<Path>,
    /// What is at the positions of `cond`s and loops.
    nests: HashMap<Position, Nest>,
}

impl Events {
    /// Collects the accesses.
    pub fn collect(lowered: &Lowered) -> Events {
        let mut events = Events {
            of: vec![Vec::new(); lowered.storages.len()],
            paths: Vec::new(),
            nests: HashMap::new(),
        };
        events.walk(lowered, &lowered.insts, &Path::new());
        let end = events.paths.len();
        for place in lowered.output_places() {
            events.push(place.storage, end, Access::Read, None);
        }
        events.paths.push(Path::new());
        events
    }

    fn push(&mut self, storage: StorageId, at: Position, access: Access, copy: Option<CopyId>) {
        self.of[storage.0].push(Event { at, access, copy });
    }

    fn walk(&mut self, lowered: &Lowered, insts: &[Inst], path: &Path) {
        for inst in insts {
            let at = self.paths.len();
            self.paths.push(path.clone());
            match inst {
                Inst::Run {
                    inputs,
                    outputs,
                    partial,
                    ..
                } => {
                    for place in inputs.iter().filter(|p| p.layout.numel() > 0) {
                        self.push(place.storage, at, Access::Read, None);
                    }
                    for place in outputs {
                        let access = match partial {
                            true => Access::Change,
                            false => write_access(lowered, place),
                        };
                        self.push(place.storage, at, access, None);
                    }
                }
                Inst::Copy(copy) => {
                    let id = Some(copy.id);
                    self.push(copy.from.storage, at, Access::Read, id);
                    self.push(copy.to.storage, at, write_access(lowered, &copy.to), id);
                }
                Inst::Cond {
                    predicate,
                    branches,
                    ..
                } => {
                    self.push(predicate.storage, at, Access::Read, None);
                    self.nest(lowered, branches, NestKind::Cond, path);
                }
                Inst::Loop { turns, regions, .. } => {
                    self.nest(lowered, regions, NestKind::Loop(*turns), path);
                }
                Inst::Test { predicate } => {
                    self.push(predicate.storage, at, Access::Read, None);
                }
            }
        }
    }

    /// Walks the regions of the instruction that was numbered last.
    fn nest(&mut self, lowered: &Lowered, lists: &[Vec<Inst>; 2], kind: NestKind, path: &Path) {
        let at = self.paths.len() - 1;
        let regions = [0, 1].map(|i| {
            let mut inner = path.clone();
            inner.push((at, i));
            let start = self.paths.len();
            self.walk(lowered, &lists[i], &inner);
            start..self.paths.len()
        });
        self.nests.insert(at, Nest { regions, kind });
    }

    /// Whether memory with these accesses is live after a position. `None` stands for the start
    /// of the run. `at_end` says whether it is live at the end.
    pub fn live_after(
        &self,
        memory: &Accesses<'_>,
        position: Option<Position>,
        at_end: bool,
    ) -> bool {
        let mut from = position.map_or(0, |p| self.past(p));
        // What follows in the same region, then what follows the `cond` or loop around it, and so on.
        let enclosing = position.map_or(&[][..], |p| &self.paths[p]);
        for &(at, region) in enclosing.iter().rev() {
            let nest = &self.nests[&at];
            match self.first_use(memory, from, nest.regions[region].end) {
                Use::Wanted => return true,
                Use::Overwritten => return false,
                Use::Untouched => {}
            }
            if let NestKind::Loop(_) = nest.kind {
                match self.next_turn(memory, nest, region) {
                    Use::Wanted => return true,
                    Use::Overwritten => return false,
                    Use::Untouched => {}
                }
            }
            from = self.past(at);
        }
        match self.first_use(memory, from, self.paths.len()) {
            Use::Wanted => true,
            Use::Overwritten => false,
            Use::Untouched => at_end,
        }
    }

    /// The positions from the first to the last at which memory with these accesses must be kept. In a
    /// loop these are all, if it holds something from turn to turn or from outside.
    pub fn span(&self, memory: &Accesses<'_>) -> Option<(Position, Position)> {
        let mut first = memory.events.first()?.at;
        let mut last = memory.events.last()?.at;
        let around = [first, last].map(|position| self.paths[position].clone());
        for &(at, _) in around.iter().flatten() {
            let nest = &self.nests[&at];
            let end = nest.regions[1].end - 1;
            let is_inside = at < first && last <= end;
            let is_kept = match nest.kind {
                NestKind::Cond => false,
                NestKind::Loop(_) => !is_inside || self.next_turn(memory, nest, 1) == Use::Wanted,
            };
            if is_kept {
                first = first.min(at);
                last = last.max(end);
            }
        }
        Some((first, last))
    }

    /// The last position that may run again after this one, or this one itself.
    pub fn repeated_until(&self, position: Position) -> Position {
        let around = self.paths.get(position).into_iter().flatten();
        let is_loop = |nest: &&Nest| matches!(nest.kind, NestKind::Loop(_));
        let mut nests = around.map(|(at, _)| &self.nests[at]);
        let outermost = nests.find(is_loop);
        outermost.map_or(position, |nest| nest.regions[1].end - 1)
    }

    /// The position after an instruction in its list: after its regions, if it has any.
    fn past(&self, position: Position) -> Position {
        match self.nests.get(&position) {
            Some(nest) => nest.regions[1].end,
            None => position + 1,
        }
    }

    /// What happens first to memory in a loop behind the end of one of its regions; `Untouched` if a way
    /// out of the loop comes first.
    fn next_turn(&self, memory: &Accesses<'_>, nest: &Nest, region: usize) -> Use {
        if !Conflict::LaterTurn.counts() {
            return Use::Untouched;
        }
        let [head, body] = nest
            .regions
            .each_ref()
            .map(|r| self.first_use(memory, r.start, r.end));
        match region {
            // The body may be next, and after it the head; or the end.
            0 if body == Use::Wanted => Use::Wanted,
            0 if body == Use::Untouched && head == Use::Wanted => Use::Wanted,
            0 => Use::Untouched,
            // The head is next, and after it the body or the end.
            _ if head != Use::Untouched => head,
            _ if body == Use::Wanted => Use::Wanted,
            _ => Use::Untouched,
        }
    }

    /// What happens first to memory with these accesses in a list of instructions.
    fn first_use(&self, memory: &Accesses<'_>, from: Position, to: Position) -> Use {
        let events = memory.events;
        let mut next = events.partition_point(|e| e.at < from);
        while let Some(event) = events.get(next).filter(|e| e.at < to) {
            // The event may lie in a region of an instruction of this list.
            let level = self.paths.get(from).map_or(0, Vec::len);
            let inner = self.paths[event.at].get(level);
            let Some(&(at, _)) = inner else {
                return match memory.is_overwritten_by(event) {
                    false => Use::Wanted,
                    true => Use::Overwritten,
                };
            };
            let nest = &self.nests[&at];
            let uses = nest
                .regions
                .each_ref()
                .map(|r| self.first_use(memory, r.start, r.end));
            let found = match (nest.kind, uses) {
                (NestKind::Cond, [Use::Overwritten, Use::Overwritten]) => Use::Overwritten,
                (NestKind::Cond, _) if uses.contains(&Use::Wanted) => Use::Wanted,
                (NestKind::Cond, _) => Use::Untouched,
                // The head runs at least once, and so does a body whose turns are counted.
                (NestKind::Loop(_), [Use::Untouched, Use::Wanted]) => Use::Wanted,
                (NestKind::Loop(Turns::While), [Use::Untouched, _]) => Use::Untouched,
                (NestKind::Loop(Turns::Times(_)), [Use::Untouched, body]) => body,
                (NestKind::Loop(_), [head, _]) => head,
            };
            if found != Use::Untouched {
                return found;
            }
            next = events.partition_point(|e| e.at < nest.regions[1].end);
        }
        Use::Untouched
    }
}

/// What happens to some memory first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is read, or changed in part, on some path.
    Wanted,
    /// It is overwritten as a whole on every path.
    Overwritten,
    /// Neither.
    Untouched,
}

/// Whether writing this place overwrites all that its storage holds.
fn write_access(lowered: &Lowered, place: &Place) -> Access {
    let info = &lowered.storages[place.storage.0];
    let whole = place.layout.numel() * place.dtype.size() == info.contents
        && !place.layout.overlaps_itself();
    if whole || (place.layout.numel() == 0 && info.bytes == 0) {
        Access::Overwrite(info.contents)
    } else {
        Access::Change
    }
}

/// Whether a storage's contents are wanted after the run.
pub fn live_at_end(origin: Origin) -> bool {
    matches!(origin, Origin::State(_))
}
