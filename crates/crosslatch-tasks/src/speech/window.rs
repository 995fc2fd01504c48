//! One window: encoded once, then decoded as often as it takes.
//!
//! Detecting the language, judging silence, and each attempt at a text are passes of the decoder
//! over one encoder output. [`Sequences`] makes sure that a pass feeds only what the pass before
//! did not, so that the keys and values of the encoder's output are computed only once.

use std::ops::ControlFlow;

use rand_chacha::ChaCha8Rng;

use super::fallback::{Thresholds, Verdict, compression_ratio};
use super::whisper::{WhisperPlan, WindowLengths};
use super::words::Alignment;
use super::{SpeechModel, TranscribeError};
use crate::config::OptionsError;
use crate::rules::Rule;
use crate::search::{
    Generated, HeadWeights, Request, Sampling, SearchError, Sequences, Told, beam_search, greedy,
    probabilities_among, probability, sample_best,
};

/// What decoding one window gave.
pub(super) struct Decoded {
    pub generated: Generated,
    pub temperature: f32,
    pub compression_ratio: f32,
    pub no_speech: Option<f32>,
    /// Whether nothing is spoken in it.
    pub is_silent: bool,
    /// When each token ends, in seconds from the beginning of the window, if words are to have times.
    pub ends: Option<Vec<f64>>,
}

/// The state of decoding one transcript.
pub(super) struct Windows<'a, M> {
    pub model: &'a mut M,
    pub plan: &'a WhisperPlan,
    pub rules: Vec<Box<dyn Rule>>,
    pub lengths: WindowLengths,
    pub temperatures: &'a [f32],
    pub thresholds: Thresholds,
    pub top_k: usize,
    /// How many texts are drawn at a temperature above 0.
    pub best_of: usize,
    pub vocabulary: usize,
    /// The token for "no speech".
    pub no_speech: Option<u32>,
    /// If words are to have times: the width of the median filter.
    pub words: Option<usize>,
    pub random: ChaCha8Rng,
    pub sequences: Sequences,
    /// Where the current window begins, in seconds.
    pub seconds: f64,
    /// Tokens of the languages with their probabilities, most probable first; empty until they are
    /// detected.
    pub detected: Vec<(u32, f32)>,
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
        self.sequences.forget();
        self.model
            .encode(features, mels, frames)
            .map_err(|source| TranscribeError::Encoder { seconds, source })
    }

    /// The window's own prompt. Detects the language first, if that is still to be done.
    pub fn own_prompt(&mut self) -> Result<Vec<u32>, TranscribeError<M::Error>> {
        let seconds = self.seconds;
        if !self.plan.languages().is_empty() && self.detected.is_empty() {
            let start = &self.plan.prompt(None)[..1];
            let row = self.sequences.feed(self.model, 0, start);
            let row = row.map_err(|e| at(seconds, e))?;
            let languages = self.plan.languages().iter().map(|&(id, _)| id);
            self.detected = probabilities_among(row, languages).map_err(|cause| {
                let position = 0;
                at(seconds, SearchError::Scores { position, cause })
            })?;
        }
        let language = self.detected.first().map(|&(language, _)| language);
        Ok(self.plan.prompt(language))
    }

    /// Decodes the encoded window, of which `frames` are sound, after a prompt, of which the last `own`
    /// tokens are the window's own. `told` is told of tokens that will not change, if no text of the window
    /// can be refused. Whether this succeeds or not, the decoder is paused afterwards.
    pub fn decode(
        &mut self,
        prompt: &[u32],
        own: usize,
        frames: usize,
        told: &mut Told<'_>,
    ) -> Result<Decoded, TranscribeError<M::Error>> {
        let windows = PauseOnDrop(self);
        let mut decoded = windows.0.attempts(prompt, own, told)?;
        if let (Some(filter), false) = (windows.0.words, decoded.is_silent) {
            let ends = windows.0.ends(prompt, &decoded.generated, frames, filter)?;
            decoded.ends = Some(ends);
        }
        Ok(decoded)
    }

    /// When each of the window's tokens ends.
    fn ends(
        &mut self,
        prompt: &[u32],
        generated: &Generated,
        frames: usize,
        filter: usize,
    ) -> Result<Vec<f64>, TranscribeError<M::Error>> {
        let seconds = self.seconds;
        let tokens = &generated.tokens;
        // As in transformers, the last token that was chosen has no weights of its own.
        let aligned = match generated.end {
            Some(_) => tokens.len(),
            None => tokens.len().saturating_sub(1),
        };
        let mut alignment = Alignment::new(frames);
        if aligned > 0 {
            let mut take = |weights: HeadWeights<'_>| alignment.take(weights);
            self.sequences
                .align(self.model, prompt, &tokens[..aligned], &mut take)
                .map_err(|e| at(seconds, e))?;
        }
        Ok(alignment.ends(tokens.len(), aligned, filter))
    }

    fn attempts(
        &mut self,
        prompt: &[u32],
        own: usize,
        told: &mut Told<'_>,
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
            // Asked at the first token of the window's own prompt, with the text before it in view.
            let start = prompt.len().saturating_sub(own);
            let row = self.sequences.feed(self.model, 0, &prompt[..=start]);
            no_speech = Some(probability(row.map_err(|e| at(seconds, e))?, token));
        }
        let mut attempts = self.temperatures.iter().copied().peekable();
        loop {
            let temperature = attempts.next().unwrap_or(0.0);
            let is_last = attempts.peek().is_none();
            let is_kept = self.thresholds.keep_any(is_last, no_speech);
            let nobody: &mut Told<'_> = &mut |_| ControlFlow::Continue(());
            let told: &mut Told<'_> = if is_kept { &mut *told } else { nobody };
            let generated = if temperature > 0.0 {
                let sampling = Sampling {
                    temperature,
                    top_k: self.top_k,
                    random: &mut self.random,
                };
                sample_best(
                    self.model,
                    &mut self.sequences,
                    &request,
                    sampling,
                    self.best_of,
                    told,
                )
            } else if self.plan.beam().beams > 1 {
                let beam = self.plan.beam();
                beam_search(self.model, &mut self.sequences, &request, beam, told)
            } else {
                greedy(self.model, &mut self.sequences, &request, told)
            };
            let mut generated = generated.map_err(|e| at(seconds, e))?;
            // The end token counts, as in transformers.
            generated.tokens.extend(generated.end);
            let ratio = compression_ratio(&generated.tokens, self.vocabulary);
            if generated.end.is_some() {
                generated.tokens.pop();
            }
            let verdict = self
                .thresholds
                .judge(ratio, generated.avg_logprob, no_speech);
            if verdict == Verdict::TryAgain && !is_last {
                continue;
            }
            return Ok(Decoded {
                generated,
                temperature,
                compression_ratio: ratio,
                no_speech,
                is_silent: verdict == Verdict::Silence,
                ends: None,
            });
        }
    }
}

/// Pauses the decoder when dropped, also by a panic: other models must not wait for it.
struct PauseOnDrop<'w, 'a, M: SpeechModel>(&'w mut Windows<'a, M>);

impl<M: SpeechModel> Drop for PauseOnDrop<'_, '_, M> {
    fn drop(&mut self) {
        self.0.model.pause();
    }
}

/// The error of a search, with the place of the window.
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
            TranscribeError::Options(OptionsError::Length {
                prompt,
                new: 1,
                limit: max_length,
            })
        }
    }
}
