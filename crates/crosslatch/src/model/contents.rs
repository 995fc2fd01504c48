//! What models of one file share: the bytes of the files and of what had to be copied.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::pt2::archive::Archive;
use crate::pt2::weights::{Source, Weights};

/// The bytes behind a model's weights.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The file or folder that the model was loaded from, unless it was built in memory.
    pub path: Option<PathBuf>,
    pub files: Vec<Archive>,
    pub weights: Weights,
    /// The folder in which converted weights are kept, if they are.
    pub kept_in: Mutex<Option<PathBuf>>,
}

impl Contents {
    /// The bytes of a payload; `None` if they are zeros that lie nowhere.
    pub fn bytes(&self, source: &Source) -> Option<&[u8]> {
        self.weights.bytes(&self.files, source)
    }

    /// Tells the system that a payload will not be read soon.
    pub fn release(&self, source: &Source) {
        source.release(&self.files);
    }
}
