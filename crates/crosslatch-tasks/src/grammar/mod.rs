//! Text that obeys a grammar.
//!
//! A model that is to write a command, a number or a list of known phrases can be kept from writing anything
//! else: at each step only those tokens are allowed whose text some sentence of a grammar goes on with, and
//! the end only where a sentence ends. Grammars are written in GBNF, the notation of llama.cpp and
//! whisper.cpp ([`parse`]). A grammar speaks of letters and a model of tokens, which may be several letters
//! or a part of one, so rules are compiled to bytes ([`program`]), a machine says which bytes may follow
//! ([`machine`]), and the tokens of a vocabulary, arranged by their beginnings, are tried all together
//! ([`vocabulary`]). What is allowed after the same beginnings is remembered ([`constraint`]).
//!
//! A grammar holds for the text of a window or of a translation, from its beginning to its end. Tokenizers
//! put a space in front of a first word, so one space there is allowed whether the grammar has it or not.
//!
//! Grammars may be hostile: their size, the depth of their groups and their counts are bounded, rules that
//! call themselves before they have read anything and rules without an end are refused, and so are names
//! without a rule. Libraries exist; `llguidance` reads another notation and takes the longest
//! lexeme where GBNF leaves every way open, so its texts would be others.

mod classes;
mod constraint;
mod machine;
mod parse;
mod program;
mod recursion;
mod vocabulary;

use std::sync::{Arc, Mutex, PoisonError};

use constraint::{Constraint, Masks};
use machine::Machine;
use program::Program;
use vocabulary::Vocabulary;

use crate::rules::Rule;
use crate::tokenizer::{TextTokenizer, TokenizerError};

/// A grammar in GBNF.
#[derive(Clone)]
pub struct Grammar(Arc<Inner>);

struct Inner {
    source: String,
    program: Arc<Program>,
    /// What is known of it for the vocabulary that it was last used with.
    masks: Mutex<Option<Arc<Masks>>>,
}

/// Why a text is no grammar that can be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct GrammarError {
    /// The line, from 1.
    pub line: usize,
    /// The letter in the line, from 1.
    pub column: usize,
    /// What is wrong there, and what to do.
    pub cause: String,
}

impl Grammar {
    /// Reads a grammar, whose first rule to obey is `root`.
    ///
    /// # Errors
    /// [`GrammarError`], which says where.
    pub fn parse(source: &str) -> Result<Self, GrammarError> {
        let parsed = parse::parse(source).and_then(|rules| {
            recursion::check(&rules)?;
            Ok(Program::new(&rules))
        });
        let program = parsed.map_err(|mistake| mistake.in_text(source))?;
        Ok(Self(Arc::new(Inner {
            source: source.to_owned(),
            program: Arc::new(program),
            masks: Mutex::new(None),
        })))
    }

    /// Whether a text obeys, with one space in front of it or without.
    pub fn accepts(&self, text: &str) -> bool {
        let program = &self.0.program;
        let mut machine = Machine::new(program);
        let mut state = machine.start();
        for byte in text.bytes() {
            state = machine.step(program, state, byte);
        }
        machine.may_end(state)
    }

    /// The rule that makes a text of this tokenizer obey, which `ends` end. Tokens from the first of `times`
    /// on are not text; it says whether they are left to other rules, or forbidden.
    ///
    /// # Errors
    /// If it is not known what text the tokens of this tokenizer are.
    pub(crate) fn rule(
        &self,
        tokenizer: &TextTokenizer,
        ends: &[u32],
        times: Option<(u32, bool)>,
    ) -> Result<Box<dyn Rule>, TokenizerError> {
        let texts = tokenizer.texts()?;
        let mut masks = self.0.masks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = masks.as_ref().filter(|masks| masks.is_for(&texts));
        let masks = match known {
            Some(masks) => Arc::clone(masks),
            None => Arc::clone(masks.insert(Arc::new(Masks::new(
                Arc::clone(&self.0.program),
                Vocabulary::new(texts),
            )))),
        };
        Ok(Box::new(Constraint::new(masks, ends, times)))
    }
}

impl PartialEq for Grammar {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Grammar").field(&self.0.source).finish()
    }
}

impl std::str::FromStr for Grammar {
    type Err = GrammarError;

    fn from_str(source: &str) -> Result<Self, GrammarError> {
        Self::parse(source)
    }
}

#[cfg(test)]
mod tests;
