//! The runner of the text tests.
//!
//! # A file
//!
//! ```text
//! #! test: plan
//! # The clone is what keeps the old contents: it must not be dropped.
//! program model
//! input %k: f32[1, 2, 2, 3]
//! state %cache: f32[1, 2, 4, 3]
//! %old: f32[1, 2, 4, 3] = aten::clone(self=%cache)
//! #> copy: the program asks for a copy; one of the two is written while the other is still wanted (step 1)
//! %new: f32[1, 2, 4, 3] = executorch::update_cross_attn_cache(value=%k, cache=%cache)
//! #> store: an operator stores it there; its layout changes
//! %change: f32[1, 2, 4, 3] = aten::sub.Tensor(self=%new, other=%old)
//! return "change"=%change
//! ```
//!
//! Lines that begin with `#!` are the header: the pass, whose name is also that of the folder, and
//! the options of the pass. Lines that begin with `#>` are expectations. Each stands directly below
//! the line that it is about, or below `program` if it is about the whole program. They are
//! complete: a decision without an expectation fails the test, as does an expectation without a
//! decision. All other lines that begin with `#` are comments. Each statement is on a line of its
//! own.
//!
//! Headers and expectations that the pass does not know are errors, and so are programs in a folder
//! that belongs to no pass.
//!
//! # A test
//!
//! The program is parsed, verified, printed and parsed again. The pass ([`plan`], [`latch`],
//! [`halves`], [`linear`], [`fold`], [`quantize`], [`caches`], [`alignment`], [`segments`], [`random`]) decides, and
//! the text of the file is written with these decisions as its expectations. If that is another text, the test fails; in
//! blessing mode, the file is replaced. Then the program runs, and whatever was decided, it must compute what the
//! reference interpreter says it means: a blessed file that computes something else still fails.

pub mod file;
mod outline;
mod runs;
pub mod tests;

mod alignment;
mod caches;
mod fold;
mod halves;
mod latch;
mod linear;
mod plan;
mod quantize;
mod random;
mod segments;

use std::path::{Path, PathBuf};

use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ir::{Catalogue, Program};

use file::{Mode, TestFile};

/// A pass and the vocabulary of its test files.
pub struct Pass {
    /// Its name, which headers and the folder have.
    pub name: &'static str,
    /// The keys of its options in the header.
    pub options: &'static [&'static str],
    /// What its expectations begin with.
    pub expectations: &'static [&'static str],
    /// The least number of files, so that a folder that went missing is noticed.
    pub least: usize,
    /// Lets the pass decide, compares the decisions with the expectations, and runs the program.
    check: fn(&TestFile, Program, Mode) -> Result<(), String>,
}

/// All passes.
pub const PASSES: [&Pass; 10] = [
    &plan::PASS,
    &latch::PASS,
    &halves::PASS,
    &linear::PASS,
    &fold::PASS,
    &quantize::PASS,
    &caches::PASS,
    &alignment::PASS,
    &segments::PASS,
    &random::PASS,
];

/// All programs below a folder, sorted by path.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "ir") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The name of a file's test: its path below the root, without the extension.
pub fn name(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path).with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// Runs a file's test.
pub fn check(path: &Path, mode: Mode) -> Result<(), String> {
    let at = |e: String| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| at(e.to_string()))?;
    check_text(path, &text, mode).map_err(at)
}

fn check_text(path: &Path, text: &str, mode: Mode) -> Result<(), String> {
    let test = TestFile::parse(path, text, &PASSES)?;
    let program = parse(text, Catalogue::builtin()).map_err(|e| e.to_string())?;
    verify(&program).map_err(|e| e.to_string())?;
    let printed = program.to_string();
    let again = parse(&printed, Catalogue::builtin());
    let again = again.map_err(|e| format!("the printed program is not read back: {e}"))?;
    if again.to_string() != printed {
        return Err("the printed program is read back as another one".into());
    }
    (test.pass.check)(&test, program, mode)
}
