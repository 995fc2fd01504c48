//! Stretches of silence that need not be decoded.
//!
//! Decoding silence costs as much as decoding speech and invites invented words. The level of sound
//! is measured in short frames; a stretch of at least a second in which no frame reaches the
//! threshold is skipped, except for a little before the sound that follows, so that a soft beginning
//! is heard. Where a window would begin with such a stretch, it begins after it.

/// Seconds of a frame whose level is measured.
const FRAME: f64 = 0.03;
/// Seconds of silence that are worth skipping.
const SHORTEST: f64 = 1.0;
/// Seconds kept before the sound.
const KEPT: f64 = 0.2;

/// Where the sound is loud enough.
pub(super) struct Silence<'a> {
    samples: &'a [f32],
    frame: usize,
    /// Mean square of a frame that is loud enough.
    power: f64,
    shortest: usize,
    kept: usize,
}

impl<'a> Silence<'a> {
    /// `level` is in decibels relative to full scale (a mean square of 1).
    pub fn new(samples: &'a [f32], sample_rate: u32, level: f32) -> Self {
        let count = |seconds: f64| ((seconds * f64::from(sample_rate)) as usize).max(1);
        Self {
            samples,
            frame: count(FRAME),
            power: 10_f64.powf(f64::from(level) / 10.0),
            shortest: count(SHORTEST),
            kept: count(KEPT),
        }
    }

    /// Where to go on from sample `at`: there, or after the silence that begins there; the end of
    /// the sound if nothing more is heard.
    pub fn skip(&self, at: usize) -> usize {
        let rest = self.samples.get(at..).unwrap_or_default();
        let loud = rest.chunks(self.frame).position(|frame| {
            let energy: f64 = frame.iter().map(|&x| f64::from(x).powi(2)).sum();
            energy / frame.len() as f64 >= self.power
        });
        match loud.map(|frames| frames * self.frame) {
            None => self.samples.len(),
            Some(silent) if silent >= self.shortest => at + silent - self.kept.min(silent),
            Some(_) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_silence_is_skipped_and_less_is_not() {
        let mut samples = vec![0.001_f32; 8_000];
        samples[3_000..3_500].fill(0.1);
        samples[4_000..4_100].fill(-0.1);
        let silence = Silence::new(&samples, 1_000, -40.0);
        assert_eq!(silence.skip(0), 2_800);
        assert_eq!(silence.skip(2_800), 2_800);
        assert_eq!(silence.skip(3_500), 3_500);
        assert_eq!(silence.skip(4_100), 8_000);
        assert_eq!(silence.skip(9_000), 8_000);
        assert_eq!(Silence::new(&samples, 1_000, -70.0).skip(4_100), 4_100);
    }
}
