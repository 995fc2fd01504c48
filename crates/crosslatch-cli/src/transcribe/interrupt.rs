//! Ctrl-C while a sound is transcribed.
//!
//! A window of a large model takes a minute, and nobody waits that long after Ctrl-C. So a thread of
//! its own has what was decoded so far written, while the others still decode, and ends the process. A
//! second Ctrl-C ends it at once, should the writing hang.

use std::process::exit;

use crate::CommandError;

/// The exit status of a process that was interrupted, as shells count.
const STATUS: i32 = 130;

/// Runs `keep` at the first interrupt or request to terminate, and then ends the process.
///
/// # Errors
/// If the system does not allow it.
pub fn on_interrupt(keep: impl FnOnce() + Send + 'static) -> Result<(), CommandError> {
    let mut keep = Some(keep);
    ctrlc::set_handler(move || match keep.take() {
        Some(keep) => {
            std::thread::spawn(move || {
                keep();
                exit(STATUS);
            });
        }
        None => exit(STATUS),
    })?;
    Ok(())
}
