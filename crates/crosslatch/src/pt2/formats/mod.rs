//! Recognising what people give instead of a `.pt2`, and saying how to get one.
//!
//! Models come in many files, and most of them hold something other than a program: weights alone, a
//! program for another runtime, machine code. None of them can be read here, but each is recognised,
//! and for each there is a command that makes a `.pt2` of the model that it belongs to.
//!
//! A [`file`] is recognised by its first bytes, an [`archive`] by the names of its entries, a
//! [`folder`] by the names in it. The name of a file itself is not looked at, because it is often
//! wrong. Nothing is assumed about the contents. Each module has a table of formats, the more
//! special ones first.

mod archive;
mod file;
mod folder;
#[cfg(test)]
mod tests;

use std::path::Path;

use folder::{is_exportable, names_in};

/// A format that Crosslatch does not read, recognised by a function `F` of the contents or the names.
struct Format<F> {
    /// What it is, in words that follow "is".
    what: &'static str,
    matches: F,
    remedy: Remedy,
}

/// Whether a file with these contents is of a format.
type OfContents = fn(&[u8]) -> bool;

/// Whether an archive or a folder with these names is of a format.
type OfNames = fn(&[&str]) -> bool;

/// How to get a `.pt2` instead.
enum Remedy {
    /// Export the model whose folder this is, or lies in, or whose name the user knows.
    ExportFolder,
    /// Export the model that this was made of.
    ExportOriginal,
    /// Do this.
    Do(&'static str),
}

/// What a file with these contents is, if it is recognised.
pub fn of_file(path: &Path, contents: &[u8]) -> Option<String> {
    recognise(file::FORMATS, path, |matches| matches(contents))
}

/// What a zip archive is, if it is recognised by its entries, which are named below its own folder.
pub fn of_archive(path: &Path, names: &[&str]) -> Option<String> {
    recognise(archive::FORMATS, path, |matches| matches(names))
}

/// What a folder is, if it is recognised.
pub fn of_folder(path: &Path) -> Option<String> {
    let names = names_in(path);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    recognise(folder::FORMATS, path, |matches| matches(&names))
}

/// What the first format that matches is, and what to do.
fn recognise<F>(formats: &[Format<F>], path: &Path, holds: impl Fn(&F) -> bool) -> Option<String> {
    let format = formats.iter().find(|format| holds(&format.matches))?;
    let (what, remedy) = (format.what, format.remedy.message(path));
    Some(format!("is {what}; {remedy}"))
}

impl Remedy {
    /// What to do with the file or folder at this path.
    fn message(&self, path: &Path) -> String {
        match (self, exportable_folder(path)) {
            (Remedy::ExportFolder | Remedy::ExportOriginal, Some(folder)) => {
                format!("make a .pt2 of it: crosslatch-export {folder} OUT.pt2")
            }
            (Remedy::ExportFolder, None) => {
                "make a .pt2 of the model that it belongs to: crosslatch-export MODEL OUT.pt2, \
                 where MODEL is the model's folder, or its name on the Hugging Face hub"
                    .into()
            }
            (Remedy::ExportOriginal, None) => {
                "make a .pt2 of the model that it was made of: crosslatch-export MODEL OUT.pt2 \
                 for one of Hugging Face, by its folder or name, or \
                 torch.export.save(torch.export.export(module, inputs), \"OUT.pt2\")"
                    .into()
            }
            (Remedy::Do(remedy), _) => (*remedy).into(),
        }
    }
}

/// The Hugging Face folder that a path is, or lies in, if it can be exported; quoted for a shell.
fn exportable_folder(path: &Path) -> Option<String> {
    let folder = match path.is_dir() {
        true => path,
        false => path.parent()?,
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let names = names_in(folder);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    is_exportable(&names).then(|| quoted(&folder.display().to_string()))
}

/// A word, quoted for a shell where it needs to be.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
