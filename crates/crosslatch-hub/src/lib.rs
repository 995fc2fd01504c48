//! Finds models by name: what is on this machine without a connection, what is not from the hub.
//!
//! Whatever names a model may be a path or a name. A path that exists always wins. A name is looked up
//! in the [cache](Hub::cache) that all tools of the Hugging Face ecosystem share, and what is there is
//! used as it is, without asking the hub. Only what is missing is downloaded: the weights in one
//! format, the configurations and the tokenizer.
//!
//! All code that connects to other machines is in this crate, behind the feature `download`, so that
//! the engine and whoever wants to be sure can do without. The client is `ureq` with rustls, which are
//! small and block; the crate `hf-hub` would bring an asynchronous runtime, a storage service and a
//! second implementation of TLS, some three hundred crates, for what is a list and a few files here.
//!
//! | variable | meaning |
//! |---|---|
//! | `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` | where the cache is: `$HF_HUB_CACHE`, or `$HF_HOME/hub`, or `$XDG_CACHE_HOME/huggingface/hub`, or `~/.cache/huggingface/hub` |
//! | `HF_ENDPOINT` | the hub; `https://huggingface.co` if unset |
//! | `HF_TOKEN`, `HF_TOKEN_PATH` | who asks; otherwise the file `token` in `HF_HOME`, which `hf auth login` writes |
//! | `HF_HUB_OFFLINE` | `1`: never connect |
//! | `SSL_CERT_FILE` | certificates to trust instead of Mozilla's |
//! | `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | as everywhere |

#![forbid(unsafe_code)]

mod cache;
#[cfg(feature = "download")]
mod download;
mod environment;
mod error;
#[cfg(feature = "download")]
mod fetch;
mod files;
mod names;
mod progress;
#[cfg(feature = "download")]
mod remote;

use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use environment::{Hub, own_cache};
pub use error::HubError;
pub use names::{SHORT_NAMES, ShortName};
pub use progress::{Observer, Progress};

use cache::Snapshot;
use files::{Completeness, completeness};
use names::Name;

/// Models in the cache: their names, and the files or folders that they are. Whether Crosslatch knows
/// their families is another question.
pub fn cached(cache: &Cache) -> Vec<(String, PathBuf)> {
    let mut models = Vec::new();
    for (name, snapshot) in cache.repositories() {
        if completeness(&snapshot) != Completeness::Lacking {
            models.push((name, snapshot.path()));
            continue;
        }
        let single = snapshot.files().into_iter();
        models.extend(single.filter_map(|file| {
            let name = format!("{name}/{file}");
            Name::parse(&name).map(|_| (name, snapshot.path().join(file)))
        }));
    }
    models
}

impl Hub {
    /// The file or folder of a model: the path itself if there is one, otherwise the place in the
    /// cache of what has that name, which is downloaded if it is not there.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn locate(&self, named: &Path, observer: &mut Observer<'_>) -> Result<PathBuf, HubError> {
        // An error other than absence is for the reader of the file to report.
        match named.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            _ => return Ok(named.to_owned()),
        }
        let name = named.to_str().and_then(Name::parse);
        let name = name.ok_or_else(|| HubError::Unknown {
            path: named.to_owned(),
        })?;
        let cached = self.cache.snapshot(&name.repository, &name.revision);
        let found = cached.map(|snapshot| (has(&snapshot, &name), snapshot));
        if let Some((Completeness::Whole, snapshot)) = &found {
            return Ok(place(snapshot, &name));
        }
        match (self.fetch(&name, observer), found) {
            (Ok(snapshot), _) => Ok(place(&snapshot, &name)),
            // Nothing more can be had now, and what there is may be all.
            (
                Err(HubError::Connection { .. } | HubError::Offline { .. }),
                Some((Completeness::Usable, snapshot)),
            ) => Ok(place(&snapshot, &name)),
            (Err(error), _) => Err(error),
        }
    }

    fn offline(&self, name: &Name, reason: &'static str) -> HubError {
        HubError::Offline {
            name: name.repository.clone(),
            cache: self.cache.path().to_owned(),
            reason,
        }
    }

    #[cfg(not(feature = "download"))]
    fn fetch(&self, name: &Name, _: &mut Observer<'_>) -> Result<Snapshot, HubError> {
        Err(self.offline(name, "this program was built without downloads"))
    }

    #[cfg(feature = "download")]
    fn fetch(&self, name: &Name, observer: &mut Observer<'_>) -> Result<Snapshot, HubError> {
        if self.is_offline {
            return Err(self.offline(name, "HF_HUB_OFFLINE rules out a download"));
        }
        fetch::fetch(self, name, observer)
    }
}

/// What the cache has of what is named.
fn has(snapshot: &Snapshot, name: &Name) -> Completeness {
    match &name.file {
        None => completeness(snapshot),
        Some(file) if snapshot.has(file) => Completeness::Whole,
        Some(_) => Completeness::Lacking,
    }
}

/// Where what is named lies.
fn place(snapshot: &Snapshot, name: &Name) -> PathBuf {
    match &name.file {
        Some(file) => snapshot.path().join(file),
        None => snapshot.path(),
    }
}
