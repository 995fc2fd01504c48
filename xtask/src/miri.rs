//! `cargo xtask miri`: the unsafe code, interpreted by Miri.
//!
//! Miri finds reads and writes outside of memory, of memory that is not initialised or aligned, data
//! races, and borrows that Rust's aliasing rules forbid. It interprets, a thousand times slower than the
//! machine, and knows neither vector instructions beyond a few nor files in memory. So it runs the unit
//! tests of the modules whose unsafe code is plain Rust: regions, threads, the writers of elements, the
//! portable kernels, and the strided copies of the operators for PyTorch.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, run};

/// The modules of a crate, as the names of their tests begin.
struct Part {
    package: &'static str,
    modules: &'static [&'static str],
    /// Tests among them that take too long, or need what Miri has not.
    without: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part {
        package: "crosslatch-kernels",
        modules: &[
            "storage::",
            "layout::",
            "tensor::",
            "memory::",
            "threads::",
            "blocks::",
            "copy::",
            "fill::",
            "gather::",
            "indexing::",
            "scatter::",
            "masked::",
            "rearrange::",
            "cumulative::",
            "sort::",
            "elementwise::",
            "any_all::",
            "softmax::",
        ],
        // Megabytes of elements.
        without: &["small_and_large_memory", "large_copies", "long_runs"],
    },
    Part {
        package: "crosslatch-torch",
        modules: &["copy::", "overlap::", "message::"],
        without: &[],
    },
];

/// Miri is a part of nightly toolchains.
const MISSING: &str = "there is no Miri here. It comes with a nightly toolchain:
  rustup toolchain install nightly --component miri
and is then run by `cargo xtask miri`";

/// Runs what Miri can run; `args` go to the tests.
pub fn miri(root: &Path, args: &[String]) -> Result<(), Failure> {
    let mut asked = rustups_cargo(root);
    asked.args(["+nightly", "miri", "--version"]);
    let asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        return Err(MISSING.to_owned());
    }
    for part in PARTS {
        let mut command = rustups_cargo(root);
        command
            .args([
                "+nightly",
                "miri",
                "test",
                "--package",
                part.package,
                "--lib",
                "--",
            ])
            .args(part.modules)
            .args(part.without.iter().flat_map(|name| ["--skip", name]))
            .args(args)
            // Threads wait for each other by the clock; kernels choose by the machine.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("CROSSLATCH_INSTRUCTIONS", "portable");
        run(&mut command)?;
    }
    Ok(())
}

/// The `cargo` that asks rustup for a toolchain: the one that runs this chore is of one already, and
/// says so to what it starts.
fn rustups_cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(variable);
    }
    command
}
