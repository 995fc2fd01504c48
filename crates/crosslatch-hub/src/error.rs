//! Why a model that was named cannot be had.

use std::path::{Path, PathBuf};

use crate::names;

/// Why a model that was named cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// It is neither a file, nor a folder, nor a name.
    #[error("{}: there is no such file or folder{}", path.display(), names::hint(path))]
    Unknown {
        /// What was given.
        path: PathBuf,
    },
    /// The hub says that it has no such model.
    #[error("{name}: the hub at {endpoint} has no such model, and there is no such file or folder")]
    Missing {
        /// The name.
        name: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The hub wants to know who asks, or does not let them have it.
    #[error(
        "{name}: the hub at {endpoint} refuses access ({status}); if the name is right, the model is \
         private or gated: set HF_TOKEN to a token of an account that may read it, or run \
         `hf auth login`"
    )]
    Refused {
        /// The name.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// What it answered.
        status: u16,
    },
    /// It is not in the cache, and connections are ruled out.
    #[error(
        "{name}: it is not, or not whole, in the cache at {}, and {reason}. On a machine with a connection, \
         `hf download {name}` fills a cache, which can be copied",
        cache.display()
    )]
    Offline {
        /// The name.
        name: String,
        /// Where was looked for it.
        cache: PathBuf,
        /// Why nothing is downloaded.
        reason: &'static str,
    },
    /// The hub cannot be reached, or broke off.
    #[error(
        "{name}: {url}: {reason}; what has arrived is kept, and the same command goes on from there"
    )]
    Connection {
        /// The name.
        name: String,
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// What the hub sent is not what it announced, or makes no sense.
    #[error("{name}: {url}: {reason}")]
    Answer {
        /// The name.
        name: String,
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The model has no files that can be used.
    #[error("{name}: {reason}")]
    Unusable {
        /// The name.
        name: String,
        /// What is missing, and what to do.
        reason: String,
    },
    /// The caller stopped the download.
    #[error("{name}: stopped; what has arrived is kept, and the same command goes on from there")]
    Stopped {
        /// The name.
        name: String,
    },
    /// The cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl HubError {
    /// The error of a file or folder of the cache.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HubError {
        let path = path.to_owned();
        move |source| HubError::Io { path, source }
    }
}
