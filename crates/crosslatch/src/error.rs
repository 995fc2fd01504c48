//! Errors: what went wrong, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read at all.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not an archive that Crosslatch can use.
    #[error("{}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong and, where it is known, in which entry.
        reason: ArchiveError,
    },
    /// The program calls operators that the engine does not have.
    #[error("{}: {missing}", path.display())]
    MissingOperators {
        /// The file.
        path: PathBuf,
        /// The calls of all of them.
        missing: MissingOperators,
    },
    /// There is no method with this name.
    #[error("the model has no method `{name}`; it has {}", list(available))]
    NoSuchMethod {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A method has no output with this name.
    #[error("method `{method}` has no output `{name}`; it has {}", list(available))]
    NoSuchOutput {
        /// The method.
        method: String,
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A method has no outputs, because it has not run since the session was made or reset.
    #[error("method `{method}` has not run yet")]
    NotRun {
        /// The method.
        method: String,
    },
    /// An input is missing, unknown, or of the wrong type or shape.
    #[error("method `{method}`: {reason}")]
    Input {
        /// The method.
        method: String,
        /// What is wrong with which input.
        reason: String,
    },
    /// An input cannot be latched.
    #[error("cannot latch `{input}`: {reason}")]
    Latch {
        /// The input.
        input: String,
        /// Why not.
        reason: String,
    },
    /// A method cannot say where in the source it looks.
    #[error("method `{method}` cannot be aligned: {reason}")]
    Alignment {
        /// The method.
        method: String,
        /// Why not.
        reason: String,
    },
    /// The predicate of a `cond` says that a cache is filled, but this session has not filled it.
    #[error(
        "method `{method}`, node `{node}`: the predicate says that `{slot}` is filled, but this \
         session has not filled it yet; start with the step that computes it"
    )]
    NotFilled {
        /// The method.
        method: String,
        /// The `cond`.
        node: String,
        /// The state slot.
        slot: String,
    },
    /// More memory is needed than the session may take, or than the system has.
    #[error("{what}: {source}")]
    Memory {
        /// What needs it: the model's state, a method, or a node of one.
        what: String,
        /// What was needed, and what there is.
        source: crate::memory::MemoryError,
    },
    /// Converted weights are to be kept, and cannot be written.
    #[error(
        "cannot keep converted weights in {}: {source}; name a folder that can be written \
         (`--cache=FOLDER`, `cache`), or leave that out",
        folder.display()
    )]
    NotKept {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A node cannot be computed for these sizes, or failed while running.
    #[error("method `{method}`, node {node}: {reason}")]
    Node {
        /// The method.
        method: String,
        /// Name of the node's result and its operator, with its line in the model where known.
        node: String,
        /// What went wrong.
        reason: String,
    },
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Something about the file as a whole.
    #[error("{0}")]
    File(String),
    /// Something about an entry.
    #[error("entry `{entry}`: {reason}")]
    Entry {
        /// The entry's name in the archive.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ArchiveError {
    /// An error in an entry.
    pub fn entry(entry: impl Into<String>, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Entry {
            entry: entry.into(),
            reason: reason.into(),
        }
    }
}

/// The calls of a file's programs that the engine has no operator for.
#[derive(Debug, Default)]
pub struct MissingOperators {
    /// The calls.
    pub calls: Vec<MissingCall>,
}

/// A call of an operator that the engine does not have.
#[derive(Clone, Debug)]
pub struct MissingCall {
    /// The method.
    pub method: String,
    /// The operator.
    pub operator: String,
    /// The node.
    pub node: String,
    /// Line of the model, where the file has it.
    pub source: Option<String>,
    /// Why there is none, if there never will be, and what to do.
    pub reason: Option<&'static str>,
}

impl fmt::Display for MissingOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calls.len() {
            1 => f.write_str("a call of an operator that Crosslatch does not have:")?,
            count => write!(
                f,
                "{count} calls of operators that Crosslatch does not have:"
            )?,
        }
        for call in &self.calls {
            let MissingCall {
                method,
                operator,
                node,
                source,
                reason,
            } = call;
            write!(f, "\n  {operator}, method `{method}`, node `{node}`")?;
            if let Some(source) = source {
                write!(f, ", from {source}")?;
            }
            if let Some(reason) = reason {
                write!(f, ": {reason}")?;
            }
        }
        let of_others =
            |call: &MissingCall| call.reason.is_none() && call.operator.starts_with("aten::");
        match self.calls.iter().any(of_others) {
            true => f.write_str(
                "\nPyTorch makes many operators of others that Crosslatch has: if the program is saved as it was \
                 traced, save `program.run_decompositions()` instead",
            ),
            false => Ok(()),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}
