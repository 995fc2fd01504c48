//! Tests the operators for PyTorch with another version of torch.
//!
//! The library claims to serve several versions of torch, and only running it with each shows it.

use std::path::Path;
use std::process::Command;

use super::{Failure, operators_for_torch, run, target, torch};

/// The packages that the operators' tests import besides torch.
const PACKAGES: [&str; 5] = [
    "numpy",
    "pytest",
    "pytest-xdist",
    "transformers",
    "expecttest",
];
const TESTS: &str = "python/tests/torch_operators";
/// The engine does not depend on the version of torch.
const OF_THE_ENGINE: &str = "python/tests/torch_operators/test_engine.py";

/// Runs the operators' tests with this version of torch, `2.12` or `2.12.1`.
pub fn with_torch(root: &Path, version: &str, pytest_args: &[String]) -> Result<(), Failure> {
    let python = torch::environment(root, version, &PACKAGES)?;
    operators_for_torch(root)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    run(Command::new(python)
        .args(["-m", "pytest", "-q", TESTS, "--ignore", OF_THE_ENGINE])
        .args(["-n", &cores.to_string(), "--dist", "load"])
        .args(pytest_args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}
