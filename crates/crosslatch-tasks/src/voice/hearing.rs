//! Where somebody speaks in a sound that is still coming.
//!
//! The network remembers what it heard, and a stretch is found from the past alone, so a sound that
//! comes in pieces has the stretches of the whole one: what is in a stretch is known at once, and what
//! is in none when the silence has lasted long enough.

use std::ops::Range;

use super::VoiceFilter;
use super::silero::{self, Listener};
use super::stretches::{Finder, silent_below};
use crate::audio::{AudioError, Resampler};

/// Listens to a sound piece by piece.
pub(crate) struct Hearing {
    listener: Listener,
    resampler: Resampler,
    /// Sound at the network's rate that does not fill a frame yet.
    pending: Vec<f32>,
    finder: Finder,
    /// Least probability of a frame that is not quiet.
    quiet_below: f32,
    /// Seconds of a frame.
    frame: f64,
    frames: usize,
    /// The frame behind the last one that was not quiet.
    loud_until: usize,
    samples: usize,
    rate: f64,
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing")
            .field("finder", &self.finder)
            .finish_non_exhaustive()
    }
}

impl Hearing {
    /// For a sound of one channel at `rate` Hz.
    ///
    /// # Errors
    /// [`AudioError::Resample`] for rates that no sound has.
    pub fn new(rate: u32, filter: VoiceFilter) -> Result<Self, AudioError> {
        let samples = silero::FRAME as f64 * f64::from(rate) / f64::from(silero::RATE);
        let frame = samples / f64::from(rate);
        Ok(Self {
            listener: Listener::default(),
            resampler: Resampler::new(rate, silero::RATE)?,
            pending: Vec::new(),
            finder: Finder::new(frame, filter),
            quiet_below: silent_below(&filter),
            frame,
            frames: 0,
            loud_until: 0,
            samples: 0,
            rate: f64::from(rate),
        })
    }

    /// Takes the next samples.
    ///
    /// # Errors
    /// [`AudioError::Resample`], which finite samples do not cause.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        self.samples += samples.len();
        self.resampler.push(samples, &mut self.pending)?;
        let whole = self.pending.len() / silero::FRAME * silero::FRAME;
        let pending = std::mem::take(&mut self.pending);
        for frame in pending[..whole].chunks(silero::FRAME) {
            self.hear(frame);
        }
        self.pending.extend_from_slice(&pending[whole..]);
        Ok(())
    }

    /// Takes the end of the sound.
    ///
    /// # Errors
    /// [`AudioError::Resample`], which finite samples do not cause.
    pub fn finish(&mut self) -> Result<(), AudioError> {
        let next = Resampler::new(silero::RATE, silero::RATE)?;
        let resampler = std::mem::replace(&mut self.resampler, next);
        let mut pending = std::mem::take(&mut self.pending);
        resampler.finish(&mut pending)?;
        pending
            .chunks(silero::FRAME)
            .for_each(|frame| self.hear(frame));
        Ok(())
    }

    fn hear(&mut self, frame: &[f32]) {
        let probability = self.listener.hear(frame);
        self.finder.push(probability);
        self.frames += 1;
        if probability >= self.quiet_below {
            self.loud_until = self.frames;
        }
    }

    /// What will be in stretches whatever comes, in samples, in order and apart.
    pub fn certain(&self) -> Vec<Range<usize>> {
        self.in_samples(self.finder.certain(self.end()))
    }

    /// The stretches of the sound if it ends here, in samples, in order and apart.
    pub fn stretches(&self) -> Vec<Range<usize>> {
        self.in_samples(self.finder.stretches(self.end()))
    }

    /// The sample before which nothing will be in a stretch that is not in one by now.
    pub fn undecided_from(&self) -> usize {
        self.sample(self.finder.undecided_from())
    }

    /// For how many seconds nobody has spoken.
    pub fn quiet(&self) -> f64 {
        (self.frames - self.loud_until) as f64 * self.frame
    }

    fn end(&self) -> f64 {
        self.samples as f64 / self.rate
    }

    fn sample(&self, seconds: f64) -> usize {
        ((seconds * self.rate).round() as usize).min(self.samples)
    }

    fn in_samples(&self, stretches: Vec<Range<f64>>) -> Vec<Range<usize>> {
        let in_samples = |s: Range<f64>| self.sample(s.start)..self.sample(s.end);
        stretches.into_iter().map(in_samples).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio;
    use crate::voice::Voice;

    /// Two recordings with silence between them, at the given rate.
    fn sound(rate: u32) -> Vec<f32> {
        let read = |name: &str| {
            let path = format!("../../demo/samples/{name}");
            audio::read_file(path, rate).unwrap().samples
        };
        let silence = vec![0.0; rate as usize * 3];
        [
            silence.clone(),
            read("light.wav"),
            silence,
            read("number-noisy.wav"),
        ]
        .concat()
    }

    #[test]
    fn a_sound_that_comes_in_pieces_has_the_stretches_of_the_whole() {
        for (rate, seed) in [(16_000, 1), (8_000, 2), (22_050, 3)] {
            let samples = sound(rate);
            for (min_silence, padding) in [(2.0, 0.4), (0.1, 0.2), (0.3, 1.0)] {
                let filter = VoiceFilter {
                    min_silence,
                    padding,
                    ..VoiceFilter::default()
                };
                let whole = Voice::hear(&samples, rate).unwrap().stretches(&filter);
                let mut hearing = Hearing::new(rate, filter).unwrap();
                let (mut rest, mut size) = (samples.as_slice(), seed * 977);
                let mut before: Vec<Range<usize>> = Vec::new();
                while !rest.is_empty() {
                    size = size * 31 % 5_003 + 1;
                    let (now, later) = rest.split_at(size.min(rest.len()));
                    hearing.push(now).unwrap();
                    rest = later;
                    let certain = hearing.certain();
                    let covers = |old: &Range<usize>| {
                        let mut all = certain.iter();
                        all.any(|new| new.start <= old.start && old.end <= new.end)
                    };
                    assert!(before.iter().all(covers), "{before:?} {certain:?}");
                    before = certain;
                }
                hearing.finish().unwrap();
                assert_eq!(hearing.stretches(), whole, "{rate} {filter:?}");
                assert!(!whole.is_empty());
            }
        }
    }

    #[test]
    fn quiet_is_measured_from_the_last_speech_on() {
        let mut hearing = Hearing::new(16_000, VoiceFilter::default()).unwrap();
        let samples = sound(16_000);
        hearing.push(&samples[48_000..]).unwrap();
        let during = hearing.quiet();
        hearing.push(&vec![0.0; 32_000]).unwrap();
        assert!(
            hearing.quiet() > during + 1.5,
            "{} {during}",
            hearing.quiet()
        );
    }
}
