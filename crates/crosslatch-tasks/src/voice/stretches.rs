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
fn silent_below(filter: &VoiceFilter) -> f32 {
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
    let low = silent_below(filter);
    let mut found: Vec<Range<f64>> = Vec::new();
    let mut add = |first: usize, last: usize| {
        let (start, stop) = (first as f64 * frame, (last as f64 * frame).min(end));
        if stop - start < filter.min_speech {
            return;
        }
        // Silence that is too short to count is kept at the beginning too.
        let padded = match found.is_empty() && start < filter.min_silence {
            true => 0.0,
            false => (start - filter.padding).max(0.0),
        };
        let (start, stop) = (padded, (stop + filter.padding).min(end));
        match found.last_mut().filter(|before| before.end >= start) {
            Some(before) => before.end = stop,
            None => found.push(start..stop),
        }
    };
    let mut first = None;
    let mut quiet_from = None;
    for (i, &probability) in probabilities.iter().enumerate() {
        let Some(begun) = first else {
            if probability >= filter.threshold {
                first = Some(i);
            }
            continue;
        };
        if probability >= filter.threshold {
            quiet_from = None;
        } else if probability < low || quiet_from.is_some() {
            let from = *quiet_from.get_or_insert(i);
            if (i + 1 - from) as f64 * frame >= filter.min_silence {
                add(begun, from);
                (first, quiet_from) = (None, None);
            }
        }
    }
    if let Some(begun) = first {
        // And at the end.
        add(begun, probabilities.len());
    }
    found
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
