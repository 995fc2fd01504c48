//! From a decoder's scores to tokens: greedily, by sampling, or with several hypotheses at once.
//!
//! A decoder is asked for one token after another until it says that the text has ended. This
//! module does the asking and knows nothing else: what is encoded, what tokens mean, and which are
//! allowed is the caller's business. The caller gives a [`Decoder`], a prompt, a list of
//! [rules](crate::rules), the tokens that end a text, and a greatest length ([`Request`]). It gets
//! the tokens ([`Generated`]) from [`greedy`], [`sample`], [`sample_best`] or [`beam_search`]. Speech and text use
//! the same functions. Who wants to see a text while it is made is told after each step which of its
//! tokens will not change ([`Told`]).
//!
//! The results are those of transformers' `generate` (5.23) with the same settings, and with a
//! [patience](EarlyStopping::Patience) those of openai-whisper.

mod beam;
mod drawn;
mod ended;
mod hypotheses;
mod scores;
mod sequences;
mod single;

pub use beam::{beam_search, beam_search_all};
pub use drawn::sample_best;
pub use hypotheses::{BeamOptions, EarlyStopping};
pub(crate) use scores::{log_sum_exp, probabilities_among, probability};
pub use sequences::Sequences;
pub use single::{Sampling, greedy, sample};

use std::ops::ControlFlow;

use crate::rules::{History, Rule};

/// Who is told, as the search goes on, of the tokens after the prompt that will not change: each time of
/// all of them. If it breaks, the text ends there.
pub type Told<'t> = dyn FnMut(&[u32]) -> ControlFlow<()> + 't;

/// A decoder that keeps the self-attention cache of one or several *sequences* between calls.
///
/// Each sequence has a cache of its own, so that hypotheses in different sequences do not disturb
/// each other. All sequences read the same encoder output.
pub trait Decoder {
    /// The error of the model's runtime.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks for `wanted` sequences and returns how many there are, at least one. With fewer
    /// sequences than hypotheses, a search takes turns and feeds again what was overwritten, which
    /// is slower and just as right.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn sequences(&mut self, wanted: usize) -> Result<usize, Self::Error> {
        let _ = wanted;
        Ok(1)
    }

    /// Makes sequence `to` hold what sequence `from` holds; from then on each goes its own way.
    /// `to` is a sequence that was fed or branched to before, or the first that was not. Returns
    /// `false`, and changes nothing, if this decoder cannot do it.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn branch(&mut self, from: usize, to: usize) -> Result<bool, Self::Error> {
        let _ = (from, to);
        Ok(false)
    }

    /// Feeds `tokens`, at least one, at positions `position..position + tokens.len()` of a sequence
    /// and returns the scores of the token after the last one, `[vocabulary]`.
    ///
    /// `position` is at most the number of tokens that the sequence holds; what it held from there
    /// on is forgotten. What depends only on the encoder's output is computed when `position` is 0.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], Self::Error>;

    /// Does what [`decode`](Decoder::decode) does for several sequences, none of them twice, and
    /// gives `take` the scores of each in order. A decoder that can reads its weights once for all
    /// of them.
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), Self::Error> {
        for feed in feeds {
            take(self.decode(feed.sequence, feed.tokens, feed.position)?);
        }
        Ok(())
    }

    /// Why this decoder cannot say where in the source it looks; `None` if it can.
    fn unaligned(&self) -> Option<&str> {
        Some("this decoder returns no weights of attention")
    }

    /// Feeds tokens as [`decode`](Decoder::decode) does, and gives `take` for each head by which the
    /// model is aligned, in place of scores, how much it looks at which part of the source. Tokens may
    /// come in several parts, each with all heads. Nothing is taken if the decoder is
    /// [unaligned](Decoder::unaligned).
    ///
    /// # Errors
    /// Whatever the model's runtime reports.
    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), Self::Error> {
        let _ = (feed, take);
        Ok(())
    }

    /// Says that nothing will be decoded for a while, so that models whose steps are batched with
    /// those of this one need not wait for it.
    fn pause(&mut self) {}
}

/// How much a head looks at which part of the source.
#[derive(Debug, Clone, Copy)]
pub struct HeadWeights<'a> {
    /// Number of the head among those by which the model is aligned, from 0.
    pub head: usize,
    /// The first of the tokens that were fed, from 0.
    pub first: usize,
    /// A row of non-negative numbers for each token, the sum of which is 1: `[tokens, source]`.
    pub values: &'a [f32],
    /// Length of a row.
    pub source: usize,
}

/// Tokens to feed to a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'a> {
    /// The sequence.
    pub sequence: usize,
    /// The tokens, at least one.
    pub tokens: &'a [i64],
    /// Position of the first one.
    pub position: usize,
}

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The tokens that the decoder starts with, at least one.
    pub prompt: &'a [u32],
    /// The rules for the next token, applied in order.
    pub rules: &'a [Box<dyn Rule>],
    /// Tokens that end a text.
    pub eos: &'a [u32],
    /// Greatest number of tokens, those of the prompt included.
    pub max_length: usize,
}

impl Request<'_> {
    fn apply_rules(&self, tokens: &[u32], scores: &mut [f32]) {
        let history = History {
            tokens,
            prompt: self.prompt.len(),
        };
        for rule in self.rules {
            rule.apply(history, scores);
        }
    }
}

/// What was generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The tokens after the prompt, without the one that ended the text.
    pub tokens: Vec<u32>,
    /// The token that ended the text; `None` if the text was cut off, at the greatest length or because
    /// nobody wants more of it.
    pub end: Option<u32>,
    /// Natural logarithm of the probability of each token among those allowed.
    pub logprobs: Vec<f32>,
    /// Their mean, the end token included.
    pub avg_logprob: f32,
    /// What texts are compared by. With beams this is the sum of the tokens' log-probabilities
    /// among all tokens, after the rules, divided by the number of tokens to the power of the
    /// length penalty; with one hypothesis it is `avg_logprob`.
    pub score: f32,
}

/// Why nothing could be generated; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError<E: std::error::Error + 'static> {
    /// The model failed.
    #[error("the decoder failed at position {position}: {source}")]
    Decoder {
        /// Position of the first token fed.
        position: usize,
        /// What the model's runtime reported.
        source: E,
    },
    /// No token can be chosen by the scores of a step.
    #[error(
        "the model's scores at position {position} {cause}; the model file is damaged, or its precision too low for it, or rules contradict each other"
    )]
    Scores {
        /// Position of the token that was scored.
        position: usize,
        /// What is wrong with the scores.
        cause: &'static str,
    },
    /// The prompt is empty, or leaves no room below the greatest length.
    #[error("a prompt of {prompt} tokens leaves no room in a length of {max_length}")]
    Prompt {
        /// Tokens of the prompt.
        prompt: usize,
        /// The greatest length asked for.
        max_length: usize,
    },
}

impl<'a> Request<'a> {
    fn check<E: std::error::Error>(&self) -> Result<(), SearchError<E>> {
        if self.prompt.is_empty() || self.prompt.len() >= self.max_length {
            return Err(SearchError::Prompt {
                prompt: self.prompt.len(),
                max_length: self.max_length,
            });
        }
        Ok(())
    }
}
