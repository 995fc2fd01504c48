//! How far a download is, for those who show it or stop it.

use std::ops::ControlFlow;

/// How far a download is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file that is being downloaded.
    pub file: &'a str,
    /// Bytes of all files that have arrived.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// Is told how far a download is, several times a second, and may stop it.
pub type Observer<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;
