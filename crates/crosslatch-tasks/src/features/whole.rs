//! Features of a sound of any length, for windows that begin anywhere.
//!
//! Following a long sound by the timestamps that the model writes takes windows that begin anywhere
//! in features of the whole sound. transformers computes these at once (edges are reflected, and
//! low values cut off, for the whole sound), takes pieces of them, and fills the last piece with
//! zeros. For an hour of sound that is 115 MB. So here one pass over the sound finds the highest
//! value, by which low values are cut off, and each window is computed when it is asked for, with
//! the same result.
//!
//! A sound that fits one window is padded to the window first, as transformers does by default; its
//! pieces then hold the features of padding, not zeros, behind the end.

use std::borrow::Cow;

use super::bands::Bands;
use super::{FeatureError, LogMel, add_dither, lowest, scaled};

/// A sound to take windows of features from.
pub struct WholeSound<'a> {
    extractor: &'a LogMel,
    frames: usize,
    source: Source<'a>,
}

enum Source<'a> {
    /// The features of one padded window.
    Padded(Vec<f32>),
    /// Samples, and the value below which features are cut off.
    Samples(Cow<'a, [f32]>, f32),
}

impl LogMel {
    /// Prepares a whole sound, one channel at [`LogMel::sample_rate`].
    ///
    /// # Errors
    /// [`FeatureError::NotFinite`].
    pub fn whole<'a>(&'a self, samples: &'a [f32]) -> Result<WholeSound<'a>, FeatureError> {
        let hop = self.config.hop_length;
        if samples.len() <= self.window_samples() {
            let mut features = Vec::new();
            self.extract(samples, &mut features)?;
            return Ok(WholeSound {
                extractor: self,
                frames: samples.len().div_ceil(hop),
                source: Source::Padded(features),
            });
        }
        let mut samples = Cow::Borrowed(samples);
        if self.config.dither != 0.0 {
            add_dither(samples.to_mut(), self.config.dither);
        }
        let mut highest = f64::NEG_INFINITY;
        self.long(samples, 0, &mut highest)
    }

    /// Prepares a part of a sound longer than a window, of which frames from `first` on will be asked
    /// for. `highest` is the highest logarithm of the sound before them, and becomes that of the sound
    /// so far. The part needs the samples that frame `first` reaches back to.
    ///
    /// # Errors
    /// [`FeatureError::NotFinite`].
    pub fn part<'a>(
        &'a self,
        samples: &'a [f32],
        first: usize,
        highest: &mut f64,
    ) -> Result<WholeSound<'a>, FeatureError> {
        self.long(Cow::Borrowed(samples), first, highest)
    }

    fn long<'a>(
        &'a self,
        samples: Cow<'a, [f32]>,
        first: usize,
        highest: &mut f64,
    ) -> Result<WholeSound<'a>, FeatureError> {
        let frames = samples.len() / self.config.hop_length;
        let (mut bands, mut cut) = (Bands::new(self), Vec::new());
        for frame in first..frames {
            self.cut(&samples, frame, &mut cut);
            bands.compute(&cut, |_, log| *highest = highest.max(log))?;
        }
        if !highest.is_finite() || samples.iter().any(|x| !x.is_finite()) {
            return Err(FeatureError::NotFinite);
        }
        Ok(WholeSound {
            extractor: self,
            frames,
            source: Source::Samples(samples, lowest(*highest)),
        })
    }

    /// The samples of one frame of a sound longer than a frame, its edges reflected.
    fn cut(&self, samples: &[f32], frame: usize, cut: &mut Vec<f32>) {
        let (n, half) = (self.config.n_fft, self.config.n_fft / 2);
        // In samples, the start lies `half` before this.
        let at = frame * self.config.hop_length;
        cut.clear();
        if at >= half && at + half <= samples.len() {
            cut.extend_from_slice(&samples[at - half..at + half]);
            return;
        }
        let last = samples.len() - 1;
        cut.extend((at..at + n).map(|i| {
            let i = i.abs_diff(half);
            samples[if i > last { 2 * last - i } else { i }]
        }));
    }
}

impl WholeSound<'_> {
    /// Number of frames of sound, without padding.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Computes the features of the window that begins at frame `start`, `[mels, frames of a
    /// window]` in row-major order, into `out`, which is overwritten.
    ///
    /// # Errors
    /// [`FeatureError::Fft`].
    pub fn window(&self, start: usize, out: &mut Vec<f32>) -> Result<(), FeatureError> {
        let (mels, window) = (self.extractor.mels(), self.extractor.frames());
        out.clear();
        out.resize(mels * window, 0.0);
        match &self.source {
            Source::Padded(features) => {
                let rows = out.chunks_exact_mut(window);
                for (row, all) in rows.zip(features.chunks_exact(window)) {
                    let rest = all.get(start..).unwrap_or_default();
                    row[..rest.len()].copy_from_slice(rest);
                }
            }
            Source::Samples(samples, lowest) => {
                let (mut bands, mut cut) = (Bands::new(self.extractor), Vec::new());
                for frame in 0..window.min(self.frames.saturating_sub(start)) {
                    self.extractor.cut(samples, start + frame, &mut cut);
                    bands.compute(&cut, |mel, log| {
                        out[mel * window + frame] = scaled(log as f32, *lowest);
                    })?;
                }
            }
        }
        Ok(())
    }
}
