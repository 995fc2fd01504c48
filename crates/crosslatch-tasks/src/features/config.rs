//! The settings of a feature extractor, from the file that comes with a model.
//!
//! `transformers` writes more fields to `preprocessor_config.json` than it reads back: the window is
//! `chunk_length * sampling_rate` whatever `n_samples` says, and a stored filter bank is computed
//! again. This reader does the same. What would change the features and is not supported is refused,
//! never ignored. Sizes are bounded, because memory and time depend on them before the model has been
//! asked whether it takes features of such a size.

use serde::Deserialize;

use super::FeatureError;

/// What `preprocessor_config.json` says; the defaults are those of `WhisperFeatureExtractor`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FeatureConfig {
    /// Mel bands.
    pub feature_size: usize,
    /// Samples per second.
    pub sampling_rate: u32,
    /// Samples between two frames.
    pub hop_length: usize,
    /// Seconds of a window.
    pub chunk_length: u32,
    /// Samples of a frame.
    pub n_fft: usize,
    /// Standard deviation of the noise that is added; 0 for none.
    pub dither: f32,
    /// The value of the samples that fill a short window.
    pub padding_value: f32,
    /// The side that is filled, which is always `right` for Whisper.
    padding_side: Option<String>,
    feature_extractor_type: Option<String>,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self {
            feature_size: 80,
            sampling_rate: 16_000,
            hop_length: 160,
            chunk_length: 30,
            n_fft: 400,
            dither: 0.0,
            padding_value: 0.0,
            padding_side: None,
            feature_extractor_type: None,
        }
    }
}

/// Greatest number of samples, and of features, of a window: 17 minutes at 16 kHz.
const MOST_NUMBERS: usize = 1 << 24;

/// Greatest number of samples in all frames of a window together. 30 seconds have 2^20.
const MOST_TRANSFORMED: usize = 1 << 28;

/// The layout of `processor_config.json`.
#[derive(Deserialize)]
struct Nested {
    feature_extractor: Option<FeatureConfig>,
}

impl FeatureConfig {
    /// Reads the contents of the file.
    ///
    /// # Errors
    /// [`FeatureError::Json`], or [`FeatureError::Setting`] for a value out of range.
    pub fn from_json(json: &[u8]) -> Result<Self, FeatureError> {
        let config = match serde_json::from_slice::<Nested>(json)?.feature_extractor {
            Some(nested) => nested,
            None => serde_json::from_slice(json)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Samples of a window.
    pub fn window_samples(&self) -> usize {
        self.chunk_length as usize * self.sampling_rate as usize
    }

    /// Frames of a window: one more comes out of the transform and is dropped.
    pub fn frames(&self) -> usize {
        self.window_samples() / self.hop_length.max(1)
    }

    /// Refuses what makes no sense or is not supported.
    pub(super) fn check(&self) -> Result<(), FeatureError> {
        let setting = |name, value: &dyn std::fmt::Display, cause| {
            Err(FeatureError::Setting {
                name,
                value: value.to_string(),
                cause,
            })
        };
        if let Some(kind) = &self.feature_extractor_type
            && kind != "WhisperFeatureExtractor"
        {
            let cause = "only WhisperFeatureExtractor is supported";
            return setting("feature_extractor_type", kind, cause);
        }
        if let Some(side) = &self.padding_side
            && side != "right"
        {
            return setting("padding_side", side, "only right is supported");
        }
        if !(1..=1_024).contains(&self.feature_size) {
            return setting("feature_size", &self.feature_size, "must be 1 to 1024");
        }
        if !crate::audio::SAMPLE_RATES.contains(&self.sampling_rate) {
            return setting(
                "sampling_rate",
                &self.sampling_rate,
                "must be 1000 to 768000",
            );
        }
        if !(2..=65_536).contains(&self.n_fft) || !self.n_fft.is_multiple_of(2) {
            return setting("n_fft", &self.n_fft, "must be even, 2 to 65536");
        }
        if !(1..=65_536).contains(&self.hop_length) {
            return setting("hop_length", &self.hop_length, "must be 1 to 65536");
        }
        if !(1..=3_600).contains(&self.chunk_length) || self.window_samples() > MOST_NUMBERS {
            return setting(
                "chunk_length",
                &self.chunk_length,
                "must be 1 to 3600 and no more than 2^24 samples",
            );
        }
        if self.window_samples() <= self.n_fft {
            return setting("n_fft", &self.n_fft, "must be shorter than the window");
        }
        if self.frames().saturating_mul(self.feature_size) > MOST_NUMBERS {
            return setting(
                "hop_length",
                &self.hop_length,
                "gives more than 2^24 features a window",
            );
        }
        if self.frames().saturating_mul(self.n_fft) > MOST_TRANSFORMED {
            return setting(
                "hop_length",
                &self.hop_length,
                "with n_fft, transforms more than 2^28 samples a window",
            );
        }
        if !self.dither.is_finite() || !self.padding_value.is_finite() {
            return setting(
                "dither",
                &self.dither,
                "must be finite, as must padding_value",
            );
        }
        Ok(())
    }
}
