//! The rules that forbid two storages to share memory, and so forbid the removal of a copy.
//!
//! Memory may be shared unless one of these rules forbids it. Each rule has a name, so that a plan can
//! say why a copy stays, and so that the tests can disable one and see results go wrong
//! ([`Conflict::counts`]).

use std::fmt;

use super::instructions::Position;

/// Why the two sides of a copy cannot be one memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The copy changes the layout, so that it moves elements even within one memory.
    LayoutChanges,
    /// A rule, and the instruction whose write breaks it.
    Conflict(Conflict, Option<Position>),
}

/// A rule that sharing memory would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Both are memory from outside the run, which lies in different places.
    TwoOrigins,
    /// One is an input of the caller and the other is returned: the caller's tensor may be gone
    /// when the output is read.
    CallersMemory,
    /// One is state and the other is returned by a segment: the next segment reads it while it works on
    /// the state.
    NextSegment,
    /// One is written and the other is an input or a weight.
    ReadOnly,
    /// One is written by an instruction that reads the other.
    ReadByTheWriter,
    /// One is written while the contents of the other are still wanted.
    StillWanted,
    /// The source of a write may be the memory that is written.
    OverlappingSource,
    /// New contents of a buffer destroy what another result still needs.
    LostByStore,
    /// The result of a `cond` is an operand's memory after one branch only, and one of the two is
    /// written while the other is wanted: refused, because no plan is right.
    UndecidedResult,
    /// A tensor that is written has elements that share memory: refused, because it means nothing.
    SharedElements,
    /// One is written in a loop, and a later turn still wants the other ([`super::liveness`] sees to it).
    LaterTurn,
}

impl Conflict {
    /// The rules that the property tests disable, one at a time, to see that they notice.
    #[cfg(test)]
    pub const ALL: [Conflict; 9] = [
        Conflict::TwoOrigins,
        Conflict::ReadOnly,
        Conflict::ReadByTheWriter,
        Conflict::StillWanted,
        Conflict::OverlappingSource,
        Conflict::LostByStore,
        Conflict::UndecidedResult,
        Conflict::SharedElements,
        Conflict::LaterTurn,
    ];

    /// Whether the rule is enforced. It always is, unless a test has disabled it.
    pub fn counts(self) -> bool {
        #[cfg(test)]
        return FORGOTTEN.get() != Some(self);
        #[cfg(not(test))]
        true
    }
}

#[cfg(test)]
thread_local! {
    /// The rule that plans made on this thread do not enforce.
    pub static FORGOTTEN: std::cell::Cell<Option<Conflict>> = const { std::cell::Cell::new(None) };
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::LayoutChanges => f.write_str("its layout changes"),
            Obstacle::Conflict(conflict, at) => {
                f.write_str(match conflict {
                    Conflict::TwoOrigins => "both sides live outside the run",
                    Conflict::CallersMemory => {
                        "the caller's tensor may be gone when the output is read"
                    }
                    Conflict::NextSegment => "the next segment reads it and works on the state",
                    Conflict::ReadOnly => "it is changed, and its source may not be",
                    Conflict::ReadByTheWriter => {
                        "one of the two is read where the other is written"
                    }
                    Conflict::StillWanted => {
                        "one of the two is written while the other is still wanted"
                    }
                    Conflict::OverlappingSource => "what is written may be what is read",
                    Conflict::LostByStore => "another result still needs what the buffer holds",
                    Conflict::UndecidedResult => {
                        "one branch returns an operand, the other does not"
                    }
                    Conflict::SharedElements => "elements of what is written share memory",
                    Conflict::LaterTurn => "a later turn of the loop still wants one of the two",
                })?;
                match at {
                    Some(at) => write!(f, " (step {at})"),
                    None => Ok(()),
                }
            }
        }
    }
}
