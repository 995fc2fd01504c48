//! The sound of a stream that is to be decoded.
//!
//! That is all of it, or what is spoken in it, joined as that of a file is. What is spoken is known as
//! soon as it is heard, so the joined sound only grows. What lies before the next window is forgotten.

use crate::audio::AudioError;
use crate::speech::spoken::Parts;
use crate::transcript::Segment;
use crate::voice::{Hearing, VoiceFilter};

/// The joined sound, as far as it may still be needed.
#[derive(Debug)]
pub(super) struct Joined {
    hearing: Hearing,
    /// The samples of which it is not known whether they are to be decoded, if only speech is, and where
    /// they begin in the sound.
    undecided: Option<(Vec<f32>, usize)>,
    parts: Parts,
    samples: Vec<f32>,
    /// Joined samples that were forgotten.
    dropped: usize,
    received: usize,
    /// Samples that are kept before a window.
    margin: usize,
}

impl Joined {
    /// For a sound of one channel at `rate` Hz.
    ///
    /// # Errors
    /// [`AudioError::Resample`] for rates that no sound has.
    pub fn new(rate: u32, filter: Option<VoiceFilter>, margin: usize) -> Result<Self, AudioError> {
        Ok(Self {
            hearing: Hearing::new(rate, filter.unwrap_or_default())?,
            undecided: filter.map(|_| (Vec::new(), 0)),
            parts: Parts::new(rate),
            samples: Vec::new(),
            dropped: 0,
            received: 0,
            margin,
        })
    }

    /// Takes the next samples of the sound.
    ///
    /// # Errors
    /// [`AudioError::Resample`], which finite samples do not cause.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        let before = self.received;
        self.received += samples.len();
        self.hearing.push(samples)?;
        match &mut self.undecided {
            Some((undecided, _)) => {
                undecided.extend_from_slice(samples);
                let certain = self.hearing.certain();
                self.take(&certain);
            }
            None if !samples.is_empty() => {
                self.samples.extend_from_slice(samples);
                self.parts.push(before..self.received);
            }
            None => {}
        }
        Ok(())
    }

    /// Takes the end of the sound.
    ///
    /// # Errors
    /// [`AudioError::Resample`], which finite samples do not cause.
    pub fn finish(&mut self) -> Result<(), AudioError> {
        self.hearing.finish()?;
        if self.undecided.is_some() {
            let stretches = self.hearing.stretches();
            self.take(&stretches);
        }
        Ok(())
    }

    /// Appends what is new of these stretches.
    fn take(&mut self, stretches: &[std::ops::Range<usize>]) {
        let Some((undecided, first)) = &mut self.undecided else {
            return;
        };
        let new = stretches.partition_point(|stretch| stretch.end <= self.parts.end());
        for stretch in &stretches[new..] {
            let own = stretch.start.max(self.parts.end())..stretch.end;
            let there = own.start.saturating_sub(*first)..own.end.saturating_sub(*first);
            if let (false, Some(samples)) = (own.is_empty(), undecided.get(there)) {
                self.samples.extend_from_slice(samples);
                self.parts.push(own);
            }
        }
        let from = self.hearing.undecided_from().max(self.parts.end());
        let decided = from.saturating_sub(*first).min(undecided.len());
        undecided.drain(..decided);
        *first += decided;
    }

    /// Forgets what no window from this joined sample on needs.
    pub fn forget(&mut self, at: usize) {
        // Margins are whole frames, and so is what is dropped.
        let until = at.saturating_sub(self.margin).min(self.len());
        let until = until - until % self.margin;
        self.samples.drain(..until.saturating_sub(self.dropped));
        self.dropped = self.dropped.max(until);
    }

    /// The joined samples that are left.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// How many lie before these.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Number of joined samples in all.
    pub fn len(&self) -> usize {
        self.dropped + self.samples.len()
    }

    /// Number of samples that have come.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Whether only speech is joined.
    pub fn is_spliced(&self) -> bool {
        self.undecided.is_some()
    }

    /// For how many seconds nobody has spoken.
    pub fn quiet(&self) -> f64 {
        self.hearing.quiet()
    }

    /// The time in the sound of what begins at this time of the joined sound, in seconds.
    pub fn begins(&self, seconds: f64) -> f64 {
        self.parts.begins(seconds)
    }

    /// Gives a segment of the joined sound the times of the sound.
    pub fn restore(&self, segment: &mut Segment) {
        if self.is_spliced() {
            self.parts.restore(segment);
        }
    }
}
