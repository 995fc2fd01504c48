//! One window: encoded once, then decoded as often as it takes.
//!
//! Detecting the language, judging silence, and each attempt at a text are passes of the decoder
//! over one encoder output. [`Lanes`] sees to it that a pass feeds only what the one before did not,
//! so that keys and values of the encoder's output are computed once as well.

use rand_chacha::ChaCha8Rng;

use super::fallback::{Thresholds, Verdict, compression_ratio};
use super::{SpeechModel, TranscribeError};
use crate::generation::{Lengths, Plan};
use crate::rules::Rule;
use crate::search::{
    Generated, Lanes, Request, Sampling, SearchError, beam_search, choose_among, greedy,
    probability, sample,
};

/// What one window gave.
pub(super) struct Decoded {
    pub generated: Generated,
    pub temperature: f32,
    pub compression_ratio: f32,
    pub no_speech: Option<f32>,
    /// Nothing is spoken in it.
    pub is_silent: bool,
}

/// The state of decoding one transcript.
pub(super) struct Windows<'a, M> {
    pub model: &'a mut M,
    pub plan: &'a Plan,
    pub rules: Vec<Box<dyn Rule>>,
    pub lengths: Lengths,
    pub temperatures: &'a [f32],
    pub thresholds: Thresholds,
    pub top_k: usize,
    pub vocabulary: usize,
    /// The token for "no speech".
    pub no_speech: Option<u32>,
    pub random: ChaCha8Rng,
    pub lanes: Lanes,
    /// Where the current window begins, in seconds.
    pub seconds: f64,
    /// Token of the detected language.
    pub detected: Option<u32>,
}

impl<M: SpeechModel> Windows<'_, M> {
    /// Runs the encoder on the window that begins at `seconds`.
    pub fn encode(
        &mut self,
        seconds: f64,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), TranscribeError<M::Error>> {
        self.seconds = seconds;
        self.lanes.forget();
        self.model
            .encode(features, mels, frames)
            .map_err(|source| TranscribeError::Encoder { seconds, source })
    }

    /// The window's own prompt. Detects the language, if that has to be done and has not been.
    pub fn own_prompt(&mut self) -> Result<Vec<u32>, TranscribeError<M::Error>> {
        let seconds = self.seconds;
        if !self.plan.languages().is_empty() && self.detected.is_none() {
            let start = &self.plan.prompt(None)[..1];
            let row = self.lanes.feed(self.model, 0, start);
            let row = row.map_err(|e| at(seconds, e))?;
            let languages = self.plan.languages().iter().map(|&(id, _)| id);
            let language = choose_among(row, languages);
            self.detected = Some(language.map_err(|cause| {
                let position = 0;
                at(seconds, SearchError::Scores { position, cause })
            })?);
        }
        Ok(self.plan.prompt(self.detected))
    }

    /// Decodes the encoded window after a prompt that ends in `own` tokens of its own. However that
    /// ends, the model rests afterwards.
    pub fn decode(
        &mut self,
        prompt: &[u32],
        own: usize,
    ) -> Result<Decoded, TranscribeError<M::Error>> {
        Resting(self).0.attempts(prompt, own)
    }

    fn attempts(
        &mut self,
        prompt: &[u32],
        own: usize,
    ) -> Result<Decoded, TranscribeError<M::Error>> {
        let seconds = self.seconds;
        let request = Request {
            prompt,
            rules: &self.rules,
            eos: self.plan.eos(),
            max_length: self.lengths.next(prompt.len())?,
        };
        let mut no_speech = None;
        if let (Some(token), Some(_)) = (self.no_speech, self.thresholds.no_speech) {
            // Asked where the window's own prompt starts, with what comes before it in view.
            let start = prompt.len().saturating_sub(own);
            let row = self.lanes.feed(self.model, 0, &prompt[..=start]);
            no_speech = Some(probability(row.map_err(|e| at(seconds, e))?, token));
        }
        let mut attempts = self.temperatures.iter().copied().peekable();
        loop {
            let temperature = attempts.next().unwrap_or(0.0);
            let generated = if temperature > 0.0 {
                let sampling = Sampling {
                    temperature,
                    top_k: self.top_k,
                    random: &mut self.random,
                };
                sample(self.model, &mut self.lanes, &request, sampling)
            } else if self.plan.beam().beams > 1 {
                beam_search(self.model, &mut self.lanes, &request, self.plan.beam())
            } else {
                greedy(self.model, &mut self.lanes, &request)
            };
            let mut generated = generated.map_err(|e| at(seconds, e))?;
            // The end counts, as it does in transformers.
            generated.tokens.extend(generated.end);
            let ratio = compression_ratio(&generated.tokens, self.vocabulary);
            if generated.end.is_some() {
                generated.tokens.pop();
            }
            let verdict = self
                .thresholds
                .judge(ratio, generated.avg_logprob, no_speech);
            if verdict == Verdict::TryAgain && attempts.peek().is_some() {
                continue;
            }
            return Ok(Decoded {
                generated,
                temperature,
                compression_ratio: ratio,
                no_speech,
                is_silent: verdict == Verdict::Silence,
            });
        }
    }
}

/// Puts the model to rest when it goes, in a panic too: others must not wait for it.
struct Resting<'w, 'a, M: SpeechModel>(&'w mut Windows<'a, M>);

impl<M: SpeechModel> Drop for Resting<'_, '_, M> {
    fn drop(&mut self) {
        self.0.model.rest();
    }
}

/// A search's error with the place of the window.
fn at<E: std::error::Error>(seconds: f64, error: SearchError<E>) -> TranscribeError<E> {
    match error {
        SearchError::Decoder { position, source } => TranscribeError::Decoder {
            seconds,
            position,
            source,
        },
        SearchError::Scores { position, cause } => TranscribeError::Scores {
            seconds,
            position,
            cause,
        },
        SearchError::Prompt { prompt, max_length } => {
            TranscribeError::Generation(crate::generation::GenerationError::Length {
                prompt,
                new: 1,
                limit: max_length,
            })
        }
    }
}
