//! One entry for every chore: `cargo xtask CHORE`.
//!
//! `test` is what a contributor and the continuous integration run. This program has no
//! dependencies, so that it starts at once.

mod benches;
mod exports;
mod flow;
mod fuzz;
mod miri;
mod operators;
mod python;
mod testing;
mod torch;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask CHORE

  test [ARGS…]   every test: Rust, then Python (ARGS go to pytest)
  test PIECE [ARGS…]
                 one piece: rust, or a crate (engine, kernels, tasks, serve, cli, torch, fuzz, xtask);
                 python, or architectures, command, docs, exporting, exports, latching, operators,
                 package, torch-operators
  flow           checks the direction of imports and the sizes of files and folders
  lint           checks formatting and runs clippy
  operators [ARGS…]
                 compares the operators with PyTorch's and prints a report
  operators --core
                 counts PyTorch's core operators, and those of them that the engine has
  operators --torch VERSION [ARGS…]
                 tests the operators for PyTorch with another torch, such as 2.12, in an
                 environment of its own
  exports [--torch VERSION] [COUNT [FIRST]]
                 draws random modules, exports them, and compares the engine with PyTorch
  families       writes docs/guide/families.md: which models are exported, what latching saves
  architectures [NAME…]
                 writes docs/guide/architectures.md: what runs of programs that torch.export makes of
                 models as they are; --help lists options
  bench ops      the operators for PyTorch beside the published ones, if those are installed
  bench latch    a decoder step as exported and latched: eager, compiled, in the engine
  bench peers    windows and whole recordings in every runtime that is installed, in one run;
                 --help lists sizes and options
  soak serve     the server under 64 clients for two minutes, some of which hang up
  fuzz [TARGET…] [--seconds N] [--inputs N]
                 hostile inputs against every reader of foreign data
  miri           the unsafe code under Miri, if a nightly toolchain has it
  env            makes the Python environment
  lock           resolves python/requirements.in into python/requirements.lock";

/// Builds the command with its server.
const SERVER: [&str; 2] = ["--features", "crosslatch-cli/serve"];

/// Why a chore failed, for people.
type Failure = String;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (chore, rest) = match args.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("", &[][..]),
    };
    let root = root();
    let outcome = match chore {
        "test" => testing::test(&root, rest),
        "operators" if rest.first().is_some_and(|option| option == "--torch") => match &rest[1..] {
            [version, args @ ..] => operators::with_torch(&root, version, args),
            [] => Err("--torch needs a version, such as 2.12".into()),
        },
        "operators" if rest == ["--core"] => core_operators(&root),
        "operators" => operators(&root, rest),
        "exports" => exports::exports(&root, rest),
        "families" => families(&root),
        "architectures" => architectures(&root, rest),
        "bench" => benches::bench(&root, rest),
        "soak" => benches::soak(&root, rest),
        "flow" => flow::flow(&root),
        "fuzz" => fuzz::fuzz(&root, rest),
        "miri" => miri::miri(&root, rest),
        "lint" => lint(&root),
        "env" => python::environment(&root).map(|_| ()),
        "lock" => python::lock(&root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(1)
        }
    }
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Builds the shared object that `import crosslatch.ops` loads.
fn operators_for_torch(root: &Path) -> Result<(), Failure> {
    run(cargo(root).args(["build", "--release", "--package", "crosslatch-torch"]))
}

fn operators(root: &Path, pytest_args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    run(cargo(root).args([
        "build",
        "--release",
        "--package",
        "crosslatch",
        "--examples",
    ]))?;
    operators_for_torch(root)?;
    let mut args = vec!["-s".to_owned()];
    args.extend_from_slice(pytest_args);
    pytest(root, &python, "python/tests/operators", &args)
}

/// Prints how many of PyTorch's core operators the engine has.
fn core_operators(root: &Path) -> Result<(), Failure> {
    let python = python::environment(root)?;
    run(Command::new(python)
        .args(["-m", "operators.core"])
        .current_dir(root.join("python/tests")))
}

/// Exports every family and writes the table.
fn families(root: &Path) -> Result<(), Failure> {
    let python = python::environment(root)?;
    operators_for_torch(root)?;
    run(Command::new(python)
        .arg("python/tests/exporting/families_table.py")
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

/// Exports architectures as they are, compares the engine with PyTorch, and writes the table.
fn architectures(root: &Path, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    testing::build(root)?;
    run(Command::new(python)
        .arg("python/tests/architectures/table.py")
        .args(args)
        .current_dir(root)
        // The tests start hundreds of processes that import torch, which takes long without compiled modules.
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn pytest(root: &Path, python: &Path, tests: &str, args: &[String]) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    run(Command::new(python)
        .args(["-m", "pytest", "-q", tests])
        // A file's tests share models that are exported once, so they stay together.
        .args(["-n", &cores.to_string(), "--dist", "loadscope"])
        .args(args)
        .current_dir(root)
        // The tests start hundreds of processes that import torch, which takes long without compiled modules.
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn lint(root: &Path) -> Result<(), Failure> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root)
        .args(["clippy", "--workspace", "--all-targets", "--release"])
        .args(SERVER)
        .args(["--", "-D", "warnings"]))
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root);
    command
}

fn target(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    }
}

/// Runs a command with its output shown, and fails if it does.
fn run(command: &mut Command) -> Result<(), Failure> {
    eprintln!("+ {}", shown(command));
    let status = command
        .status()
        .map_err(|e| format!("{}: {e}", shown(command)))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{}: {status}", shown(command))),
    }
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}
