//! `cargo xtask fuzz`: hostile inputs against everything that reads what others wrote.
//!
//! The program that does it is the crate `crosslatch-fuzz`; this chore builds it as it is to be run and
//! says where its findings go.

use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, run, target};

/// Builds the targets and runs them: those that are named, or all.
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
