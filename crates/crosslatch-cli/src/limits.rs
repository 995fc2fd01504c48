//! What a command keeps to: how much memory it may take, and the grammar that its text obeys.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crosslatch::MemoryLimit;
use crosslatch_tasks::Grammar;

use crate::CommandError;

/// The most memory that a session may take.
#[derive(Clone, Copy, clap::Args)]
pub struct LimitArgs {
    /// The most memory that a session may take for what the model asks for, in bytes or as 512M,
    /// 8G; the memory of this machine unless it is said.
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<MemoryLimit>,
}

impl LimitArgs {
    /// The limit.
    pub fn memory(self) -> MemoryLimit {
        self.memory_limit.unwrap_or_default()
    }
}

/// Most bytes that are read; a grammar has fewer.
const MOST_BYTES: u64 = 4 << 20;

/// A grammar that the text obeys.
#[derive(clap::Args)]
pub struct GrammarArgs {
    /// A file with a grammar in GBNF, the notation of llama.cpp and whisper.cpp, that the text obeys.
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl GrammarArgs {
    /// Reads the grammar, if there is one.
    pub fn read(&self) -> Result<Option<Grammar>, CommandError> {
        self.grammar.as_deref().map(read).transpose()
    }
}

fn read(path: &Path) -> Result<Grammar, CommandError> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|e| wrong(&e))?;
    file.take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| wrong(&e))?;
    Ok(Grammar::parse(&text).map_err(|e| wrong(&e))?)
}
