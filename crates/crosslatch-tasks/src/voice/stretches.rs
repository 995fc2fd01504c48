//! From the probability of speech in each frame to the stretches in which somebody speaks.
//!
//! A probability crosses any single threshold many times within a word. So a stretch begins where the
//! probability reaches the threshold and ends where it has stayed below a lower one for as long as a
//! silence has to last; what is shorter than a syllable is a click. Voices begin and end softly, so a
//! stretch is then made longer at both ends, and stretches that meet become one.

use std::ops::Range;

use super::VoiceFilter;

/// How far below the threshold a probability has to fall for a stretch to end.
const HYSTERESIS: f32 = 0.15;
/// Least probability at which a stretch does not end, whatever the threshold.
const LOWEST: f32 = 0.01;

/// The probability below which nobody speaks.
pub(super) fn silent_below(filter: &VoiceFilter) -> f32 {
    (filter.threshold - HYSTERESIS).max(LOWEST)
}

/// The stretches in which somebody speaks, in seconds of a sound of `frame` seconds for each
/// probability, which is `end` seconds long.
pub(super) fn stretches(
    probabilities: &[f32],
    frame: f64,
    end: f64,
    filter: &VoiceFilter,
) -> Vec<Range<f64>> {
    let mut finder = Finder::new(frame, *filter);
    for &probability in probabilities {
        finder.push(probability);
    }
    finder.stretches(end)
}

/// Finds stretches as the probabilities of one frame after the other arrive.
#[derive(Debug)]
pub(super) struct Finder {
    filter: VoiceFilter,
    /// Seconds of a frame.
    frame: f64,
    /// Number of frames so far.
    count: usize,
    /// The frame in which the current stretch began.
    first: Option<usize>,
    /// The frame from which on it has been quiet.
    quiet_from: Option<usize>,
    /// What has ended, in seconds. No end lies behind that of the sound: that is cut when it is known.
    found: Vec<Range<f64>>,
}

impl Finder {
    pub fn new(frame: f64, filter: VoiceFilter) -> Self {
        Self {
            filter,
            frame,
            count: 0,
            first: None,
            quiet_from: None,
            found: Vec::new(),
        }
    }

    /// Takes the probability of speech in the next frame.
    pub fn push(&mut self, probability: f32) {
        let at = self.count;
        self.count += 1;
        let Some(begun) = self.first else {
            if probability >= self.filter.threshold {
                self.first = Some(at);
            }
            return;
        };
        if probability >= self.filter.threshold {
            self.quiet_from = None;
        } else if probability < silent_below(&self.filter) || self.quiet_from.is_some() {
            let from = *self.quiet_from.get_or_insert(at);
            if (self.count - from) as f64 * self.frame >= self.filter.min_silence {
                if let Some(stretch) = self.stretch(begun, from, f64::INFINITY) {
                    add(&mut self.found, stretch);
                }
                (self.first, self.quiet_from) = (None, None);
            }
        }
    }

    /// The stretches of a sound that ends here, at `end` seconds.
    pub fn stretches(&self, end: f64) -> Vec<Range<f64>> {
        // A stretch that has not ended goes to the end, however quiet that is.
        self.until(self.count, end)
    }

    /// What will be in stretches whatever comes, of the `end` seconds so far. An end may still move
    /// back into the future, and a stretch may be joined to the one before it; nothing is taken back.
    pub fn certain(&self, end: f64) -> Vec<Range<f64>> {
        self.until(self.quiet_from.unwrap_or(self.count), end)
    }

    fn until(&self, last: usize, end: f64) -> Vec<Range<f64>> {
        let mut all = self.found.clone();
        if let Some(stretch) = self.first.and_then(|first| self.stretch(first, last, end)) {
            add(&mut all, stretch);
        }
        all.retain_mut(|stretch| {
            stretch.end = stretch.end.min(end);
            stretch.start < stretch.end
        });
        all
    }

    /// The time, in seconds, before which nothing will be in a stretch that is not in one by now.
    pub fn undecided_from(&self) -> f64 {
        let first = self.first.unwrap_or(self.count);
        self.padded(first as f64 * self.frame)
    }

    /// Where speech that begins here is taken to begin.
    fn padded(&self, start: f64) -> f64 {
        // Silence that is too short to count is kept at the beginning too.
        match self.found.is_empty() && start < self.filter.min_silence {
            true => 0.0,
            false => (start - self.filter.padding).max(0.0),
        }
    }

    /// The padded stretch of these frames in a sound of `end` seconds, if it is long enough.
    fn stretch(&self, first: usize, last: usize, end: f64) -> Option<Range<f64>> {
        let (start, stop) = (
            first as f64 * self.frame,
            (last as f64 * self.frame).min(end),
        );
        let is_speech = stop - start >= self.filter.min_speech;
        is_speech.then(|| self.padded(start)..(stop + self.filter.padding).min(end))
    }
}

/// Adds a stretch, or joins it to the last one if they meet.
fn add(found: &mut Vec<Range<f64>>, stretch: Range<f64>) {
    match found
        .last_mut()
        .filter(|before| before.end >= stretch.start)
    {
        Some(before) => before.end = stretch.end,
        None => found.push(stretch),
    }
}

/// The pauses between words that last at least `least` seconds, in seconds.
pub(super) fn pauses(
    probabilities: &[f32],
    frame: f64,
    least: f64,
    filter: &VoiceFilter,
) -> Vec<Range<f64>> {
    let low = silent_below(filter);
    let mut pauses = Vec::new();
    let mut at = 0;
    for run in probabilities.chunk_by(|a, b| (*a < low) == (*b < low)) {
        let length = run.len() as f64 * frame;
        if run[0] < low && length >= least {
            let start = at as f64 * frame;
            pauses.push(start..start + length);
        }
        at += run.len();
    }
    pauses
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: VoiceFilter = VoiceFilter {
        threshold: 0.5,
        min_speech: 0.2,
        min_silence: 0.3,
        padding: 0.1,
    };

    /// Frames of a tenth of a second.
    fn found(probabilities: &[f32], filter: &VoiceFilter) -> Vec<(i64, i64)> {
        let end = probabilities.len() as f64 / 10.0;
        let tenth = |t: f64| (t * 10.0).round() as i64;
        let found = stretches(probabilities, 0.1, end, filter).into_iter();
        found.map(|s| (tenth(s.start), tenth(s.end))).collect()
    }

    #[test]
    fn a_stretch_ends_after_a_silence_and_is_padded() {
        let mut sound = [0.0; 30];
        sound[5..10].fill(0.9);
        sound[12..14].fill(0.6);
        sound[25..30].fill(1.0);
        assert_eq!(found(&sound, &FILTER), [(4, 15), (24, 30)]);
    }

    #[test]
    fn neither_clicks_nor_short_dips_count() {
        let mut sound = [0.0; 30];
        sound[3] = 0.9;
        sound[10..14].fill(0.9);
        // Above the lower threshold nothing ends.
        sound[14..20].fill(0.4);
        sound[20] = 0.9;
        assert_eq!(found(&sound, &FILTER), [(9, 22)]);
        assert_eq!(found(&[0.4; 30], &FILTER), []);
        assert_eq!(found(&[], &FILTER), []);
    }

    #[test]
    fn stretches_that_meet_become_one_and_a_short_end_is_kept() {
        let mut sound = [0.0; 30];
        sound[5..10].fill(0.9);
        sound[13..28].fill(0.9);
        let filter = VoiceFilter {
            padding: 0.2,
            ..FILTER
        };
        assert_eq!(found(&sound, &filter), [(3, 30)]);
    }

    #[test]
    fn short_silence_is_kept_at_both_ends() {
        let mut sound = [0.0; 30];
        sound[2..28].fill(0.9);
        assert_eq!(found(&sound, &FILTER), [(0, 30)]);
        sound[2..4].fill(0.0);
        sound[25..].fill(0.0);
        assert_eq!(found(&sound, &FILTER), [(3, 26)]);
    }

    #[test]
    fn pauses_are_long_enough() {
        let sound = [0.0, 0.9, 0.1, 0.1, 0.4, 0.9, 0.0, 0.0, 0.0];
        let pauses = pauses(&sound, 0.1, 0.15, &FILTER).into_iter();
        let pauses: Vec<i64> = pauses.map(|p| (p.start * 10.0).round() as i64).collect();
        assert_eq!(pauses, [2, 6]);
    }
}
