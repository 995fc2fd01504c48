//! The loop over windows and tokens.
//!
//! Sound longer than the model's window is cut into consecutive windows, each decoded on its own;
//! a language that has to be detected is detected in the first and kept, as transformers does. The
//! start token that the detection has fed is not fed again: the rest of the prompt follows it at
//! position 1. A remainder of less than a tenth of a second behind the last full window holds no
//! word and would only invite an invented one; it is counted in the duration and not decoded.

use std::ops::ControlFlow;

use super::greedy::{choose, choose_among};
use super::{Segment, SpeechModel, TranscribeError, Transcript, join};
use crate::features::LogMel;
use crate::generation::{GenerationConfig, GenerationOptions, Plan};
use crate::tokenizer::TextTokenizer;

/// Remainders shorter than this, in seconds, are not decoded.
const SHORTEST_REMAINDER: f64 = 0.1;

/// Everything beside the weights that turns sound into text.
#[derive(Debug)]
pub struct SpeechPipeline {
    /// Samples to features.
    pub features: LogMel,
    /// Tokens to text.
    pub tokenizer: TextTokenizer,
    /// Rules of decoding.
    pub generation: GenerationConfig,
}

impl SpeechPipeline {
    /// From the files that come with a model: `preprocessor_config.json`, `tokenizer.json`,
    /// `generation_config.json` (not every model has one) and `config.json`.
    ///
    /// # Errors
    /// [`TranscribeError::Features`], [`TranscribeError::Tokenizer`] or
    /// [`TranscribeError::Generation`], whose texts name the file.
    pub fn from_json<E: std::error::Error>(
        preprocessor: &[u8],
        tokenizer: &[u8],
        generation: Option<&[u8]>,
        config: &[u8],
    ) -> Result<Self, TranscribeError<E>> {
        Ok(Self {
            features: LogMel::from_json(preprocessor)?,
            tokenizer: TextTokenizer::from_bytes(tokenizer)?,
            generation: GenerationConfig::from_json(generation, config)?,
        })
    }

    /// Transcribes `samples`, mono at [`LogMel::sample_rate`] of [`SpeechPipeline::features`].
    ///
    /// `progress` is called with the seconds done and the seconds in all: once at the start, then
    /// after each window.
    ///
    /// # Errors
    /// Any [`TranscribeError`].
    pub fn transcribe<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        options: &GenerationOptions,
        progress: impl FnMut(f64, f64),
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        let go_on = |_: &Segment| ControlFlow::Continue(());
        self.transcribe_each(model, samples, options, progress, go_on)
    }

    /// As [`transcribe`](SpeechPipeline::transcribe), and calls `each` with every segment as soon
    /// as it is decoded. If that breaks, the transcript ends there.
    ///
    /// # Errors
    /// Any [`TranscribeError`].
    pub fn transcribe_each<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        options: &GenerationOptions,
        mut progress: impl FnMut(f64, f64),
        mut each: impl FnMut(&Segment) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        if samples.is_empty() {
            return Err(TranscribeError::NoSound);
        }
        let plan = self.generation.plan(options)?;
        let rate = f64::from(self.features.sample_rate());
        let window = self.features.window_samples();
        let duration = samples.len() as f64 / rate;
        let mut features = Vec::with_capacity(self.features.mels() * self.features.frames());
        let mut run = Run {
            model,
            plan: &plan,
            seconds: 0.0,
            detected: None,
        };
        let mut text = String::new();
        let mut segments = Vec::with_capacity(samples.len().div_ceil(window));
        progress(0.0, duration);
        for (index, cut) in samples.chunks(window).enumerate() {
            if index > 0 && (cut.len() as f64) < SHORTEST_REMAINDER * rate {
                break;
            }
            run.seconds = (index * window) as f64 / rate;
            self.features.extract(cut, &mut features)?;
            let decoded = run.window(&features, self.features.mels(), self.features.frames())?;
            let words: Vec<u32> = decoded
                .tokens
                .iter()
                .copied()
                .filter(|&token| plan.is_text(token))
                .collect();
            let segment = self.tokenizer.decode(&words)?.trim().to_owned();
            if !segment.is_empty() {
                join::append(&mut text, &segment);
            }
            let end = run.seconds + cut.len() as f64 / rate;
            let segment = Segment {
                start: run.seconds,
                end,
                text: segment,
                avg_logprob: decoded.avg_logprob,
                complete: decoded.complete,
                tokens: decoded.tokens,
            };
            let next = each(&segment);
            segments.push(segment);
            progress(end, duration);
            if next.is_break() {
                break;
            }
        }
        progress(duration, duration);
        let language = match run.detected {
            Some(id) => plan.languages().iter().find(|&&(known, _)| known == id),
            None => None,
        };
        let language = language
            .map(|(_, name)| crate::generation::bare(name))
            .or(plan.language());
        let language = language.map(str::to_owned);
        Ok(Transcript {
            text,
            language,
            duration,
            segments,
        })
    }
}

/// What one window gave.
struct Decoded {
    tokens: Vec<u32>,
    avg_logprob: f32,
    complete: bool,
}

/// The state of one transcript.
struct Run<'a, M> {
    model: &'a mut M,
    plan: &'a Plan,
    /// Where the current window begins.
    seconds: f64,
    /// Token of the detected language.
    detected: Option<u32>,
}

impl<M: SpeechModel> Run<'_, M> {
    fn window(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<Decoded, TranscribeError<M::Error>> {
        let seconds = self.seconds;
        let decoder = |position| {
            move |source| TranscribeError::Decoder {
                seconds,
                position,
                source,
            }
        };
        let scores = |position| {
            move |cause| TranscribeError::Scores {
                seconds,
                position,
                cause,
            }
        };
        self.model
            .encode(features, mels, frames)
            .map_err(|source| TranscribeError::Encoder { seconds, source })?;

        let mut fed = 0;
        if !self.plan.languages().is_empty() && self.detected.is_none() {
            let start: Vec<i64> = self
                .plan
                .prompt(None)
                .into_iter()
                .take(1)
                .map(i64::from)
                .collect();
            let row = self.model.decode(&start, 0).map_err(decoder(0))?;
            let languages = self.plan.languages().iter().map(|&(id, _)| id);
            self.detected = Some(choose_among(row, languages).map_err(scores(0))?);
            fed = 1;
        }
        let prompt: Vec<i64> = self
            .plan
            .prompt(self.detected)
            .into_iter()
            .map(i64::from)
            .collect();
        let room = self.plan.max_length().saturating_sub(prompt.len());
        let mut tokens = Vec::with_capacity(room);
        let mut total = 0.0_f64;
        let mut steps = 0_u32;
        let mut complete = false;
        let mut position = prompt.len();
        let mut row = self
            .model
            .decode(&prompt[fed..], fed)
            .map_err(decoder(fed))?;
        loop {
            let allowed = self.plan.allowed(tokens.is_empty());
            let choice = choose(row, allowed).map_err(scores(position - 1))?;
            total += f64::from(choice.logprob);
            steps += 1;
            if self.plan.ends(choice.token) {
                complete = true;
                break;
            }
            tokens.push(choice.token);
            if tokens.len() >= room {
                break;
            }
            row = self
                .model
                .decode(&[i64::from(choice.token)], position)
                .map_err(decoder(position))?;
            position += 1;
        }
        let avg_logprob = (total / f64::from(steps)) as f32;
        Ok(Decoded {
            tokens,
            avg_logprob,
            complete,
        })
    }
}
