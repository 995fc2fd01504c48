//! Text tests of the passes: programs, and below their lines what a pass decides about them.
//!
//! Each `.ir` file below `tests/filetests/` is a test with the name of its path, `PASS/SENTENCE`.
//! The [`runner`] describes the format and what is checked.
//!
//! ```sh
//! cargo test -p crosslatch --test filetests                      # all of them
//! cargo test -p crosslatch --test filetests plan/clone           # those with this in their names
//! CROSSLATCH_BLESS=1 cargo test -p crosslatch --test filetests   # rewrite the expectations
//! ```

mod models;
mod random;
#[path = "filetests/runner/mod.rs"]
mod runner;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use runner::file::Mode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mode = match std::env::var("CROSSLATCH_BLESS") {
        Ok(value) if value == "1" => Mode::Bless,
        _ => Mode::Compare,
    };
    let mut trials: Vec<Trial> = runner::files(&root)
        .into_iter()
        .map(|path| {
            let name = runner::name(&root, &path);
            let check = move || runner::check(&path, mode).map_err(Failed::from);
            Trial::test(name, check)
        })
        .collect();
    if mode == Mode::Compare {
        // These tests read all files, which blessing rewrites at the same time.
        trials.extend(runner::tests::trials(&root));
    }
    libtest_mimic::run(&args, trials).exit_code()
}
