//! Python environments with another version of torch than the tests'.
//!
//! Each version gets one of its own in the target folder, with that torch; other packages have the versions
//! that `python/requirements.lock` pins.

use std::path::{Path, PathBuf};

use super::python::{self, LOCK};
use super::{Failure, target};

/// Older versions of torch import it to compile, but not all of them declare it.
const BUILD: &str = "setuptools";

/// Makes the environment with this version of torch, `2.12` or `2.12.1`, and these packages, unless there is
/// one; returns its interpreter.
pub fn environment(root: &Path, version: &str, packages: &[&str]) -> Result<PathBuf, Failure> {
    let requirements = requirements(root, version, packages)?;
    let folder = target(root).join(format!("torch-{version}"));
    python::with_packages(root, &folder, &requirements)
}

/// The requirements of the environment, one per line.
fn requirements(root: &Path, version: &str, packages: &[&str]) -> Result<String, Failure> {
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
    for package in packages {
        let pin = lock
            .lines()
            .find(|line| line.split("==").next() == Some(*package))
            .ok_or_else(|| format!("{LOCK} does not pin {package}"))?;
        lines.push(pin.to_owned());
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    const PACKAGES: [&str; 2] = ["numpy", "pytest"];

    #[test]
    fn a_version_becomes_one_torch_and_the_pinned_packages() {
        let lines = requirements(&root(), "2.12", &PACKAGES).unwrap();
        assert!(lines.starts_with("torch==2.12.*\n"));
        for package in PACKAGES {
            assert_eq!(
                lines.matches(&format!("\n{package}==")).count(),
                1,
                "{package}"
            );
        }
        assert!(
            requirements(&root(), "2.12.1", &PACKAGES)
                .unwrap()
                .starts_with("torch==2.12.1\n")
        );
    }

    #[test]
    fn anything_but_a_version_is_refused() {
        for word in ["", "2", "2.", "latest", "2.12; os_name", "2.12.1.0"] {
            assert!(
                requirements(&root(), word, &PACKAGES)
                    .unwrap_err()
                    .contains("is not a version of torch")
            );
        }
    }
}
