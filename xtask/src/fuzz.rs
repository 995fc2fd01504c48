//! `cargo xtask fuzz`: hostile inputs against every reader of foreign data.
//!
//! The crate `crosslatch-fuzz` does the work; this chore builds it and chooses the folder of findings.

use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, run, target};

/// Builds and runs the named targets, or all of them.
pub fn fuzz(root: &Path, args: &[String]) -> Result<(), Failure> {
    run(cargo(root).args(["build", "--release", "--package", "crosslatch-fuzz"]))?;
    let mut program = Command::new(target(root).join("release/crosslatch-fuzz"));
    program.current_dir(root).args(args);
    let own = ["--folder", "replay", "seeds"];
    if !args.iter().any(|arg| own.contains(&arg.as_str())) {
        program.arg("--folder").arg(target(root).join("fuzz"));
    }
    run(&mut program)
}
