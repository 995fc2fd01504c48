//! Why a checkpoint cannot be opened.

use std::path::PathBuf;

/// Why a checkpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the checkpoint is malformed, or something in it is missing or not supported.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The engine refuses the model.
    #[error(transparent)]
    Model(#[from] crosslatch::Error),
    /// A program could not be built for this configuration.
    #[error("{}: {source}", path.display())]
    Build {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: crosslatch::ir::build::BuildError,
    },
}
