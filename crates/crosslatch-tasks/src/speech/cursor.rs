//! Where in the sound the next window begins, and what it hears.
//!
//! Where the model writes timestamps, windows lie in the features of the whole sound, and the next
//! begins where the text of the last one ends. Otherwise each window is a piece of the sound with
//! features of its own. Both go through the clips of the sound, and may skip silence.

use std::collections::VecDeque;
use std::ops::Range;

use super::followed::Sound;
use super::seek::{self, Piece};
use super::silence::Silence;
use super::whisper::WhisperPlan;
use super::window::Decoded;
use crate::features::{FeatureError, LogMel, WholeSound};

/// A remainder shorter than this, in seconds, is not decoded.
const SHORTEST_REMAINDER: f64 = 0.1;

/// Where in the sound the next window begins.
pub(super) struct Cursor<'a> {
    extractor: &'a LogMel,
    samples: &'a [f32],
    /// If timestamps tell where to go on: the features of the whole sound, and the token of time
    /// zero.
    seeking: Option<(WholeSound<'a>, u32)>,
    /// The parts of the sound that are still to be decoded, the current one first, in the unit of
    /// `at`.
    clips: VecDeque<Range<usize>>,
    /// In frames of features if `seeking`, else in samples.
    at: usize,
    /// Units of the sound that lie before `samples`.
    dropped: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(
        extractor: &'a LogMel,
        samples: &'a [f32],
        clips: Vec<Range<usize>>,
        plan: &WhisperPlan,
    ) -> Result<Self, FeatureError> {
        let seeking = match plan.time_zero() {
            Some(zero) => Some((extractor.whole(samples)?, zero)),
            None => None,
        };
        let mut cursor = Self {
            extractor,
            samples,
            seeking,
            clips: VecDeque::new(),
            at: 0,
            dropped: 0,
        };
        let (unit, last) = (cursor.unit(), samples.len());
        // To the nearest unit, except for the end of the sound.
        let near = |sample: usize| match sample == last {
            true => cursor.last(),
            false => ((sample + unit / 2) / unit).min(cursor.last()),
        };
        let clips = clips.iter().map(|clip| near(clip.start)..near(clip.end));
        cursor.clips = clips.filter(|clip| !clip.is_empty()).collect();
        Ok(cursor)
    }

    /// A cursor on the part of a sound that is there and still to be decoded, without clips: at unit
    /// `at` of the sound. `highest` is as for [`LogMel::part`].
    pub fn resumed(
        extractor: &'a LogMel,
        sound: Sound<'a>,
        plan: &WhisperPlan,
        at: usize,
        highest: &mut f64,
    ) -> Result<Self, FeatureError> {
        let mut cursor = Self {
            extractor,
            samples: sound.samples,
            seeking: None,
            clips: VecDeque::new(),
            at: 0,
            dropped: 0,
        };
        if let Some(zero) = plan.time_zero() {
            let hop = extractor.config().hop_length;
            let first = at.saturating_sub(sound.dropped / hop);
            let part = extractor.part(sound.samples, first, highest)?;
            cursor.seeking = Some((part, zero));
        }
        cursor.dropped = sound.dropped / cursor.unit();
        cursor.at = at.saturating_sub(cursor.dropped);
        cursor.clips.push_back(0..cursor.last());
        Ok(cursor)
    }

    /// Where the next window begins, in units of the sound.
    pub fn place(&self) -> usize {
        self.at + self.dropped
    }

    /// Whether the window has all the sound that it can have, whatever comes behind.
    pub fn is_full(&self) -> bool {
        let config = self.extractor.config();
        let end = match self.seeking {
            // The last frame reaches beyond its place.
            Some(_) => self.sample() + self.extractor.window_samples() + config.n_fft / 2,
            None => self.at + self.extractor.window_samples(),
        };
        end < self.samples.len()
    }

    /// Number of samples in a unit of `at`.
    fn unit(&self) -> usize {
        match self.seeking {
            Some(_) => self.extractor.config().hop_length,
            None => 1,
        }
    }

    /// Where the sound ends.
    fn last(&self) -> usize {
        match &self.seeking {
            Some((sound, _)) => sound.frames(),
            None => self.samples.len(),
        }
    }

    /// Goes to where the next window begins: in the current clip or the next one, and not in
    /// silence. Returns `false` if nothing is left to decode.
    pub fn settle(&mut self, silence: Option<&Silence<'_>>) -> bool {
        while let Some(clip) = self.clips.front().cloned() {
            self.at = self.at.max(clip.start);
            let heard = self.at;
            if let (Some(silence), false) = (silence, self.is_done(&clip)) {
                self.move_to(silence.skip(self.sample()));
            }
            if self.is_done(&clip) {
                self.clips.pop_front();
            } else if self.at == heard {
                return true;
            }
        }
        false
    }

    fn sample(&self) -> usize {
        self.at * self.unit()
    }

    pub fn seconds(&self) -> f64 {
        self.in_seconds(self.sample())
    }

    /// The time of a sample of `samples` in the sound.
    fn in_seconds(&self, sample: usize) -> f64 {
        (sample + self.dropped * self.unit()) as f64 / f64::from(self.extractor.sample_rate())
    }

    /// Where the sound in this window ends, in seconds.
    pub fn window_end(&self) -> f64 {
        let samples = match self.at + self.span() {
            end if end >= self.last() => self.samples.len(),
            end => end * self.unit(),
        };
        self.in_seconds(samples)
    }

    /// Goes on at this sample, or a little before it.
    fn move_to(&mut self, sample: usize) {
        self.at = match sample >= self.samples.len() {
            true => usize::MAX / 2,
            false => (sample / self.unit()).max(self.at),
        };
    }

    /// Whether nothing of this clip is left to decode.
    fn is_done(&self, clip: &Range<usize>) -> bool {
        let left = clip.end.saturating_sub(self.at);
        let short = SHORTEST_REMAINDER * f64::from(self.extractor.sample_rate());
        let is_remainder = self.seeking.is_none() && self.at > clip.start;
        left == 0 || (is_remainder && (left as f64) < short)
    }

    /// Frames of features in this window that are sound.
    pub fn frames(&self) -> usize {
        let span = self.span();
        match &self.seeking {
            Some(_) => span,
            None => span.div_ceil(self.extractor.config().hop_length),
        }
    }

    /// Units of sound in this window.
    fn span(&self) -> usize {
        let window = match &self.seeking {
            Some(_) => self.extractor.frames(),
            None => self.extractor.window_samples(),
        };
        let end = self.clips.front().map_or(0, |clip| clip.end);
        window.min(end.saturating_sub(self.at))
    }

    pub fn features(&self, out: &mut Vec<f32>) -> Result<(), FeatureError> {
        match &self.seeking {
            Some((sound, _)) => {
                sound.window(self.at, out)?;
                let span = self.span();
                if self.at + span < sound.frames() {
                    // What comes after the clip is not to be heard.
                    let rows = out.chunks_exact_mut(self.extractor.frames());
                    rows.for_each(|row| row[span..].fill(0.0));
                }
                Ok(())
            }
            None => {
                let cut = &self.samples[self.at..self.at + self.span()];
                self.extractor.extract(cut, out)
            }
        }
    }

    /// Goes on by so many units, or by the whole window, but not beyond the clip: what is behind it may
    /// be the next one.
    pub fn advance(&mut self, units: Option<usize>) {
        let end = self.clips.front().map_or(usize::MAX, |clip| clip.end);
        self.at = (self.at + units.unwrap_or_else(|| self.span())).min(end);
    }

    /// Goes on at this time, or at the end of the clip if that is earlier.
    pub fn go_to(&mut self, seconds: f64) {
        let samples = seconds * f64::from(self.extractor.sample_rate());
        let end = self.clips.front().map_or(usize::MAX, |clip| clip.end);
        self.at = ((samples / self.unit() as f64).round() as usize).min(end);
    }

    /// Cuts the text of the window into segments and moves on to the next window.
    pub fn cut(&mut self, decoded: &Decoded) -> Vec<Piece> {
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
