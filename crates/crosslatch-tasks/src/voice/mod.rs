//! Where in a sound somebody speaks.
//!
//! A model that was trained to write down speech writes something for noise and music as well, and
//! takes as long for it. How loud a sound is does not tell speech from noise, so a small network does
//! ([`silero`]), and what it says of each frame becomes stretches of time ([`stretches`]). Nothing is
//! assumed of the sound; it may have any rate.

mod hearing;
mod silero;
mod stretches;

use std::ops::Range;

pub(crate) use hearing::Hearing;

use crate::audio::{AudioError, resample};

/// What counts as speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoiceFilter {
    /// Probability, between 0 and 1, from which a frame is speech.
    pub threshold: f32,
    /// Seconds that speech lasts at least; what is shorter is a click.
    pub min_speech: f64,
    /// Seconds that a silence lasts at least; what is shorter is kept.
    pub min_silence: f64,
    /// Seconds that are kept before and after speech.
    pub padding: f64,
}

impl Default for VoiceFilter {
    /// A probability of 0.5; speech of a tenth of a second, silence of two seconds, 0.4 s around.
    fn default() -> Self {
        Self {
            threshold: 0.5,
            min_speech: 0.1,
            min_silence: 2.0,
            padding: 0.4,
        }
    }
}

/// Longest time, in seconds, that makes sense in a [`VoiceFilter`].
const LONGEST: f64 = 3_600.0;

impl VoiceFilter {
    /// The name of a field whose value makes no sense.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let is_probability = self.threshold > 0.0 && self.threshold < 1.0;
        let times = [self.min_speech, self.min_silence, self.padding];
        let are_times = times.iter().all(|t| (0.0..=LONGEST).contains(t));
        match (is_probability, are_times) {
            (false, _) => Some("the threshold must lie between 0 and 1"),
            (true, false) => Some("durations must be 0 to 3600 seconds"),
            (true, true) => None,
        }
    }
}

/// What was heard of a sound.
#[derive(Debug)]
pub struct Voice {
    probabilities: Vec<f32>,
    /// Samples of the sound in a frame.
    frame: f64,
    samples: usize,
    rate: f64,
}

impl Voice {
    /// Listens to a sound, one channel at `rate` Hz.
    ///
    /// # Errors
    /// [`AudioError::Resample`] for rates that no sound has.
    pub fn hear(samples: &[f32], rate: u32) -> Result<Self, AudioError> {
        let probabilities = match rate {
            silero::RATE => silero::probabilities(samples),
            _ => silero::probabilities(&resample(samples, rate, silero::RATE)?),
        };
        Ok(Self {
            probabilities,
            frame: silero::FRAME as f64 * f64::from(rate) / f64::from(silero::RATE),
            samples: samples.len(),
            rate: f64::from(rate),
        })
    }

    /// How probable speech is in each frame.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The stretches in which somebody speaks, in samples, in order and apart.
    pub fn stretches(&self, filter: &VoiceFilter) -> Vec<Range<usize>> {
        let (frame, end) = (self.frame / self.rate, self.samples as f64 / self.rate);
        let found = stretches::stretches(&self.probabilities, frame, end, filter);
        found.into_iter().map(|s| self.in_samples(&s)).collect()
    }

    /// The pauses of at least `least` seconds, in samples, in order and apart.
    pub fn pauses(&self, least: f64, filter: &VoiceFilter) -> Vec<Range<usize>> {
        let frame = self.frame / self.rate;
        let found = stretches::pauses(&self.probabilities, frame, least, filter);
        found.into_iter().map(|s| self.in_samples(&s)).collect()
    }

    fn in_samples(&self, seconds: &Range<f64>) -> Range<usize> {
        let sample = |t: f64| ((t * self.rate).round() as usize).min(self.samples);
        sample(seconds.start)..sample(seconds.end)
    }
}
