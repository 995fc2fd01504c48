//! Where a long sound is cut into pieces that fit a window.
//!
//! A cut should not go through a word, and a piece should fill its window, because every window costs
//! the same. So pieces are cut in the last third of a window, if there is a pause in it: the longest
//! one that is known, or else where it is quietest.

use std::ops::Range;

/// Length in seconds of the stretch whose level decides where to cut.
const QUIET: f64 = 0.2;

/// A place at which a sound may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// The sample at which to cut.
    pub at: usize,
    /// Samples for which nobody speaks around it.
    pub length: usize,
}

/// Cuts a sound into pieces of at most `window` samples: at the longest of these pauses, which come in
/// order, in the last third of a window; if there is none in it, at the last one before; and where
/// nobody knows of a pause, in the middle of the quietest fifth of a second in the last third.
pub(super) fn pieces(
    samples: &[f32],
    window: usize,
    rate: u32,
    pauses: &[Pause],
) -> Vec<Range<usize>> {
    let third = window.div_ceil(3);
    let quiet = ((QUIET * f64::from(rate)) as usize).clamp(1, (window / 3).max(1));
    let mut pieces = Vec::new();
    let mut start = 0;
    while samples.len() - start > window {
        let limit = start + window;
        let first = pauses.partition_point(|pause| pause.at <= start);
        let until = pauses.partition_point(|pause| pause.at <= limit);
        let within = &pauses[first..until];
        let late = within.partition_point(|pause| pause.at <= limit - third);
        let longest = within[late..].iter().max_by_key(|pause| pause.length);
        let end = match longest.or(within.last()) {
            Some(pause) => pause.at,
            None => limit - third + quietest(&samples[limit - third..limit], quiet).max(1),
        };
        pieces.push(start..end);
        start = end;
    }
    pieces.push(start..samples.len());
    pieces
}

/// The middle of the quietest `quiet` samples.
fn quietest(samples: &[f32], quiet: usize) -> usize {
    let step = (quiet / 4).max(1);
    let energy = |at: usize| -> f64 {
        let frame = samples[at..].iter().take(quiet);
        frame.map(|&x| f64::from(x).powi(2)).sum()
    };
    let places = (0..=samples.len().saturating_sub(quiet)).step_by(step);
    let quietest = places.min_by(|&a, &b| energy(a).total_cmp(&energy(b)));
    quietest.unwrap_or(0) + quiet / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_a_window_and_are_cut_where_it_is_quiet() {
        let mut samples = vec![0.5_f32; 1_000];
        samples[250..280].fill(0.0);
        samples[300..310].fill(0.0);
        let whole = Range { start: 0, end: 300 };
        assert_eq!(pieces(&samples[..300], 300, 100, &[]), [whole]);
        let cuts = pieces(&samples, 300, 100, &[]);
        assert!((260..=270).contains(&cuts[0].end), "{cuts:?}");
        assert_eq!(cuts[cuts.len() - 1].end, 1_000);
        for pair in cuts.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
        }
        assert!(cuts.iter().all(|piece| (1..=300).contains(&piece.len())));
        for (window, rate) in [(1, 5), (2, 45), (3, 0), (7, 15)] {
            let cuts = pieces(&samples, window, rate, &[]);
            assert!(cuts.iter().all(|piece| (1..=window).contains(&piece.len())));
        }
    }

    #[test]
    fn pieces_fill_their_windows_and_are_cut_at_the_longest_pause() {
        let samples = vec![0.5_f32; 1_000];
        let pause = |at, length| Pause { at, length };
        let pauses = [
            pause(50, 90),
            pause(210, 20),
            pause(250, 30),
            pause(290, 10),
            // From 250, the last third of a window begins at 450; there is none in it.
            pause(430, 10),
            // From 430, there is none at all.
            pause(900, 40),
        ];
        let cuts = pieces(&samples, 300, 100, &pauses);
        assert_eq!(cuts[0], 0..250);
        assert_eq!(cuts[1], 250..430);
        assert!((630..=730).contains(&cuts[2].end), "{cuts:?}");
        assert_eq!(cuts[3], cuts[2].end..900);
        assert_eq!(cuts[4], 900..1_000);
    }
}
