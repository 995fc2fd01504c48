//! Stretches of silence that need not be decoded.
//!
//! Decoding silence costs as much as decoding speech and invites invented words. So the level of the
//! sound is measured in short frames, and a stretch of at least a second in which no frame reaches the
//! threshold is skipped where a window would begin with it. A little of it is kept before the sound
//! that follows, so that a soft beginning is heard.

/// Length in seconds of the frames whose level is measured.
const FRAME: f64 = 0.03;
/// Length in seconds of the shortest silence that is skipped.
const SHORTEST: f64 = 1.0;
/// Seconds of silence that are kept before the sound.
const KEPT: f64 = 0.2;

/// Finds the silent stretches of a sound.
pub(super) struct Silence<'a> {
    samples: &'a [f32],
    frame: usize,
    /// Least mean square of a frame that is not silent.
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

    /// Where to go on from sample `at`: at `at` itself, or after the silence that begins there. This is
    /// the end of the sound if nothing more is heard.
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
