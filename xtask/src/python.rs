//! The Python environment of the tests.
//!
//! It lies in `.venv` in the root (or where `CROSSLATCH_VENV` says) and holds exactly what
//! `python/requirements.lock` pins. A stamp with the contents of the lock file marks it as complete, so a
//! second run costs nothing, and a changed lock file updates the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Failure, run};

/// The pinned requirements of the tests.
pub const LOCK: &str = "python/requirements.lock";
const PEERS: &str = "python/benches/peers/requirements.in";
/// The pinned requirements of the benchmark of other runtimes.
pub const PEERS_LOCK: &str = "python/benches/peers/requirements.lock";
const UV: &str = "uv==0.13.9";

/// Makes the environment if it is missing or out of date; returns its interpreter.
pub fn environment(root: &Path) -> Result<PathBuf, Failure> {
    let folder = match std::env::var_os("CROSSLATCH_VENV") {
        Some(folder) => root.join(folder),
        None => root.join(".venv"),
    };
    filled(root, &folder, LOCK)
}

/// Makes an environment in this folder with exactly what the lock file pins; returns its interpreter.
pub fn filled(root: &Path, folder: &Path, lock_file: &str) -> Result<PathBuf, Failure> {
    let python = folder.join("bin/python");
    let stamp = folder.join("crosslatch.lock");
    let lock =
        std::fs::read_to_string(root.join(lock_file)).map_err(|e| format!("{lock_file}: {e}"))?;
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|s| s == lock) {
        return Ok(python);
    }
    empty(folder)?;
    run(Command::new(uv(folder)?)
        .args(["pip", "sync", "--quiet", "--python"])
        .arg(&python)
        .arg(lock_file)
        .current_dir(root))?;
    std::fs::write(&stamp, lock).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(python)
}

/// Makes an environment in this folder with these requirements, one per line, and their dependencies;
/// returns its interpreter.
pub fn with_packages(root: &Path, folder: &Path, requirements: &str) -> Result<PathBuf, Failure> {
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|s| s == requirements) {
        return Ok(python);
    }
    empty(folder)?;
    // Not under the name of the stamp, which would mark the environment as complete.
    let wanted = folder.join("requirements.in");
    let write = |path: &Path| {
        std::fs::write(path, requirements).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(&wanted)?;
    run(Command::new(uv(folder)?)
        .args(["pip", "install", "--quiet", "--python"])
        .arg(&python)
        .arg("--requirement")
        .arg(&wanted)
        .current_dir(root))?;
    write(&stamp)?;
    Ok(python)
}

/// Makes an environment without packages unless there is one.
fn empty(folder: &Path) -> Result<(), Failure> {
    if folder.join("bin/python").exists() {
        return Ok(());
    }
    run(Command::new(system_python()?)
        .args(["-m", "venv"])
        .arg(folder))
}

/// The installer: the one on PATH, or otherwise the pinned one, installed into the environment.
fn uv(folder: &Path) -> Result<PathBuf, Failure> {
    if Command::new("uv")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        return Ok("uv".into());
    }
    let own = folder.join("bin/uv");
    if !own.exists() {
        run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", UV]))?;
    }
    Ok(own)
}

/// Resolves the requirements of the tests and of the benchmark.
pub fn lock(root: &Path) -> Result<(), Failure> {
    let python = environment(root)?;
    let folder = python.ancestors().nth(2).unwrap_or(root);
    for (wanted, lock) in [("python/requirements.in", LOCK), (PEERS, PEERS_LOCK)] {
        run(Command::new(uv(folder)?)
            .args(["pip", "compile", "--quiet", "--universal"])
            .args(["--python-version", "3.11", "--no-header", "--no-annotate"])
            .args([wanted, "-o", lock])
            .current_dir(root))?;
    }
    Ok(())
}

/// An interpreter that is new enough.
fn system_python() -> Result<String, Failure> {
    let is_new = "import sys; sys.exit(sys.version_info < (3, 11))";
    ["python3", "python"]
        .into_iter()
        .find(|python| {
            Command::new(python)
                .args(["-c", is_new])
                .status()
                .is_ok_and(|s| s.success())
        })
        .map(str::to_owned)
        .ok_or_else(|| {
            "the tests need Python 3.11 or later (as torch 2.15 does), and none is on PATH".into()
        })
}
