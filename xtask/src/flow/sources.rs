//! The source files of the repository.

use std::path::{Path, PathBuf};

use crate::Failure;

/// Folders whose files nobody here wrote.
const FOREIGN: [&str; 3] = ["target", ".git", ".venv"];

/// Folders of files that were built from others.
const BUILT: [&str; 2] = ["build", "demo/build"];

/// The Rust and Python files below a folder, in order, all relative to the root.
pub fn below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_source = |file: &Path| file.extension().is_some_and(|e| e == "rs" || e == "py");
    files_below(root, folder, &is_source)
}

/// The files below a folder that the filter wants, in order, all relative to the root.
pub fn files_below(
    root: &Path,
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let absolute = root.join(folder);
    let failed = |e: std::io::Error| format!("{}: {e}", absolute.display());
    for entry in std::fs::read_dir(&absolute).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = folder.join(entry.file_name());
        let foreign = FOREIGN.iter().any(|name| entry.file_name() == *name)
            || BUILT.iter().any(|built| path == Path::new(built));
        if entry.file_type().map_err(failed)?.is_dir() {
            if !foreign {
                found.extend(files_below(root, &path, wanted)?);
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
