//! A test file: its header, its program and its expectations, and how blessing rewrites it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crosslatch::ir::Program;

use super::Pass;
use super::outline::Outline;

/// What happens to a file whose expectations are not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its test fails.
    Compare,
    /// It is rewritten to expect what was decided.
    Bless,
}

/// A parsed file.
pub struct TestFile {
    path: PathBuf,
    text: String,
    /// The pass that it tests.
    pub pass: &'static Pass,
    options: Vec<(String, String)>,
    lines: Vec<Line>,
}

/// A line that is not an expectation, and the expectations below it.
struct Line {
    text: String,
    expected: Vec<String>,
}

impl Line {
    fn is_statement(&self) -> bool {
        let text = self.text.trim_start();
        !text.is_empty() && !text.starts_with('#')
    }
}

impl TestFile {
    /// Parses a file. Its header and its folder must name one of the passes.
    pub fn parse(path: &Path, text: &str, passes: &[&'static Pass]) -> Result<TestFile, String> {
        let mut header = Vec::new();
        let mut lines: Vec<Line> = Vec::new();
        for (i, text) in text.lines().enumerate() {
            let at = |what: String| format!("line {}: {what}", i + 1);
            let trimmed = text.trim_start();
            if let Some(entry) = trimmed.strip_prefix("#!") {
                let entry = entry.split_once(':').filter(|_| header.len() == i);
                let (key, value) = entry.ok_or_else(|| {
                    at("`#!` begins a header, `#! KEY: VALUE`, above everything else".into())
                })?;
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                if header.iter().any(|(k, _)| *k == key) {
                    return Err(at(format!("the header `{key}` is there twice")));
                }
                header.push((key, value));
            } else if let Some(expectation) = trimmed.strip_prefix("#>") {
                let line = lines.last_mut().filter(|line| line.is_statement());
                let line = line.ok_or_else(|| {
                    at("an expectation stands directly below the line that it is about".into())
                })?;
                line.expected.push(expectation.trim().to_owned());
            } else {
                lines.push(Line {
                    text: text.to_owned(),
                    expected: Vec::new(),
                });
            }
        }
        let pass = claim(path, &header, passes)?;
        for expectation in lines.iter().flat_map(|line| &line.expected) {
            if !pass.expectations.iter().any(|k| begins(expectation, k)) {
                let known = pass.expectations.join("`, `");
                return Err(format!(
                    "`{expectation}` is not an expectation of the pass `{}`; they begin with `{known}`",
                    pass.name
                ));
            }
        }
        Ok(TestFile {
            path: path.to_owned(),
            text: text.to_owned(),
            pass,
            options: header,
            lines,
        })
    }

    /// An option whose value is a list.
    pub fn option(&self, key: &str) -> Result<Vec<&str>, String> {
        let option = self.options.iter().find(|(k, _)| k == key);
        let (_, value) = option.ok_or(format!("the header `{key}` is missing"))?;
        Ok(value.split(',').map(str::trim).collect())
    }

    /// An empty list of decisions about the program of this file.
    pub fn decisions(&self, program: &Program) -> Result<Decisions<'_>, String> {
        let outline = Outline::of(program, self.lines.iter().map(|line| line.text.as_str()))?;
        Ok(Decisions {
            test: self,
            outline,
            below: vec![Vec::new(); self.lines.len()],
        })
    }

    fn with(&self, decided: &[Vec<String>]) -> String {
        let mut text = String::new();
        for (key, value) in &self.options {
            let _ = writeln!(text, "#! {key}: {value}");
        }
        for (line, decided) in self.lines.iter().zip(decided) {
            let _ = writeln!(text, "{}", line.text);
            let indent = line.text.len() - line.text.trim_start().len();
            for decision in decided {
                let _ = writeln!(text, "{:indent$}#> {decision}", "");
            }
        }
        text
    }

    /// The lines whose expectations differ, with both sides.
    fn difference(&self, decided: &[Vec<String>]) -> String {
        let mut text = String::new();
        let mut number = self.options.len();
        for (line, decided) in self.lines.iter().zip(decided) {
            number += 1;
            if line.expected != *decided {
                let _ = writeln!(text, "{number:5} | {}", line.text);
                for expectation in &line.expected {
                    let sign = if decided.contains(expectation) {
                        ' '
                    } else {
                        '-'
                    };
                    let _ = writeln!(text, "    {sign} | #> {expectation}");
                }
                for decision in decided.iter().filter(|d| !line.expected.contains(d)) {
                    let _ = writeln!(text, "    + | #> {decision}");
                }
            }
            number += line.expected.len();
        }
        text
    }
}

/// The pass that a file's header names and that its folder belongs to.
fn claim(
    path: &Path,
    header: &[(String, String)],
    passes: &[&'static Pass],
) -> Result<&'static Pass, String> {
    let known = || {
        let names = passes.iter().map(|pass| pass.name);
        names.collect::<Vec<_>>().join(", ")
    };
    let name = header.iter().find(|(key, _)| key == "test");
    let (_, name) = name.ok_or_else(|| {
        format!(
            "no header names the pass, as `#! test: PASS`; there are {}",
            known()
        )
    })?;
    let pass = passes.iter().copied().find(|pass| pass.name == *name);
    let pass = pass.ok_or_else(|| format!("unknown pass `{name}`; there are {}", known()))?;
    let folder = path.parent().and_then(Path::file_name);
    if folder.is_none_or(|folder| folder != pass.name) {
        return Err(format!("a test of `{name}` belongs in the folder `{name}`"));
    }
    let unknown = header.iter().map(|(key, _)| key.as_str());
    let unknown = unknown
        .filter(|key| *key != "test")
        .find(|key| !pass.options.contains(key));
    match unknown {
        Some(key) => Err(format!("the pass `{name}` has no header `{key}`")),
        None => Ok(pass),
    }
}

/// Whether an expectation begins with this key as a whole word.
fn begins(expectation: &str, key: &str) -> bool {
    let rest = expectation.strip_prefix(key);
    rest.is_some_and(|rest| key == "%" || rest.is_empty() || rest.starts_with([':', ' ']))
}

/// The decisions of a pass about a program, by the lines that they stand below.
pub struct Decisions<'t> {
    test: &'t TestFile,
    outline: Outline,
    below: Vec<Vec<String>>,
}

/// A value whose memory a file names.
pub struct Pin {
    line: usize,
    name: String,
    /// The name, prefixed by those of the conds and branches around it.
    pub path: String,
}

impl Decisions<'_> {
    /// Adds a decision about the whole program.
    pub fn program(&mut self, decision: String) {
        self.below[self.outline.program()].push(decision);
    }

    /// Adds a decision about what the program returns.
    pub fn returns(&mut self, decision: String) {
        self.below[self.outline.returns()].push(decision);
    }

    /// Adds a decision about a slot.
    pub fn slot(&mut self, name: &str, decision: String) -> Result<(), String> {
        let line = self.outline.slot(name)?;
        self.below[line].push(decision);
        Ok(())
    }

    /// Adds a decision about a node, given its label in plans and errors.
    pub fn node(&mut self, label: &str, decision: String) -> Result<(), String> {
        let line = self.outline.node(label)?;
        self.below[line].push(decision);
        Ok(())
    }

    /// Adds a decision about a value, and returns its line.
    pub fn value(&mut self, path: &str, decision: String) -> Result<usize, String> {
        let line = self.outline.value(path)?;
        self.below[line].push(decision);
        Ok(line)
    }

    /// The values for which the file has an expectation `%NAME …`.
    pub fn pins(&self) -> Result<Vec<Pin>, String> {
        let mut pins = Vec::new();
        for (line, text) in self.test.lines.iter().enumerate() {
            let named = text.expected.iter().filter_map(|e| e.strip_prefix('%'));
            for expectation in named {
                let name = expectation.split(' ').next().unwrap_or("");
                let path = self.outline.path(line, name);
                let path = path.ok_or(format!("`%{name}` is not made by the line above it"))?;
                pins.push(Pin {
                    line,
                    name: name.to_owned(),
                    path: path.to_owned(),
                });
            }
        }
        Ok(pins)
    }

    /// Adds a decision about a value for which the file has an expectation.
    pub fn pinned(&mut self, pin: &Pin, decision: &str) {
        self.below[pin.line].push(format!("%{} {decision}", pin.name));
    }

    /// Compares the decisions with the expectations, or rewrites the file to expect them.
    pub fn settle(self, mode: Mode) -> Result<(), String> {
        let test = self.test;
        let text = test.with(&self.below);
        if text == test.text {
            return Ok(());
        }
        if mode == Mode::Bless {
            return std::fs::write(&test.path, text).map_err(|e| e.to_string());
        }
        let difference = test.difference(&self.below);
        Err(match difference.is_empty() {
            true => "the expectations are met but not laid out as they should be; \
                     CROSSLATCH_BLESS=1 does it"
                .to_owned(),
            false => format!(
                "the decisions are not those that the file expects (-: expected, +: decided; \
                 CROSSLATCH_BLESS=1 writes them into the file)\n{difference}"
            ),
        })
    }
}
