//! Tests the operators for PyTorch with another version of torch.
//!
//! The library claims to serve several versions of torch, and only running it with each shows it. Each
//! version gets an environment of its own in the target folder, with that torch; the other packages that
//! the tests import have the versions that `python/requirements.lock` pins.

use std::path::Path;
use std::process::Command;

use super::python::{self, LOCK};
use super::{Failure, operators_for_torch, run, target};

/// The packages that the operators' tests import besides torch.
const PACKAGES: [&str; 5] = [
    "numpy",
    "pytest",
    "pytest-xdist",
    "transformers",
    "expecttest",
];
/// Older versions of torch import it to compile, but not all of them declare it.
const BUILD: &str = "setuptools";

const TESTS: &str = "python/tests/torch_operators";
/// The engine does not depend on the version of torch.
const OF_THE_ENGINE: &str = "python/tests/torch_operators/test_engine.py";

/// Runs the operators' tests with this version of torch, `2.12` or `2.12.1`.
pub fn with_torch(root: &Path, version: &str, pytest_args: &[String]) -> Result<(), Failure> {
    let requirements = requirements(root, version)?;
    let folder = target(root).join(format!("torch-{version}"));
    let python = python::with_packages(root, &folder, &requirements)?;
    operators_for_torch(root)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    run(Command::new(python)
        .args(["-m", "pytest", "-q", TESTS, "--ignore", OF_THE_ENGINE])
        .args(["-n", &cores.to_string(), "--dist", "load"])
        .args(pytest_args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

/// The requirements of the environment, one per line.
fn requirements(root: &Path, version: &str) -> Result<String, Failure> {
    let numbers: Vec<_> = version.split('.').collect();
    let is_number = |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    if !(2..=3).contains(&numbers.len()) || !numbers.iter().all(is_number) {
        return Err(format!(
            "{version:?} is not a version of torch; expected 2.12 or 2.12.1"
        ));
    }
    let any = if numbers.len() == 2 { ".*" } else { "" };
    let mut lines = vec![format!("torch=={version}{any}"), BUILD.to_owned()];
    let lock = std::fs::read_to_string(root.join(LOCK)).map_err(|e| format!("{LOCK}: {e}"))?;
    for package in PACKAGES {
        let pin = lock
            .lines()
            .find(|line| line.split("==").next() == Some(package))
            .ok_or_else(|| format!("{LOCK} does not pin {package}"))?;
        lines.push(pin.to_owned());
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn a_version_becomes_one_torch_and_the_pinned_packages() {
        let lines = requirements(&root(), "2.12").unwrap();
        assert!(lines.starts_with("torch==2.12.*\n"));
        for package in PACKAGES {
            assert_eq!(
                lines.matches(&format!("\n{package}==")).count(),
                1,
                "{package}"
            );
        }
        assert!(
            requirements(&root(), "2.12.1")
                .unwrap()
                .starts_with("torch==2.12.1\n")
        );
    }

    #[test]
    fn anything_but_a_version_is_refused() {
        for word in ["", "2", "2.", "latest", "2.12; os_name", "2.12.1.0"] {
            assert!(
                requirements(&root(), word)
                    .unwrap_err()
                    .contains("is not a version of torch")
            );
        }
    }
}
