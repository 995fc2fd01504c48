//! From samples to the log-mel features that Whisper takes.
//!
//! A Whisper encoder was trained on one exact transformation of sound, and every small difference in
//! it (which Hann window, how the edges are padded, which mel scale, which frame is dropped) costs
//! accuracy without any visible error. So this module follows `transformers.WhisperFeatureExtractor`
//! step by step, driven by the `preprocessor_config.json` that a model comes with, and is tested
//! against numbers that the extractor produced:
//!
//! 1. pad or fill with `padding_value` to the window of `chunk_length * sampling_rate` samples;
//! 2. reflect `n_fft / 2` samples at both edges; cut into frames of `n_fft` every `hop_length`;
//! 3. multiply by the periodic Hann window, take the power spectrum, drop the last frame;
//! 4. mel filter bank ([`mel_filters`]), then `log10(max(x, 1e-10))`;
//! 5. raise everything to at least the maximum minus 8, then `(x + 4) / 4`.
//!
//! The spectrum is computed in `f64`. That costs a few milliseconds for each window and keeps the error
//! far below the one that `f32` leaves in `transformers` itself. Frames that are silent throughout,
//! such as the padding behind a short clip, need no transform.

mod bands;
mod config;
mod mel;
mod whole;

use realfft::RealFftPlanner;

use bands::Bands;
pub use config::FeatureConfig;
pub use mel::{MelFilter, mel_filters};
pub use whole::WholeSound;

/// Why features cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// `preprocessor_config.json` is not JSON of the expected shape.
    #[error("preprocessor_config.json: {0}; take the file that belongs to the model")]
    Json(#[from] serde_json::Error),
    /// A setting has a value that no Whisper model has, or that is not supported.
    #[error("preprocessor_config.json: {name} is {value}: {cause}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What the file says.
        value: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// More samples than one window holds.
    #[error("{given} samples do not fit a window of {window}; cut the sound into windows first")]
    TooLong {
        /// Samples given.
        given: usize,
        /// Samples that a window holds.
        window: usize,
    },
    /// The samples are infinite, not numbers, or so large that their energy overflows.
    #[error("the sound has samples that are not finite numbers of a sane size; check its source")]
    NotFinite,
    /// The Fourier transform refused its buffers; not caused by any input.
    #[error("the Fourier transform failed: {0}")]
    Fft(#[source] realfft::FftError),
}

/// Computes log-mel features. It is made once for a model and used for every window.
pub struct LogMel {
    config: FeatureConfig,
    /// Periodic Hann window, `[n_fft]`.
    window: Vec<f64>,
    filters: Vec<MelFilter>,
    fft: std::sync::Arc<dyn realfft::RealToComplex<f64>>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl LogMel {
    /// Reads the contents of a `preprocessor_config.json`, or of a `processor_config.json` that has one
    /// under `feature_extractor`, as transformers writes them.
    ///
    /// # Errors
    /// [`FeatureError::Json`] or [`FeatureError::Setting`].
    pub fn from_json(json: &[u8]) -> Result<Self, FeatureError> {
        Self::new(FeatureConfig::from_json(json)?)
    }

    /// For these settings.
    ///
    /// # Errors
    /// [`FeatureError::Setting`] if a setting is out of range.
    pub fn new(config: FeatureConfig) -> Result<Self, FeatureError> {
        config.check()?;
        let n = config.n_fft;
        // scipy's and torch's hann_window(n, periodic=True): 0.5 - 0.5 cos(2 pi i / n).
        let step = std::f64::consts::TAU / n as f64;
        let window = (0..n)
            .map(|i| 0.5 - 0.5 * (step * i as f64).cos())
            .collect();
        let filters = mel_filters(config.feature_size, n, config.sampling_rate);
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(n);
        Ok(Self {
            config,
            window,
            filters,
            fft,
        })
    }

    /// The settings in force.
    pub fn config(&self) -> &FeatureConfig {
        &self.config
    }

    /// Number of mel bands, the first dimension of the features.
    pub fn mels(&self) -> usize {
        self.config.feature_size
    }

    /// Number of frames of a window, the second dimension of the features.
    pub fn frames(&self) -> usize {
        self.config.frames()
    }

    /// Number of frames of so many samples without padding.
    pub fn frames_of(&self, samples: usize) -> usize {
        samples / self.config.hop_length
    }

    /// Number of samples of a window.
    pub fn window_samples(&self) -> usize {
        self.config.window_samples()
    }

    /// Samples per second that [`LogMel::extract`] expects.
    pub fn sample_rate(&self) -> u32 {
        self.config.sampling_rate
    }

    /// Computes the features of one window, `[mels, frames]` in row-major order, into `out`, which is
    /// overwritten.
    ///
    /// `samples` are one channel at [`LogMel::sample_rate`]. If there are fewer than a window has, they
    /// are padded at the end.
    ///
    /// # Errors
    /// [`FeatureError::TooLong`] or [`FeatureError::NotFinite`].
    pub fn extract(&self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), FeatureError> {
        let (mels, frames, window) = (self.mels(), self.frames(), self.window_samples());
        if samples.len() > window {
            return Err(FeatureError::TooLong {
                given: samples.len(),
                window,
            });
        }
        let padded = self.padded(samples);
        out.clear();
        out.resize(mels * frames, 0.0);
        let mut bands = Bands::new(self);
        let mut highest = f64::NEG_INFINITY;
        for frame in 0..frames {
            let start = frame * self.config.hop_length;
            let cut = &padded[start..start + self.config.n_fft];
            bands.compute(cut, |mel, log| {
                highest = highest.max(log);
                out[mel * frames + frame] = log as f32;
            })?;
        }
        // An f64 holds the energy of any finite f32, so this is the samples' fault. (`max` skips a
        // NaN, hence the check of the samples themselves.)
        if !highest.is_finite() || samples.iter().any(|x| !x.is_finite()) {
            return Err(FeatureError::NotFinite);
        }
        let lowest = lowest(highest);
        for x in out.iter_mut() {
            *x = scaled(*x, lowest);
        }
        Ok(())
    }

    /// The window with its reflected edges: `n_fft / 2 + window + n_fft / 2` samples.
    fn padded(&self, samples: &[f32]) -> Vec<f32> {
        let (half, window) = (self.config.n_fft / 2, self.window_samples());
        let mut padded = Vec::with_capacity(window + 2 * half);
        padded.resize(half, 0.0);
        padded.extend_from_slice(samples);
        padded.resize(half + window, self.config.padding_value);
        if self.config.dither != 0.0 {
            add_dither(&mut padded[half..], self.config.dither);
        }
        for i in 0..half {
            // numpy's and torch's "reflect": the edge sample itself is not repeated.
            padded[i] = padded[2 * half - i];
        }
        for i in 0..half {
            padded.push(padded[half + window - 2 - i]);
        }
        padded
    }
}

/// The value below which the features of a sound are cut off, if their highest logarithm is `highest`.
fn lowest(highest: f64) -> f32 {
    (highest - 8.0) as f32
}

/// A feature from its logarithm: the last of the steps above.
fn scaled(log: f32, lowest: f32) -> f32 {
    (log.max(lowest) + 4.0) / 4.0
}

/// Adds normally distributed noise of deviation `dither`, from a fixed seed so that a run can be
/// repeated (transformers draws from torch's global generator; the values cannot agree).
/// Generator: splitmix64; normal values by Box and Muller's transform.
fn add_dither(samples: &mut [f32], dither: f32) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    for sample in samples {
        let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
        *sample += dither * (radius * (std::f64::consts::TAU * uniform()).cos()) as f32;
    }
}
