//! Text of a sound while it comes.
//!
//! Somebody speaks, and wants to see what he says at once; but a model hears a whole window, and what it
//! writes of the last second is a guess. So the sound of the window that is not full yet is decoded again
//! each time there is a second more of it, and what two decodings agree on is *certain* ([`agreement`]).
//! The rest is *tentative*. A window that is full is decoded as that of a file is, once and for all: its
//! segments are *final*, and the next window begins where a file's would ([`Followed`]). So is what is
//! left when the sound ends, and the transcript is that of the file:
//!
//! - always, if the sound is not longer than a window;
//! - of longer sound, if nothing later is louder than all before it by so much that it changes which
//!   quiet features of an earlier window are cut off.
//!
//! What is certain is not always what is final, because a model that hears more may change its mind
//! late. Where it did, the final text has the last word.
//!
//! The encoder runs once for a second of sound at most, and not at all for a sound that nobody speaks
//! in, if only speech is to be decoded ([`TranscribeOptions::voice`]). A pause makes everything certain.
//! Memory is bounded by a window, the sound that has come since the last decoding, and the text.

mod agreement;
mod events;
mod joined;

use std::ops::ControlFlow;

use super::followed::{Followed, Sound};
use super::options::TranscribeOptions;
use super::transcribe::spoken;
use super::whisper::WhisperPlan;
use super::words::TimedTokens;
use super::{SpeechModel, SpeechPipeline, TranscribeError};
use crate::audio::AudioError;
use crate::config::OptionsError;
use crate::transcript::{Segment, Transcript, Word};
use agreement::{Agreement, Heard};
pub use events::{stream_events, transcript_event};
use joined::Joined;

/// Seconds of sound from one look to the next. That is a little more than the second for which the encoder
/// may run once, so by the time a window of half a minute is full there is a run to spare for what follows it.
const INTERVAL: f64 = 1.04;
/// A look that comes later than this, in seconds, does not make the next one come sooner.
const LATE: f64 = 0.5;
/// Seconds for which nobody has to speak for what was heard to be certain.
const PAUSE: f64 = 0.5;
/// A word is heard firmly if it is at least so probable,
const PROBABLE: f32 = 0.5;
/// and so many seconds of sound follow it.
const FOLLOWED: f64 = 0.5;
/// Greatest number of tokens that people speak in a second, and those that a text has beside them. What
/// is longer repeats itself.
const TOKENS_PER_SECOND: f64 = 12.0;
const TOKENS_BESIDE: usize = 16;

/// A sound that is transcribed while it comes.
#[derive(Debug)]
pub struct SpeechStream {
    options: TranscribeOptions,
    /// The options for a look at a window that is not full.
    glimpse: TranscribeOptions,
    rate: f64,
    /// Samples of a window.
    window: usize,
    /// Samples in the unit in which windows are placed.
    unit: usize,
    joined: Joined,
    /// Samples to be decoded at the last look.
    looked_at: usize,
    /// Seconds of sound from which on the next look is worth while.
    due_at: f64,
    /// How often the encoder has run.
    runs: usize,
    followed: Followed,
    agreement: Agreement,
}

/// What is new of a stream's text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamUpdate {
    /// What has become certain: it follows all that was certain before, and is never taken back.
    pub certain: String,
    /// What is certain and in no final segment yet.
    pub open: String,
    /// What follows what is certain as far as it is known; the next update has another.
    pub tentative: String,
    /// The segments that have become final, with the times of the sound.
    pub segments: Vec<Segment>,
}

impl SpeechPipeline {
    /// A stream of sound at [`SpeechPipeline::sample_rate`].
    ///
    /// # Errors
    /// Any [`OptionsError`], as of [`SpeechPipeline::check`]; also for clips and a level of silence, which
    /// are for sound of which the end is known.
    pub fn stream(&self, options: &TranscribeOptions) -> Result<SpeechStream, OptionsError> {
        self.check(options)?;
        let whole = |name| {
            let cause = "is for a sound that is there as a whole, not for one that still comes";
            Err(OptionsError::Option { name, cause })
        };
        if !options.clip_timestamps.is_empty() {
            return whole("clip_timestamps");
        }
        if options.skip_silence.is_some() {
            return whole("skip_silence");
        }
        let config = self.features.config();
        let seeks = self.config.plan(options, true)?.time_zero().is_some();
        let joined = Joined::new(self.sample_rate(), options.voice, self.margin());
        let joined = joined.map_err(|_| OptionsError::Option {
            name: "voice",
            cause: "speech cannot be found in sound of this model's rate",
        })?;
        let followed = Followed::new(options);
        let options = TranscribeOptions {
            voice: None,
            ..options.clone()
        };
        Ok(SpeechStream {
            glimpse: TranscribeOptions {
                temperatures: options.temperatures.first().copied().into_iter().collect(),
                word_timestamps: true,
                ..options.clone()
            },
            rate: f64::from(self.sample_rate()),
            window: self.features.window_samples(),
            unit: if seeks { config.hop_length } else { 1 },
            joined,
            looked_at: 0,
            due_at: INTERVAL,
            runs: 0,
            followed,
            agreement: Agreement::default(),
            options,
        })
    }

    /// Samples before a window that its features reach back to: whole frames.
    fn margin(&self) -> usize {
        let config = self.features.config();
        (config.n_fft / 2).next_multiple_of(config.hop_length) + config.hop_length
    }
}

impl SpeechStream {
    /// Takes the next samples of the sound. Nothing is decoded yet.
    ///
    /// # Errors
    /// [`AudioError::Resample`], which finite samples do not cause.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        self.joined.push(samples)
    }

    /// Seconds of sound that have come.
    pub fn duration(&self) -> f64 {
        self.joined.received() as f64 / self.rate
    }

    /// For how many seconds nobody has spoken.
    pub fn quiet(&self) -> f64 {
        self.joined.quiet()
    }

    /// Whether there is enough new sound for an update. Until there is, an update does nothing.
    pub fn is_due(&self) -> bool {
        let may_end = self.agreement.is_open() && self.is_paused();
        self.duration() >= self.due_at && (self.has_new() || may_end)
    }

    /// Decodes what there is to decode, and tells what is new; `model` is any model of the pipeline's,
    /// which nobody else uses during the call.
    ///
    /// # Errors
    /// Any [`TranscribeError`]; the stream is then of no use any more.
    pub fn update<M: SpeechModel>(
        &mut self,
        pipeline: &SpeechPipeline,
        model: &mut M,
    ) -> Result<StreamUpdate, TranscribeError<M::Error>> {
        let before = self.followed.transcript.segments.len();
        if !self.is_due() {
            return Ok(self.told(String::new(), before));
        }
        let now = self.duration();
        let next = if now - self.due_at < LATE {
            self.due_at
        } else {
            now
        };
        self.due_at = next + INTERVAL;
        let mut certain = String::new();
        let is_full = self.is_full(pipeline);
        if is_full {
            self.follow(pipeline, model, true)?;
            certain = self.agreement.settle(&self.new_text(before), false);
            self.joined.forget(self.followed.at * self.unit);
        }
        // What follows the last segment that is final is looked at as well, if there is a run to spare.
        let has_run = (self.runs + 1) as f64 <= now;
        if self.has_new() && (has_run || !is_full) {
            let heard = self.look(pipeline, model)?;
            self.looked_at = self.joined.len();
            self.runs += 1;
            certain += &self.agreement.hear(&heard, self.is_paused());
        } else if !is_full {
            certain = self.agreement.pause();
        }
        Ok(self.told(certain, before))
    }

    /// Ends the sound: what is left of it is decoded, and with the last update comes the transcript of
    /// the whole.
    ///
    /// # Errors
    /// Any [`TranscribeError`]; [`TranscribeError::NoSound`] if none has come.
    pub fn finish<M: SpeechModel>(
        mut self,
        pipeline: &SpeechPipeline,
        model: &mut M,
    ) -> Result<(StreamUpdate, Transcript), TranscribeError<M::Error>> {
        self.joined.finish().map_err(TranscribeError::Resample)?;
        if self.joined.received() == 0 {
            return Err(TranscribeError::NoSound);
        }
        let before = self.followed.transcript.segments.len();
        if self.joined.len() > 0 {
            let is_long = self.joined.received() > self.window && pipeline.config.has_timestamps();
            if self.joined.is_spliced() && is_long {
                // However little is said in it, it is followed by timestamps, as a file is.
                self.options.timestamps.get_or_insert(true);
            }
            self.follow(pipeline, model, false)?;
        } else {
            let plan = pipeline.config.plan(&self.options, false)?;
            self.followed.transcript.language = plan.language().map(str::to_owned);
        }
        let certain = self.agreement.settle(&self.new_text(before), true);
        let update = self.told(certain, before);
        let mut transcript = self.followed.transcript;
        transcript.duration = self.joined.received() as f64 / self.rate;
        let segments = transcript.segments.iter_mut();
        segments.for_each(|segment| self.joined.restore(segment));
        Ok((update, transcript))
    }

    /// Whether there is something to decode that was not looked at.
    fn has_new(&self) -> bool {
        self.joined.len() > self.looked_at
    }

    /// Whether nobody speaks any more, or what is spoken has all been decoded.
    fn is_paused(&self) -> bool {
        self.joined.quiet() >= PAUSE
    }

    /// Whether the next window has all of its sound.
    fn is_full(&self, pipeline: &SpeechPipeline) -> bool {
        let left = self.joined.len() - self.followed.at * self.unit;
        left > self.window + pipeline.features.config().n_fft / 2
    }

    /// Follows the sound as far as windows are full, or to its end.
    fn follow<M: SpeechModel>(
        &mut self,
        pipeline: &SpeechPipeline,
        model: &mut M,
        is_open: bool,
    ) -> Result<(), TranscribeError<M::Error>> {
        let sound = Sound {
            samples: self.joined.samples(),
            dropped: self.joined.dropped(),
            is_open,
        };
        let mut windows = 0;
        let count = |event: super::Event<'_>| {
            // There is one before the first window, and one behind each.
            windows += usize::from(matches!(event, super::Event::Progress { .. }));
            ControlFlow::Continue(())
        };
        let followed = &mut self.followed;
        let done = pipeline.follow_on(model, sound, &self.options, followed, count);
        self.runs += windows.saturating_sub(1);
        done.map_err(|e| e.retimed(|seconds| self.joined.begins(seconds)))
    }

    /// What the model hears in the window that is not full yet.
    fn look<M: SpeechModel>(
        &self,
        pipeline: &SpeechPipeline,
        model: &mut M,
    ) -> Result<Heard, TranscribeError<M::Error>> {
        let at = self.followed.at * self.unit;
        let samples = &self.joined.samples()[at - self.joined.dropped()..];
        let samples = &samples[..samples.len().min(self.window)];
        let seconds = samples.len() as f64 / self.rate;
        let most = (seconds * TOKENS_PER_SECOND) as usize + TOKENS_BESIDE;
        let plan = pipeline.config.plan(&self.glimpse, false)?;
        let text = pipeline.look(model, &plan, &self.glimpse, samples, &self.followed, most);
        text.map_err(|e| e.retimed(|seconds| self.joined.begins(seconds + at as f64 / self.rate)))
    }

    /// The text of the segments from this one on.
    fn new_text(&self, first: usize) -> String {
        let mut text = String::new();
        for segment in &self.followed.transcript.segments[first..] {
            if !segment.text.is_empty() {
                super::join::append(&mut text, &segment.text);
            }
        }
        text
    }

    /// The update for new certain text and the segments from this one on.
    fn told(&self, certain: String, first: usize) -> StreamUpdate {
        let new = self.followed.transcript.segments.iter().skip(first);
        let segments = new.cloned().map(|mut segment| {
            self.joined.restore(&mut segment);
            segment
        });
        StreamUpdate {
            certain,
            open: self.agreement.open(),
            tentative: self.agreement.tentative(),
            segments: segments.collect(),
        }
    }
}

impl SpeechPipeline {
    /// What is heard in the beginning of a window, of at most `most` tokens.
    fn look<M: SpeechModel>(
        &self,
        model: &mut M,
        plan: &WhisperPlan,
        options: &TranscribeOptions,
        samples: &[f32],
        followed: &Followed,
        most: usize,
    ) -> Result<Heard, TranscribeError<M::Error>> {
        let fresh;
        let context = match &followed.context {
            Some(context) => context,
            None => {
                fresh = self.context(options)?;
                &fresh
            }
        };
        let mut windows = self.windows(model, plan, options)?;
        windows.lengths = windows.lengths.at_most(most);
        windows.detected = followed.detected.clone();
        let mut features = Vec::new();
        self.features.extract(samples, &mut features)?;
        windows.encode(0.0, &features, self.features.mels(), self.features.frames())?;
        let own = windows.own_prompt()?;
        let frames = self.features.frames_of(samples.len());
        let nobody = &mut |_: &[u32]| ControlFlow::Continue(());
        let decoded = windows.decode(&context.prompt(&own), own.len(), frames, nobody)?;
        if decoded.is_silent {
            return Ok(Heard::default());
        }
        let tokens = &decoded.generated.tokens;
        let words = tokens.iter().copied().filter(|&token| plan.is_text(token));
        let text = self.tokenizer.decode(&words.collect::<Vec<u32>>())?;
        // A letter that was cut off at the greatest length is no letter.
        let text = text.trim_end_matches('\u{fffd}').trim();
        let mut heard = Heard::from(text);
        if let Some(ends) = &decoded.ends {
            let timed = TimedTokens {
                tokens,
                ends,
                logprobs: &decoded.generated.logprobs,
                offset: 0.0,
            };
            let languages = match self.known_languages(plan) {
                Some(known) => known,
                None => spoken(plan, &windows.detected),
            };
            let language = languages.first().map(|language| language.code.as_str());
            let is_text = |token| plan.is_text(token);
            let words = timed.words(&self.tokenizer, 0..tokens.len(), is_text, language)?;
            let seconds = samples.len() as f64 / f64::from(self.sample_rate());
            heard.words = firm(&words, text, seconds);
        }
        Ok(heard)
    }
}

/// Where the words of a text end, and which of them were heard firmly in a sound of so many seconds.
fn firm(words: &[Word], text: &str, seconds: f64) -> Vec<(usize, bool)> {
    let whole: String = words.iter().map(|word| word.word.as_str()).collect();
    let Some(start) = whole.find(text) else {
        return Vec::new();
    };
    let mut end = 0;
    let ends = words.iter().map(|word| {
        end += word.word.len();
        let is_firm = word.probability >= PROBABLE && word.end <= seconds - FOLLOWED;
        (end.saturating_sub(start), is_firm)
    });
    ends.collect()
}
