//! Who touches which storage when, and whether its contents are still wanted.
//!
//! Instructions are numbered in program order, branches of a `cond` one after the other. Two
//! positions in different branches of one `cond` exclude each other; otherwise a larger number
//! means later. A storage is *live* after a position if some later instruction may read what it
//! holds before all of it is overwritten. State is live at the end of a run.

use super::lower::{Inst, Lowered, LoweredOutput, Origin, Place, StorageId};

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
    /// Overwrites all of it.
    Overwrite,
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
    /// Number of the copy, if the instruction is one.
    pub copy: Option<usize>,
}

/// All accesses of a lowered method.
pub struct Events {
    /// For each storage, in program order; at one position reads come before writes.
    pub of: Vec<Vec<Event>>,
    /// For each position, the branches it is in.
    pub paths: Vec<Path>,
    /// Position of each copy, in the order in which copies occur.
    pub copies: Vec<Position>,
}

impl Events {
    /// Collects the accesses.
    pub fn collect(lowered: &Lowered) -> Events {
        let mut events = Events {
            of: vec![Vec::new(); lowered.storages.len()],
            paths: Vec::new(),
            copies: Vec::new(),
        };
        events.walk(lowered, &lowered.insts, &Path::new());
        let end = events.paths.len();
        for (_, output) in &lowered.outputs {
            if let LoweredOutput::Place(place) = output {
                events.push(place.storage, end, Access::Read, None);
            }
        }
        events.paths.push(Path::new());
        events
    }

    fn push(&mut self, storage: StorageId, at: Position, access: Access, copy: Option<usize>) {
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
                    let number = Some(self.copies.len());
                    self.copies.push(at);
                    self.push(copy.from.storage, at, Access::Read, number);
                    self.push(copy.to.storage, at, write_access(lowered, &copy.to), number);
                }
                Inst::Cond {
                    predicate,
                    branches,
                } => {
                    self.push(predicate.storage, at, Access::Read, None);
                    for (i, branch) in branches.iter().enumerate() {
                        let mut inner = path.clone();
                        inner.push((at, i));
                        self.walk(lowered, branch, &inner);
                    }
                }
            }
        }
    }

    /// Whether `later` can run after `earlier` did, in one run.
    pub fn follows(&self, later: Position, earlier: Position) -> bool {
        later > earlier
            && !self.paths[later].iter().any(|(cond, branch)| {
                self.paths[earlier]
                    .iter()
                    .any(|(c, b)| c == cond && b != branch)
            })
    }

    /// Whether `later` runs in every run that reaches `earlier`.
    fn is_certain_after(&self, later: Position, earlier: Position) -> bool {
        self.paths[earlier].starts_with(&self.paths[later])
    }

    /// Whether memory with these accesses is live after a position. `None` stands for the start
    /// of the run. `at_end` says whether it is live at the end.
    pub fn live_after(&self, events: &[Event], position: Option<Position>, at_end: bool) -> bool {
        for event in events {
            let relevant = position.is_none_or(|p| self.follows(event.at, p));
            if !relevant {
                continue;
            }
            match event.access {
                Access::Read | Access::Change => return true,
                Access::Overwrite => {
                    let certain = match position {
                        Some(p) => self.is_certain_after(event.at, p),
                        None => self.paths[event.at].is_empty(),
                    };
                    if certain {
                        return false;
                    }
                }
            }
        }
        at_end
    }
}

/// Whether writing this place overwrites all that its storage holds.
fn write_access(lowered: &Lowered, place: &Place) -> Access {
    let info = &lowered.storages[place.storage.0];
    let whole = place.layout.is_contiguous()
        && place.layout.offset == 0
        && place.layout.numel() * place.dtype.size() == info.bytes;
    // A run that fails half-way leaves state as it is then; that is the same for every plan.
    if whole || (place.layout.numel() == 0 && info.bytes == 0) {
        Access::Overwrite
    } else {
        Access::Change
    }
}

/// Whether a storage's contents are wanted after the run.
pub fn live_at_end(origin: Origin) -> bool {
    matches!(origin, Origin::State(_))
}
