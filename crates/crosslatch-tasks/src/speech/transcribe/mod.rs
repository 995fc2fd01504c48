//! The loop over windows.
//!
//! Sound that is longer than the model's window is decoded window by window. Where the model writes
//! timestamps, the next window begins at the last of them (`seek.rs`); otherwise windows follow each
//! other without overlap, each with features of its own. A language that has to be detected is
//! detected in the first window and kept, as in transformers. Without timestamps, a remainder of
//! less than a tenth of a second behind the last full window is not decoded: it holds no word and
//! would only invite an invented one. It still counts in the duration. (With timestamps
//! transformers decodes it, and so does this loop.)

mod deltas;

use std::ops::ControlFlow;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::context::{Context, wants_history};
use super::cursor::Cursor;
use super::fallback::Thresholds;
use super::followed::{Followed, Sound};
use super::options::TranscribeOptions;
use super::seek::{self, Piece};
use super::silence::Silence;
use super::whisper::{WhisperConfig, WhisperPlan, code_of};
use super::window::{Decoded, Windows};
use super::words::{Inventions, TimedTokens, Window};
use super::{Event, SpeechModel, SpokenLanguage, TranscribeError, clips, join};
use crate::config::OptionsError;
use crate::features::LogMel;
use crate::rules::Rule;
use crate::search::Sequences;
use crate::tokenizer::TextTokenizer;
use crate::transcript::{Segment, Transcript};
use deltas::Deltas;

/// From this temperature on, a window's text is not shown to the next window.
const TRUSTED_TEMPERATURE: f32 = 0.5;

/// The way from sound to text around a speech model: features, decoding, tokens.
///
/// Made of the files beside the model's weights; see [`speech_pipeline`](crate::speech_pipeline).
#[derive(Debug)]
pub struct SpeechPipeline {
    /// Samples to features.
    pub features: LogMel,
    /// Tokens to text.
    pub tokenizer: TextTokenizer,
    /// How to decode.
    pub config: WhisperConfig,
}

impl SpeechPipeline {
    /// Makes a pipeline of the files that come with a model: `preprocessor_config.json`,
    /// `tokenizer.json`, `generation_config.json` (not every model has one) and `config.json`.
    ///
    /// # Errors
    /// [`TranscribeError::Features`], [`TranscribeError::Tokenizer`] or
    /// [`TranscribeError::Config`], whose texts name the file.
    pub fn from_json<E: std::error::Error>(
        preprocessor: &[u8],
        tokenizer: &[u8],
        generation: Option<&[u8]>,
        config: &[u8],
    ) -> Result<Self, TranscribeError<E>> {
        Ok(Self {
            features: LogMel::from_json(preprocessor)?,
            tokenizer: TextTokenizer::from_bytes(tokenizer)?,
            config: WhisperConfig::from_json(generation, config)?,
        })
    }

    /// Samples per second of the sound that the model takes.
    pub fn sample_rate(&self) -> u32 {
        self.features.sample_rate()
    }

    /// Checks that the model can do what `options` ask for, on sound of any length.
    ///
    /// # Errors
    /// Any [`OptionsError`].
    pub fn check(&self, options: &TranscribeOptions) -> Result<(), OptionsError> {
        let plan = self.config.plan(options, true)?;
        let own = plan.prompt(plan.languages().first().map(|&(id, _)| id));
        let context = Context::new(options, &self.config, &self.tokenizer)?;
        plan.lengths().next(context.prompt(&own).len())?;
        check_sampling(options)?;
        clips::check(options)?;
        Inventions::check(options)?;
        self.rules(&plan, options)?;
        if let Some(cause) = options.voice.and_then(|filter| filter.mistake()) {
            return Err(OptionsError::Option {
                name: "voice",
                cause,
            });
        }
        Thresholds::new(options, &self.config).map(drop)
    }

    /// Transcribes `samples`, one channel at [`SpeechPipeline::sample_rate`].
    ///
    /// # Errors
    /// Any [`TranscribeError`].
    pub fn transcribe<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        options: &TranscribeOptions,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        self.transcribe_with(model, samples, options, |_| ControlFlow::Continue(()))
    }

    /// Transcribes `samples` as [`SpeechPipeline::transcribe`] does. `observer` is told of each
    /// segment as soon as it is decoded, of text before that if it is certain to stay, and of progress at
    /// the start and after each window. If it breaks, the transcript ends there; if it does so at a text,
    /// with that.
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
        clips::check(options)?;
        match options.voice {
            None => self.follow(model, samples, options, observer),
            Some(filter) => self.spoken(samples, filter, options, &mut observer, |spoken, tell| {
                self.follow(model, spoken.samples(), &spoken.options, tell)
            }),
        }
    }

    /// Follows a sound from its beginning to its end.
    fn follow<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        options: &TranscribeOptions,
        observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        let mut followed = Followed::new(options);
        self.follow_on(
            model,
            Sound::whole(samples),
            options,
            &mut followed,
            observer,
        )?;
        Ok(followed.transcript)
    }

    /// Follows a sound from where it was left: to its end, or as far as windows are full if more of it
    /// will come. Clips and silence are those of a whole sound.
    pub(super) fn follow_on<M: SpeechModel>(
        &self,
        model: &mut M,
        sound: Sound<'_>,
        options: &TranscribeOptions,
        followed: &mut Followed,
        mut observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), TranscribeError<M::Error>> {
        let Sound {
            samples,
            dropped,
            is_open,
        } = sound;
        let is_long = self.features.frames_of(samples.len()) > self.features.frames();
        // Followed in one go, as far as that was known until now.
        let is_whole = !is_open && followed.at == 0;
        let plan = self.config.plan(options, is_long || !is_whole)?;
        let mut context = match followed.context.take() {
            Some(context) => context,
            None => self.context(options)?,
        };
        let mut windows = self.windows(model, &plan, options)?;
        windows.random = followed.random.clone();
        windows.detected = std::mem::take(&mut followed.detected);
        let rate = self.features.sample_rate();
        let mut cursor = match is_whole {
            true => {
                let clips = clips::clips(options, samples.len(), rate);
                Cursor::new(&self.features, samples, clips, &plan)?
            }
            false => {
                let highest = &mut followed.highest;
                Cursor::resumed(&self.features, sound, &plan, followed.at, highest)?
            }
        };
        let silence = options
            .skip_silence
            .map(|level| Silence::new(samples, rate, level));
        let mut inventions = Inventions::new(options);
        let uses_history = wants_history(options, &self.config);
        let transcript = &mut followed.transcript;
        transcript.duration = (dropped + samples.len()) as f64 / f64::from(rate);
        let total = transcript.duration;
        let mut flow = observer(Event::Progress {
            done: cursor.seconds(),
            total,
        });
        let languages = &mut followed.languages;
        if flow.is_continue()
            && languages.is_none()
            && let Some(known) = self.known_languages(&plan)
        {
            flow = observer(Event::Languages(&known));
            *languages = Some(known);
        }
        let mut features = Vec::new();
        while flow.is_continue()
            && (!is_open || cursor.is_full())
            && cursor.settle(silence.as_ref())
        {
            cursor.features(&mut features)?;
            let (mels, frames) = (self.features.mels(), self.features.frames());
            windows.encode(cursor.seconds(), &features, mels, frames)?;
            let own = windows.own_prompt()?;
            if languages.is_none() {
                let detected = spoken(&plan, &windows.detected);
                flow = observer(Event::Languages(&detected));
                *languages = Some(detected);
                if flow.is_break() {
                    break;
                }
            }
            let mut deltas = Deltas::new(&self.tokenizer, &plan, &transcript.text);
            let mut told = |tokens: &[u32]| {
                // Segments may still be judged. A tokenizer that fails does so at the segment again.
                let new = match inventions {
                    None => deltas.take(tokens).unwrap_or_default(),
                    Some(_) => String::new(),
                };
                if !new.is_empty() {
                    flow = observer(Event::Text(&new));
                }
                flow
            };
            let prompt = context.prompt(&own);
            let decoded = windows.decode(&prompt, own.len(), cursor.frames(), &mut told)?;
            // What was told before the observer had enough is kept.
            let is_cut = flow.is_break();
            context.uses_history = uses_history && decoded.temperature < TRUSTED_TEMPERATURE;
            let (offset, end) = (cursor.seconds(), cursor.window_end().min(total));
            if decoded.is_silent {
                cursor.advance(None);
            } else {
                let mut before = transcript.segments.last().map_or(0.0, |last| last.end);
                let language = languages.iter().flatten().next();
                let language = language.map(|language| language.code.as_str());
                let mut segments = Vec::new();
                for piece in cursor.cut(&decoded) {
                    let segment = self.segment(&plan, &decoded, piece, offset, language)?;
                    let segment = within(segment, before, end);
                    before = segment.end;
                    segments.push(segment);
                }
                if let Some(inventions) = &mut inventions {
                    let window = Window {
                        start: offset,
                        end: offset + self.features.window_samples() as f64 / f64::from(rate),
                        heard: end,
                        sound: total,
                        is_closed: plan.time_zero().is_some_and(|zero| {
                            seek::ends_with_one(&decoded.generated.tokens, zero)
                        }),
                    };
                    if let Some(next) = inventions.judge(&mut segments, &window) {
                        cursor.go_to(next);
                    }
                }
                for segment in segments {
                    if flow.is_break() && !is_cut {
                        break;
                    }
                    context.add(&segment.tokens, plan.time_zero());
                    if !segment.text.is_empty() {
                        join::append(&mut transcript.text, &segment.text);
                    }
                    let rest = deltas.rest(&transcript.text);
                    if flow.is_continue() && !rest.is_empty() {
                        flow = observer(Event::Text(rest));
                    }
                    if flow.is_continue() {
                        flow = observer(Event::Segment(&segment));
                    }
                    transcript.segments.push(segment);
                }
            }
            if flow.is_continue() {
                let done = cursor.seconds().min(total);
                flow = observer(Event::Progress { done, total });
            }
        }
        if flow.is_continue() && !is_open {
            // Everything is done, so the observer's answer does not matter.
            let _ = observer(Event::Progress { done: total, total });
        }
        let first = languages.iter().flatten().next();
        transcript.language = first.map(|language| language.code.clone());
        followed.at = cursor.place();
        followed.context = Some(context);
        followed.random = windows.random;
        followed.detected = windows.detected;
        Ok(())
    }

    /// What is put in front of the first window.
    pub(super) fn context(&self, options: &TranscribeOptions) -> Result<Context, OptionsError> {
        Context::new(options, &self.config, &self.tokenizer)
    }

    /// What can be said of the language before the sound is heard; `None` if it has to be detected.
    pub(super) fn known_languages(&self, plan: &WhisperPlan) -> Option<Vec<SpokenLanguage>> {
        let certain = plan.language().map(|code| SpokenLanguage {
            code: code.to_owned(),
            probability: 1.0,
        });
        let is_known = plan.languages().is_empty();
        is_known.then(|| certain.into_iter().collect())
    }

    /// The rules for the next token, of which the first is the grammar.
    fn rules(
        &self,
        plan: &WhisperPlan,
        options: &TranscribeOptions,
    ) -> Result<Vec<Box<dyn Rule>>, OptionsError> {
        let mut rules = plan.rules();
        if let Some(grammar) = &options.grammar {
            let rule = grammar.rule(&self.tokenizer, plan.eos(), plan.times());
            rules.insert(0, rule.map_err(OptionsError::Grammar)?);
        }
        Ok(rules)
    }

    pub(super) fn windows<'a, M: SpeechModel>(
        &self,
        model: &'a mut M,
        plan: &'a WhisperPlan,
        options: &'a TranscribeOptions,
    ) -> Result<Windows<'a, M>, OptionsError> {
        check_sampling(options)?;
        let vocabulary = self.config.vocab_size;
        let has_words = options.needs_words() && model.unaligned().is_none();
        Ok(Windows {
            model,
            plan,
            rules: self.rules(plan, options)?,
            lengths: plan.lengths(),
            temperatures: match options.temperatures.as_slice() {
                [] => &[0.0],
                temperatures => temperatures,
            },
            thresholds: Thresholds::new(options, &self.config)?,
            top_k: self.config.top_k,
            best_of: options.best_of.unwrap_or(1),
            vocabulary: vocabulary.unwrap_or_else(|| self.tokenizer.vocabulary_size()),
            // Its id is one less than that of the token that says that no timestamps follow.
            no_speech: self
                .config
                .no_timestamps_token_id
                .and_then(|id| id.checked_sub(1)),
            words: has_words.then_some(self.config.median_filter_width),
            random: ChaCha8Rng::seed_from_u64(options.seed),
            sequences: Sequences::default(),
            seconds: 0.0,
            detected: Vec::new(),
        })
    }

    fn segment<E: std::error::Error>(
        &self,
        plan: &WhisperPlan,
        decoded: &Decoded,
        piece: Piece,
        offset: f64,
        language: Option<&str>,
    ) -> Result<Segment, TranscribeError<E>> {
        let all = &decoded.generated.tokens;
        let complete = piece.closed || decoded.generated.end.is_some();
        let spoken = decoded.ends.as_ref().map(|ends| {
            let timed = TimedTokens {
                tokens: all,
                ends,
                logprobs: &decoded.generated.logprobs,
                offset,
            };
            let is_text = |token| plan.is_text(token);
            timed.words(&self.tokenizer, piece.tokens.clone(), is_text, language)
        });
        let tokens = all.get(piece.tokens).unwrap_or_default().to_vec();
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|&token| plan.is_text(token))
            .collect();
        Ok(Segment {
            seek: (offset * 100.0).round() as u64,
            start: offset + piece.start,
            end: offset + piece.end,
            text: self.tokenizer.decode(&words)?.trim().to_owned(),
            tokens,
            avg_logprob: decoded.generated.avg_logprob,
            compression_ratio: decoded.compression_ratio,
            no_speech_prob: decoded.no_speech,
            temperature: decoded.temperature,
            complete,
            words: spoken.transpose()?,
            channel: None,
        })
    }
}

/// The segment between what comes before it and the end of its window: a model may write a timestamp
/// of the part of its window that lies behind the sound, or behind the clip.
fn within(mut segment: Segment, before: f64, end: f64) -> Segment {
    segment.end = segment.end.min(end);
    segment.start = segment.start.max(before).min(end);
    segment.end = segment.end.max(segment.start);
    for word in segment.words.iter_mut().flatten() {
        word.start = word.start.min(end);
        word.end = word.end.min(end);
    }
    segment
}

/// The detected languages, most probable first.
pub(super) fn spoken(plan: &WhisperPlan, detected: &[(u32, f32)]) -> Vec<SpokenLanguage> {
    let name = |id| {
        let mut known = plan.languages().iter();
        known.find(|&&(token, _)| token == id)
    };
    let spoken = detected.iter().filter_map(|&(id, probability)| {
        Some(SpokenLanguage {
            code: code_of(&name(id)?.1).to_owned(),
            probability,
        })
    });
    spoken.collect()
}

/// Refuses temperatures that are no temperatures, and numbers of draws that make no sense.
fn check_sampling(options: &TranscribeOptions) -> Result<(), OptionsError> {
    let wrong = |name, cause| Err(OptionsError::Option { name, cause });
    let mut temperatures = options.temperatures.iter();
    if temperatures.any(|t| !t.is_finite() || *t < 0.0) {
        return wrong("temperatures", "must be finite numbers, 0 or above");
    }
    match options.best_of {
        Some(count) if !(1..=64).contains(&count) => wrong("best_of", "must be 1 to 64"),
        _ => Ok(()),
    }
}
