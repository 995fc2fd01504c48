//! `cargo xtask bench` and `cargo xtask soak`: measurements that are not tests.

use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, operators_for_torch, python, run, target};

/// Runs the benchmark that the first argument names.
pub fn bench(root: &Path, args: &[String]) -> Result<(), Failure> {
    match args.split_first() {
        Some((what, rest)) if what == "ops" => ops(root, rest),
        Some((what, rest)) if what == "latch" => latch(root, rest),
        Some((what, rest)) if what == "peers" => peers(root, rest),
        _ => Err("expected `bench ops`, `bench latch` or `bench peers`".into()),
    }
}

/// Keeps the server busy for minutes.
pub fn soak(root: &Path, args: &[String]) -> Result<(), Failure> {
    match args.split_first() {
        Some((what, rest)) if what == "serve" => soak_serve(root, rest),
        _ => Err("expected `soak serve`".into()),
    }
}

fn ops(root: &Path, args: &[String]) -> Result<(), Failure> {
    let python = python::environment(root)?;
    operators_for_torch(root)?;
    run(Command::new(python)
        .arg("python/benches/ops.py")
        .args(args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

fn latch(root: &Path, args: &[String]) -> Result<(), Failure> {
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

fn peers(root: &Path, args: &[String]) -> Result<(), Failure> {
    let folder = target(root).join("peers-environment");
    let python = python::filled(root, &folder, python::PEERS_LOCK)?;
    let asks = |option: &str| args.iter().any(|arg| arg == option);
    if !asks("--print") && !asks("--help") {
        peers_builds(root, args)?;
    }
    run(Command::new(python)
        .arg("python/benches/peers")
        .args(args)
        .current_dir(root)
        .env("CROSSLATCH_TARGET", target(root).join("release")))
}

/// Builds what this run of the benchmark of other runtimes uses, beside their wheels.
fn peers_builds(root: &Path, args: &[String]) -> Result<(), Failure> {
    run(cargo(root).args(["build", "--release", "--package", "crosslatch-python"]))?;
    // `crosslatch bench` measures steps of several sequences, and the command transcribes.
    let uses_command = |arg: &String| matches!(arg.as_str(), "--batch" | "--beams" | "--real");
    if args.iter().any(uses_command) {
        run(cargo(root).args(["build", "--release", "--package", "crosslatch-cli"]))?;
    }
    // Runtimes in Rust have no wheels, and take minutes to build. They do not transcribe.
    let asks = |option: &str| args.iter().any(|arg| arg == option);
    if asks("--real") && !asks("--sizes") {
        return Ok(());
    }
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
    Ok(())
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
