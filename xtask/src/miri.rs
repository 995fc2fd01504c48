//! `cargo xtask miri`: the unsafe code, interpreted by Miri.
//!
//! Miri finds accesses outside of memory or to uninitialised or misaligned memory, data races, and borrows
//! that Rust's aliasing rules forbid. It interprets a thousand times slower than the machine, and supports
//! few vector instructions and no mapped files. So it runs the unit tests of the modules whose unsafe code
//! is plain Rust: regions, threads, the writers of elements, the portable kernels, and the strided copies
//! of the operators for PyTorch.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, run};

/// The modules of a crate, as they occur in the names of tests.
struct Part {
    package: &'static str,
    modules: &'static [&'static str],
    /// Tests among them that take too long or need something that Miri lacks.
    without: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part {
        package: "crosslatch-kernels",
        modules: &[
            "tensor::storage::",
            "tensor::layout::",
            "runtime::memory::",
            "runtime::threads::",
            "elements::blocks::",
            "elements::elementwise::",
            "movement::copy::",
            "movement::fill::",
            "movement::gather::",
            "movement::indexing::",
            "movement::masked::",
            "movement::rearrange::",
            "movement::scatter::",
            "reduce::any_all::",
            "reduce::cumulative::",
            "reduce::sort::",
            "rows::softmax::",
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

/// What to do where Miri is missing.
const MISSING: &str = "Miri is not installed. It comes with a nightly toolchain:
  rustup toolchain install nightly --component miri
then run `cargo xtask miri` again";

/// Runs the tests that Miri can run; `args` go to the test programs.
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
            // Threads read the clock; kernels ask for the machine's instruction sets.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("CROSSLATCH_INSTRUCTIONS", "portable");
        run(&mut command)?;
    }
    Ok(())
}

/// The `cargo` that asks rustup for a toolchain: the one that runs this chore belongs to a toolchain, and
/// passes it on to its children.
fn rustups_cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(variable);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_exists() {
        for part in PARTS {
            let src = crate::root().join("crates").join(part.package).join("src");
            for module in part.modules {
                let path = module.trim_end_matches("::").replace("::", "/");
                let is_file = src.join(format!("{path}.rs")).exists();
                assert!(
                    is_file || src.join(&path).join("mod.rs").exists(),
                    "{module}"
                );
            }
        }
    }
}
