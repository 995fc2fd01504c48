//! The loop over windows.
//!
//! Sound that is longer than the model's window is decoded window by window. Where the model writes
//! points in time, the next window begins at the last of them ([`seek`]); else windows follow each
//! other without overlap, each with features of its own. A language that has to be detected is
//! detected in the first window and kept, as transformers does. A remainder of less than a tenth of
//! a second behind the last full window holds no word and would only invite an invented one; it is
//! counted in the duration and not decoded (transformers, seeking, decodes it, and so is it done
//! there).

use std::ops::ControlFlow;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::context::{Context, wants_history};
use super::fallback::Thresholds;
use super::seek::{self, Piece};
use super::silence::Silence;
use super::window::{Decoded, Windows};
use super::{Event, Segment, SpeechModel, TranscribeError, Transcript, join};
use crate::features::{LogMel, WholeSound};
use crate::generation::{GenerationConfig, GenerationError, Plan, TranscribeOptions};
use crate::search::Lanes;
use crate::tokenizer::TextTokenizer;

/// Remainders shorter than this, in seconds, are not decoded.
const SHORTEST_REMAINDER: f64 = 0.1;

/// Above this temperature a window's text is not shown to the next one.
const TRUSTED_TEMPERATURE: f32 = 0.5;

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

    /// Whether the model can do what `options` ask for, on sound of any length.
    ///
    /// # Errors
    /// Every [`GenerationError`] but [`GenerationError::Json`] and [`GenerationError::Missing`].
    pub fn check(&self, options: &TranscribeOptions) -> Result<(), GenerationError> {
        let plan = self.generation.plan(options, true)?;
        let own = plan.prompt(plan.languages().first().map(|&(id, _)| id));
        let context = Context::new(options, &self.generation, &self.tokenizer)?;
        plan.lengths().next(context.prompt(&own).len())?;
        check_temperatures(options)?;
        Thresholds::new(options, &self.generation).map(drop)
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
        options: &TranscribeOptions,
        mut progress: impl FnMut(f64, f64),
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        self.transcribe_with(model, samples, options, |event| {
            if let Event::Progress { done, total } = event {
                progress(done, total);
            }
            ControlFlow::Continue(())
        })
    }

    /// Transcribes `samples` as [`SpeechPipeline::transcribe`] does and tells `observer` of each
    /// segment as soon as it is decoded, and of progress. If that breaks, the transcript ends there.
    ///
    /// # Errors
    /// Any [`TranscribeError`].
    pub fn transcribe_with<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        options: &TranscribeOptions,
        mut observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        if samples.is_empty() {
            return Err(TranscribeError::NoSound);
        }
        let is_long = self.features.frames_of(samples.len()) > self.features.frames();
        let plan = self.generation.plan(options, is_long)?;
        let mut context = Context::new(options, &self.generation, &self.tokenizer)?;
        let mut windows = self.windows(model, &plan, options)?;
        let mut cursor = Cursor::new(&self.features, samples, &plan)?;
        let silence = options
            .skip_silence
            .map(|level| Silence::new(samples, self.features.sample_rate(), level));
        let uses_history = wants_history(options, &self.generation);
        let mut transcript = Transcript {
            text: String::new(),
            language: None,
            duration: samples.len() as f64 / f64::from(self.features.sample_rate()),
            segments: Vec::new(),
        };
        let total = transcript.duration;
        let mut flow = observer(Event::Progress { done: 0.0, total });
        let mut features = Vec::new();
        while flow.is_continue() {
            if let Some(silence) = &silence {
                cursor.move_to(silence.skip(cursor.sample()));
            }
            if cursor.is_done() {
                break;
            }
            cursor.features(&mut features)?;
            let (mels, frames) = (self.features.mels(), self.features.frames());
            windows.encode(cursor.seconds(), &features, mels, frames)?;
            let own = windows.own_prompt()?;
            let decoded = windows.decode(&context.prompt(&own), own.len())?;
            context.uses_history = uses_history && decoded.temperature < TRUSTED_TEMPERATURE;
            let offset = cursor.seconds();
            if decoded.is_silent {
                cursor.advance(None);
            } else {
                for piece in cursor.cut(&decoded) {
                    if flow.is_break() {
                        break;
                    }
                    let segment = self.segment(&plan, &decoded, piece, offset)?;
                    context.add(&segment.tokens, plan.time_zero());
                    if !segment.text.is_empty() {
                        join::append(&mut transcript.text, &segment.text);
                    }
                    flow = observer(Event::Segment(&segment));
                    transcript.segments.push(segment);
                }
            }
            if flow.is_continue() {
                let done = cursor.seconds().min(total);
                flow = observer(Event::Progress { done, total });
            }
        }
        if flow.is_continue() {
            // There is nothing left to break off.
            let _ = observer(Event::Progress { done: total, total });
        }
        let detected = windows.detected.and_then(|id| {
            let mut known = plan.languages().iter();
            known.find(|&&(token, _)| token == id)
        });
        let detected = detected.map(|(_, name)| crate::generation::bare(name));
        transcript.language = detected.or(plan.language()).map(str::to_owned);
        Ok(transcript)
    }

    fn windows<'a, M: SpeechModel>(
        &self,
        model: &'a mut M,
        plan: &'a Plan,
        options: &'a TranscribeOptions,
    ) -> Result<Windows<'a, M>, GenerationError> {
        check_temperatures(options)?;
        let vocabulary = self.generation.vocab_size;
        Ok(Windows {
            model,
            plan,
            rules: plan.rules(),
            lengths: plan.lengths(),
            temperatures: match options.temperatures.as_slice() {
                [] => &[0.0],
                temperatures => temperatures,
            },
            thresholds: Thresholds::new(options, &self.generation)?,
            top_k: self.generation.top_k,
            vocabulary: vocabulary.unwrap_or_else(|| self.tokenizer.vocabulary_size()),
            // It stands before the token that says that no timestamps follow.
            no_speech: self
                .generation
                .no_timestamps_token_id
                .and_then(|id| id.checked_sub(1)),
            random: ChaCha8Rng::seed_from_u64(options.seed),
            lanes: Lanes::default(),
            seconds: 0.0,
            detected: None,
        })
    }

    fn segment<E: std::error::Error>(
        &self,
        plan: &Plan,
        decoded: &Decoded,
        piece: Piece,
        offset: f64,
    ) -> Result<Segment, TranscribeError<E>> {
        let all = &decoded.generated.tokens;
        let complete = piece.closed || decoded.generated.end.is_some();
        let tokens = all.get(piece.tokens).unwrap_or_default().to_vec();
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|&token| plan.is_text(token))
            .collect();
        Ok(Segment {
            start: offset + piece.start,
            end: offset + piece.end,
            text: self.tokenizer.decode(&words)?.trim().to_owned(),
            tokens,
            avg_logprob: decoded.generated.avg_logprob,
            compression_ratio: decoded.compression_ratio,
            no_speech_prob: decoded.no_speech,
            temperature: decoded.temperature,
            complete,
        })
    }
}

fn check_temperatures(options: &TranscribeOptions) -> Result<(), GenerationError> {
    let mut temperatures = options.temperatures.iter();
    match temperatures.any(|t| !t.is_finite() || *t < 0.0) {
        true => Err(GenerationError::Option {
            name: "temperatures",
            cause: "must be finite numbers, 0 or above",
        }),
        false => Ok(()),
    }
}

/// Where in the sound the next window begins.
struct Cursor<'a> {
    extractor: &'a LogMel,
    samples: &'a [f32],
    /// The whole sound's features and the token of time zero, if the text tells where to go on.
    seeking: Option<(WholeSound<'a>, u32)>,
    /// In frames of features when seeking, else in samples.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(
        extractor: &'a LogMel,
        samples: &'a [f32],
        plan: &Plan,
    ) -> Result<Self, crate::features::FeatureError> {
        let seeking = match plan.time_zero() {
            Some(zero) => Some((extractor.whole(samples)?, zero)),
            None => None,
        };
        Ok(Self {
            extractor,
            samples,
            seeking,
            at: 0,
        })
    }

    /// Samples of a unit of `at`.
    fn unit(&self) -> usize {
        match self.seeking {
            Some(_) => self.extractor.config().hop_length,
            None => 1,
        }
    }

    fn sample(&self) -> usize {
        self.at * self.unit()
    }

    fn seconds(&self) -> f64 {
        self.sample() as f64 / f64::from(self.extractor.sample_rate())
    }

    /// Goes on at a sample, or a little before.
    fn move_to(&mut self, sample: usize) {
        self.at = match sample >= self.samples.len() {
            true => usize::MAX / 2,
            false => (sample / self.unit()).max(self.at),
        };
    }

    fn is_done(&self) -> bool {
        if let Some((sound, _)) = &self.seeking {
            return self.at >= sound.frames();
        }
        let left = self.samples.len().saturating_sub(self.at) as f64;
        left == 0.0
            || (self.at > 0 && left < SHORTEST_REMAINDER * f64::from(self.extractor.sample_rate()))
    }

    /// Samples or frames of sound in this window.
    fn span(&self) -> usize {
        match &self.seeking {
            Some((sound, _)) => self
                .extractor
                .frames()
                .min(sound.frames().saturating_sub(self.at)),
            None => self
                .extractor
                .window_samples()
                .min(self.samples.len().saturating_sub(self.at)),
        }
    }

    fn features(&self, out: &mut Vec<f32>) -> Result<(), crate::features::FeatureError> {
        match &self.seeking {
            Some((sound, _)) => sound.window(self.at, out),
            None => {
                let cut = &self.samples[self.at..self.at + self.span()];
                self.extractor.extract(cut, out)
            }
        }
    }

    /// Goes on by some units; `None` for the whole window.
    fn advance(&mut self, units: Option<usize>) {
        self.at += units.unwrap_or_else(|| self.span());
    }

    /// The segments of the window, which the cursor then leaves.
    fn cut(&mut self, decoded: &Decoded) -> Vec<Piece> {
        let tokens = &decoded.generated.tokens;
        let Some((_, zero)) = &self.seeking else {
            let rate = f64::from(self.extractor.sample_rate());
            let piece = Piece {
                start: 0.0,
                end: self.span() as f64 / rate,
                tokens: 0..tokens.len(),
                closed: false,
            };
            self.advance(None);
            return vec![piece];
        };
        let (pieces, frames) = seek::cut(tokens, *zero, self.span());
        self.advance(Some(frames));
        pieces
    }
}
