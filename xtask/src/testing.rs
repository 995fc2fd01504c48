//! `cargo xtask test [PIECE]`: all tests, or one piece of them.
//!
//! Most Rust tests run in the profile `release`. The engine and the kernels, which compute sizes and
//! elements, run in `checked`: compiled for speed, with checks for sums that overflow. The kernels run
//! again with lesser instruction sets than the machine's. Then PyTorch is the oracle of the Python
//! tests, which use the command, the examples and the shared objects.

use std::path::Path;

use crate::{Failure, SERVER, cargo, pytest, python, run};

/// The packages that are tested in the profile `checked`.
const CHECKED: [&str; 2] = ["crosslatch", "crosslatch-kernels"];

/// The pieces that are crates: name, package.
const CRATES: [(&str, &str); 10] = [
    ("checkpoints", "crosslatch-checkpoints"),
    ("cli", "crosslatch-cli"),
    ("engine", "crosslatch"),
    ("fuzz", "crosslatch-fuzz"),
    ("hub", "crosslatch-hub"),
    ("kernels", "crosslatch-kernels"),
    ("serve", "crosslatch-serve"),
    ("tasks", "crosslatch-tasks"),
    ("torch", "crosslatch-torch"),
    ("xtask", "xtask"),
];

/// The pieces that are written in Python: name, file or folder below `python/tests`.
const PYTHON: [(&str, &str); 14] = [
    ("architectures", "architectures"),
    ("benches", "benches"),
    ("checkpoint-folders", "checkpoints"),
    ("command", "command"),
    ("docs", "test_docs.py"),
    ("examples", "examples"),
    ("executorch", "pte"),
    ("exporting", "exporting"),
    ("exports", "exports"),
    ("first-hour", "first_hour"),
    ("latching", "latching"),
    ("operators", "operators"),
    ("package", "package"),
    ("torch-operators", "torch_operators"),
];

/// Runs the piece that the first argument names, or everything; other arguments go to pytest.
pub fn test(root: &Path, args: &[String]) -> Result<(), Failure> {
    let Some((piece, rest)) = args
        .split_first()
        .filter(|(first, _)| !first.starts_with('-'))
    else {
        // First, because it needs the network and fails early.
        python::environment(root)?;
        rust(root)?;
        return in_python(root, "", args);
    };
    if let Some((_, package)) = CRATES.iter().find(|(name, _)| name == piece) {
        return of_crate(root, package, rest);
    }
    if let Some((_, tests)) = PYTHON.iter().find(|(name, _)| name == piece) {
        return in_python(root, tests, rest);
    }
    match piece.as_str() {
        "python" => in_python(root, "", rest),
        "rust" => rust(root),
        other => Err(format!(
            "no piece of the tests is called `{other}`; there are {}",
            names()
        )),
    }
}

/// The names of the pieces, for people.
fn names() -> String {
    let crates = CRATES.iter().map(|(name, _)| *name);
    let python = PYTHON.iter().map(|(name, _)| *name);
    let names = ["rust"]
        .into_iter()
        .chain(crates)
        .chain(["python"])
        .chain(python);
    names.collect::<Vec<_>>().join(", ")
}

fn rust(root: &Path) -> Result<(), Failure> {
    run(cargo(root)
        .args(["test", "--workspace", "--release"])
        .args(CHECKED.iter().flat_map(|package| ["--exclude", package]))
        .args(SERVER))?;
    run(cargo(root)
        .args(["test", "--profile", "checked"])
        .args(CHECKED.iter().flat_map(|package| ["--package", package])))?;
    kernels_with_lesser_instructions(root)
}

/// The tests of one package; `args` go to the test program.
fn of_crate(root: &Path, package: &str, args: &[String]) -> Result<(), Failure> {
    let profile = match CHECKED.contains(&package) {
        true => "checked",
        false => "release",
    };
    let mut command = cargo(root);
    command.args(["test", "--profile", profile, "--package", package]);
    if package == "crosslatch-cli" {
        command.args(SERVER);
    }
    run(command.arg("--").args(args))?;
    match package {
        "crosslatch-kernels" => kernels_with_lesser_instructions(root),
        _ => Ok(()),
    }
}

/// Tests run with the best instructions of the machine; kernels have other ways, too. A machine that
/// lacks what a name allows runs what it has.
fn kernels_with_lesser_instructions(root: &Path) -> Result<(), Failure> {
    for instructions in ["portable", "avx2", "avx-vnni", "avx512"] {
        run(cargo(root)
            .args([
                "test",
                "--release",
                "--package",
                "crosslatch-kernels",
                "--lib",
            ])
            .env("CROSSLATCH_INSTRUCTIONS", instructions))?;
    }
    Ok(())
}

/// Builds what Python uses: all libraries and programs, with one set of features.
pub fn build(root: &Path) -> Result<(), Failure> {
    run(cargo(root)
        .args([
            "build",
            "--release",
            "--workspace",
            "--lib",
            "--bins",
            "--examples",
        ])
        .args(SERVER))
}

/// Runs the Python tests below `python/tests`.
fn in_python(root: &Path, tests: &str, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    build(root)?;
    pytest(root, &python, &format!("python/tests/{tests}"), args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_test_belongs_to_a_piece() {
        let folder = crate::root().join("python/tests");
        for (_, tests) in PYTHON {
            assert!(folder.join(tests).exists(), "{tests}");
        }
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_test = |name: &str| name.starts_with("test_") && name.ends_with(".py");
            let mut inside = std::fs::read_dir(entry.path())
                .into_iter()
                .flatten()
                .flatten();
            let has_tests =
                is_test(&name) || inside.any(|file| is_test(&file.file_name().to_string_lossy()));
            let is_listed = PYTHON.iter().any(|(_, tests)| *tests == name);
            assert!(is_listed || !has_tests, "{name}");
        }
    }

    #[test]
    fn every_crate_with_tests_is_a_piece() {
        for entry in std::fs::read_dir(crate::root().join("crates")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_piece = CRATES.iter().any(|(_, package)| *package == name);
            // An extension module can be loaded by Python only.
            assert!(is_piece || name == "crosslatch-python", "{name}");
        }
    }

    #[test]
    fn a_piece_that_is_none_is_refused_with_those_that_are() {
        let refused = test(&crate::root(), &["everything".to_owned()]).unwrap_err();
        assert!(refused.contains("`everything`; there are rust, checkpoints, cli"));
    }
}
