//! Liveness: which instruction accesses which storage, and whether its contents are still wanted.
//!
//! Instructions are numbered in program order, so that the branches of a `cond` are ranges of
//! positions right behind it. A storage is *live* after a position if some later instruction may read
//! what it holds before all of it is overwritten. State is live at the end of a run.

use std::collections::HashMap;
use std::ops::Range;

use super::instructions::{CopyId, Inst, Lowered, Origin, Place, StorageId};

/// Position of an instruction; the end of the run is one past the last.
pub type Position = usize;

/// Which branches an instruction is in: position of the `cond` and number of the branch, from the
/// outside in.
pub type Path = Vec<(Position, usize)>;

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
    /// For each position, the branches it is in.
    pub paths: Vec<Path>,
    /// For each `cond`, the positions of its branches.
    conds: HashMap<Position, [Range<Position>; 2]>,
}

impl Events {
    /// Collects the accesses.
    pub fn collect(lowered: &Lowered) -> Events {
        let mut events = Events {
            of: vec![Vec::new(); lowered.storages.len()],
            paths: Vec::new(),
            conds: HashMap::new(),
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
                    let mut ranges = [0..0, 0..0];
                    for (i, branch) in branches.iter().enumerate() {
                        let mut inner = path.clone();
                        inner.push((at, i));
                        let start = self.paths.len();
                        self.walk(lowered, branch, &inner);
                        ranges[i] = start..self.paths.len();
                    }
                    self.conds.insert(at, ranges);
                }
            }
        }
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
        // What follows in the same branch, then what follows the `cond` around it, and so on.
        let enclosing = position.map_or(&[][..], |p| &self.paths[p]);
        for &(cond, branch) in enclosing.iter().rev() {
            match self.first_use(memory, from, self.conds[&cond][branch].end) {
                Use::Wanted => return true,
                Use::Overwritten => return false,
                Use::Untouched => from = self.past(cond),
            }
        }
        match self.first_use(memory, from, self.paths.len()) {
            Use::Wanted => true,
            Use::Overwritten => false,
            Use::Untouched => at_end,
        }
    }

    /// The position after an instruction in its list: after its branches, if it is a `cond`.
    fn past(&self, position: Position) -> Position {
        match self.conds.get(&position) {
            Some([_, last]) => last.end,
            None => position + 1,
        }
    }

    /// What happens first to memory with these accesses in a list of instructions.
    fn first_use(&self, memory: &Accesses<'_>, from: Position, to: Position) -> Use {
        let events = memory.events;
        let mut next = events.partition_point(|e| e.at < from);
        while let Some(event) = events.get(next).filter(|e| e.at < to) {
            // The event may lie in a branch of a `cond` of this list.
            let level = self.paths.get(from).map_or(0, Vec::len);
            let inner = self.paths[event.at].get(level);
            let Some(&(cond, _)) = inner else {
                return match memory.is_overwritten_by(event) {
                    false => Use::Wanted,
                    true => Use::Overwritten,
                };
            };
            let [a, b] = &self.conds[&cond];
            let uses = [a, b].map(|r| self.first_use(memory, r.start, r.end));
            if uses.contains(&Use::Wanted) {
                return Use::Wanted;
            }
            if uses == [Use::Overwritten; 2] {
                return Use::Overwritten;
            }
            next = events.partition_point(|e| e.at < b.end);
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
