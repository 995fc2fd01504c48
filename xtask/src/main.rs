//! One entry for every chore: `cargo xtask CHORE`.
//!
//! `test` is what a contributor and the continuous integration run: it makes the Python
//! environment if there is none, builds the command, runs the Rust tests and then the Python
//! tests, where PyTorch is the oracle. It has no dependencies, so that it starts at once.

mod flow;
mod fuzz;
mod miri;
mod operators;
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask CHORE

  test [ARGS…]   everything: Rust tests, then Python tests (ARGS go to pytest)
  operators [ARGS…]
                 only the operators against PyTorch, with the report
  operators --torch VERSION [ARGS…]
                 the operators for PyTorch with another torch, 2.12 say, in an environment of its own
  families       docs/guide/families.md anew: which models are exported, and what latching saves
  bench ops      the operators for PyTorch, beside the published ones if there are any
  bench latch    a decoder step as exported and latched: eager, compiled, in the engine
  bench peers    a window of speech in every runtime at hand, in one run
  soak serve     the server under 64 clients for two minutes, some of which hang up
  fuzz [TARGET…] [--seconds N] [--inputs N]
                 hostile inputs against everything that reads what others wrote
  miri           the unsafe code under Miri, where a nightly toolchain has it
  flow           no import runs against the declared order, no file or folder is too large
  lint           formatting and clippy
  env            only make the Python environment
  lock           resolve python/requirements.in into python/requirements.lock";

/// The part of the command that is built only where it is asked for.
const SERVER: [&str; 2] = ["--features", "crosslatch-cli/serve"];

/// The packages that are tested in the profile `checked`.
const CHECKED: [&str; 2] = ["crosslatch", "crosslatch-kernels"];

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
        "test" => test(&root, rest),
        "operators" if rest.first().is_some_and(|option| option == "--torch") => match &rest[1..] {
            [version, args @ ..] => operators::with_torch(&root, version, args),
            [] => Err("--torch needs a version, 2.12 say".into()),
        },
        "operators" => operators(&root, rest),
        "families" => families(&root),
        "bench" if rest.first().is_some_and(|what| what == "ops") => bench_ops(&root, &rest[1..]),
        "bench" if rest.first().is_some_and(|what| what == "latch") => {
            bench_latch(&root, &rest[1..])
        }
        "bench" if rest.first().is_some_and(|what| what == "peers") => {
            bench_peers(&root, &rest[1..])
        }
        "soak" if rest.first().is_some_and(|what| what == "serve") => soak_serve(&root, &rest[1..]),
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

fn test(root: &Path, pytest_args: &[String]) -> Result<(), Failure> {
    // First, because it needs the network and fails early.
    let python = python::environment(root)?;
    run(cargo(root)
        .args(["test", "--workspace", "--release"])
        .args(CHECKED.iter().flat_map(|package| ["--exclude", package]))
        .args(SERVER))?;
    // What computes sizes and elements is compiled with checks for sums that overflow.
    run(cargo(root)
        .args(["test", "--profile", "checked"])
        .args(CHECKED.iter().flat_map(|package| ["--package", package])))?;
    // That was with the best instructions of this machine; kernels have ways for lesser ones too.
    for instructions in ["portable", "avx2"] {
        run(cargo(root)
            .args([
                "test",
                "--package",
                "crosslatch-kernels",
                "--release",
                "--lib",
            ])
            .env("CROSSLATCH_INSTRUCTIONS", instructions))?;
    }
    // Testing built everything but the command, the examples and the shared objects that the
    // Python tests use.
    run(cargo(root)
        .args(["build", "--release", "--workspace", "--lib", "--bins"])
        .arg("--examples")
        .args(SERVER))?;
    pytest(root, &python, "python/tests", pytest_args)
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

fn bench_ops(root: &Path, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    operators_for_torch(root)?;
    run(Command::new(python)
        .arg("python/benches/ops.py")
        .args(args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

/// Exports every family and writes the table.
fn families(root: &Path) -> Result<(), Failure> {
    let python = python::environment(root)?;
    operators_for_torch(root)?;
    run(Command::new(python)
        .arg("python/tests/families_table.py")
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn bench_latch(root: &Path, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    operators_for_torch(root)?;
    run(cargo(root).args([
        "build",
        "--release",
        "--package",
        "crosslatch-python",
        "--lib",
    ]))?;
    run(Command::new(python)
        .arg("python/benches/latch.py")
        .args(args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn bench_peers(root: &Path, args: &[String]) -> Result<(), Failure> {
    let folder = target(root).join("peers-environment");
    let python = python::filled(root, &folder, python::PEERS_LOCK)?;
    run(cargo(root).args(["build", "--release", "--package", "crosslatch-python"]))?;
    // Its `bench` takes the steps of several sessions together.
    if args.iter().any(|arg| arg == "--batch") {
        run(cargo(root).args(["build", "--release", "--package", "crosslatch-cli"]))?;
    }
    // Those that are written in Rust have no wheels, and take minutes to build.
    let only = args.iter().position(|arg| arg == "--only");
    let only = only.and_then(|at| args.get(at + 1));
    let wants = |runtime: &str| only.is_none_or(|only| only.split(',').any(|one| one == runtime));
    if wants("rten") || wants("candle") {
        run(cargo(root)
            .args(["build", "--release", "--locked"])
            .args(["--manifest-path", "python/benches/peers/rust/Cargo.toml"])
            .arg("--target-dir")
            .arg(target(root).join("peers-rust")))?;
    }
    run(Command::new(python)
        .arg("python/benches/peers")
        .args(args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn soak_serve(root: &Path, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    run(cargo(root)
        .args(["build", "--release", "--package", "crosslatch-cli"])
        .args(["--features", "serve"]))?;
    run(Command::new(python)
        .arg("python/benches/soak_serve.py")
        .args(args)
        .current_dir(root)
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
