//! The mel filter bank: triangles on Slaney's scale.
//!
//! A mel band is a weighted sum of neighbouring frequencies, the weights a triangle whose corners
//! lie evenly on a scale that follows hearing. There are several such scales and norms; Whisper
//! uses Slaney's (linear below 1 kHz, logarithmic above; each triangle divided by half its width),
//! from 0 to 8,000 Hz whatever the sample rate is. The formulas are those of
//! `transformers.audio_utils.mel_filter_bank(norm="slaney", mel_scale="slaney")`, which follows
//! librosa, which follows M. Slaney's Auditory Toolbox (1998). A triangle is zero almost
//! everywhere, so only its support is kept.

/// Highest frequency of the bank, in Hz, fixed by `WhisperFeatureExtractor`.
const MAX_FREQUENCY: f64 = 8_000.0;
/// Where the scale turns from linear to logarithmic: 1,000 Hz is 15 mel.
const TURN_HERTZ: f64 = 1_000.0;
const TURN_MEL: f64 = 15.0;

/// One band: weights for the frequencies from `start` on.
#[derive(Debug, Clone, PartialEq)]
pub struct MelFilter {
    /// Index of the first frequency with a weight.
    pub start: usize,
    /// Weights of that frequency and the ones after it.
    pub weights: Vec<f64>,
}

impl MelFilter {
    /// The band's value for a power spectrum of `n_fft / 2 + 1` values.
    pub fn apply(&self, power: &[f64]) -> f64 {
        let power = power.get(self.start..).unwrap_or_default();
        self.weights.iter().zip(power).map(|(w, p)| w * p).sum()
    }
}

/// The bank of `bands` filters for spectra of `n_fft / 2 + 1` frequencies, 0 to
/// `sampling_rate / 2`.
pub fn mel_filters(bands: usize, n_fft: usize, sampling_rate: u32) -> Vec<MelFilter> {
    let bins = n_fft / 2 + 1;
    let step = f64::from(sampling_rate / 2) / (bins - 1).max(1) as f64;
    let top = hertz_to_mel(MAX_FREQUENCY);
    let corner = |i: usize| mel_to_hertz(top * i as f64 / (bands + 1) as f64);
    (0..bands)
        .map(|band| {
            let (low, centre, high) = (corner(band), corner(band + 1), corner(band + 2));
            let norm = 2.0 / (high - low);
            let weight = |bin: usize| {
                let frequency = step * bin as f64;
                let up = (frequency - low) / (centre - low);
                let down = (high - frequency) / (high - centre);
                up.min(down).max(0.0) * norm
            };
            let start = (0..bins).find(|&bin| weight(bin) > 0.0).unwrap_or(bins);
            let weights = (start..bins).map(weight).take_while(|&w| w > 0.0).collect();
            MelFilter { start, weights }
        })
        .collect()
}

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz >= TURN_HERTZ {
        TURN_MEL + (hertz / TURN_HERTZ).ln() * (27.0 / 6.4_f64.ln())
    } else {
        3.0 * hertz / 200.0
    }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel >= TURN_MEL {
        TURN_HERTZ * ((6.4_f64.ln() / 27.0) * (mel - TURN_MEL)).exp()
    } else {
        200.0 * mel / 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scales_are_inverse_to_each_other_and_meet_at_one_kilohertz() {
        for hertz in [0.0, 20.0, 440.0, 999.9, 1_000.0, 3_000.0, 8_000.0] {
            assert!((mel_to_hertz(hertz_to_mel(hertz)) - hertz).abs() < 1e-9);
        }
        assert!((hertz_to_mel(1_000.0) - 15.0).abs() < 1e-12);
    }

    #[test]
    fn a_bank_may_have_more_filters_than_frequencies() {
        let filters = mel_filters(128, 8, 16_000);
        assert_eq!(filters.len(), 128);
        assert!(filters.iter().any(|f| f.weights.is_empty()));
        assert_eq!(filters[0].apply(&[1.0; 5]), 0.0);
    }
}
