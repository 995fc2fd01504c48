//! From a window's tokens to segments, and to the place where the next window begins.
//!
//! A window ends where its 30 s end, most often inside a sentence. Where the model writes
//! timestamps, what it wrote after the last closed segment is thrown away, and the next window
//! begins there. Two timestamps side by side close one segment and open the next; a single one at
//! the end says that nothing is spoken after it.
//!
//! The rules are those of `_retrieve_segment` in transformers (5.23).

use std::ops::Range;

/// Timestamps in a second.
const TIMESTAMPS_PER_SECOND: f64 = 50.0;
/// Frames of features between two timestamps.
const FRAMES_PER_TIMESTAMP: usize = 2;

/// One segment of a window.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// Seconds from the beginning of the window.
    pub start: f64,
    pub end: f64,
    /// Which of the window's tokens.
    pub tokens: Range<usize>,
    /// Whether a timestamp closes it.
    pub closed: bool,
}

/// Whether the window ends with a single timestamp, which says that nothing is spoken after it.
pub(super) fn ends_with_one(tokens: &[u32], time_zero: u32) -> bool {
    matches!(tokens, [.., before, last] if *last >= time_zero && *before < time_zero)
}

/// The segments of a window that has `frames` frames of sound, and the number of frames to go on
/// by.
pub(super) fn cut(tokens: &[u32], time_zero: u32, frames: usize) -> (Vec<Piece>, usize) {
    let is_time = |i: usize| tokens.get(i).is_some_and(|&token| token >= time_zero);
    let timestamp = |i: usize| {
        let timestamp = tokens
            .get(i)
            .map_or(0, |token| token.saturating_sub(time_zero));
        timestamp as usize
    };
    let seconds = |i: usize| timestamp(i) as f64 / TIMESTAMPS_PER_SECOND;
    let count = tokens.len();
    let ends_with_one = ends_with_one(tokens, time_zero);
    let mut ends: Vec<usize> = (1..count)
        .filter(|&i| is_time(i - 1) && is_time(i))
        .collect();
    let Some(last) = ends.last_mut() else {
        let closing = (0..count).rev().find(|&i| is_time(i));
        let end = match closing.map(timestamp) {
            // Time zero does not close anything.
            None | Some(0) => timestamps_within(frames),
            Some(timestamp) => timestamp,
        };
        let piece = Piece {
            start: 0.0,
            end: end as f64 / TIMESTAMPS_PER_SECOND,
            tokens: 0..count,
            closed: closing == count.checked_sub(1) && count > 1,
        };
        return (vec![piece], frames);
    };
    if ends_with_one {
        ends.push(count);
    } else {
        // The timestamp that opens what is thrown away stays with the last segment, as in
        // transformers.
        *last += 1;
    }
    let mut start = 0;
    let mut pieces = Vec::with_capacity(ends.len());
    for (i, &end) in ends.iter().enumerate() {
        let is_last = i + 1 == ends.len();
        let closing = if is_last && !ends_with_one { 2 } else { 1 };
        pieces.push(Piece {
            start: seconds(start),
            end: seconds(end - closing),
            tokens: start..end,
            closed: true,
        });
        start = end;
    }
    let advance = if ends_with_one {
        frames
    } else {
        timestamp(start - 2) * FRAMES_PER_TIMESTAMP
    };
    // The rule for timestamps does not allow zero. Without the rule, zero would mean an endless
    // loop.
    (pieces, if advance == 0 { frames } else { advance })
}

/// Timestamps within so many frames, as transformers computes it: in `f32`, rounded down.
fn timestamps_within(frames: usize) -> usize {
    ((frames as f32 * 0.01) / 0.02) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, end, tokens, and whether a timestamp closes it.
    type Parts = (f64, f64, Range<usize>, bool);

    /// Tokens from 100 on are timestamps.
    fn pieces(tokens: &[u32]) -> (Vec<Parts>, usize) {
        let (pieces, advance) = cut(tokens, 100, 300);
        let pieces = pieces.into_iter();
        let round = |x: f64| (x * 100.0).round() / 100.0;
        let pieces = pieces.map(|p| (round(p.start), round(p.end), p.tokens, p.closed));
        (pieces.collect(), advance)
    }

    #[test]
    fn pairs_close_segments_and_the_unfinished_rest_is_decoded_again() {
        let tokens = [100, 1, 2, 110, 110, 3, 125, 130, 4];
        let expected = vec![(0.0, 0.2, 0..4, true), (0.2, 0.5, 4..8, true)];
        assert_eq!(pieces(&tokens), (expected, 50));
    }

    #[test]
    fn a_single_timestamp_at_the_end_ends_the_window() {
        let tokens = [105, 1, 110, 112, 3, 125];
        let expected = vec![(0.1, 0.2, 0..3, true), (0.24, 0.5, 3..6, true)];
        assert_eq!(pieces(&tokens), (expected, 300));
    }

    #[test]
    fn without_a_pair_the_window_is_one_segment() {
        for (tokens, end, closed) in [
            (&[100, 1, 2, 120][..], 0.4, true),
            (&[105, 1, 2], 0.1, false),
            (&[100, 1, 2], 3.0, false),
            (&[1, 2], 3.0, false),
            (&[], 3.0, false),
        ] {
            let expected = vec![(0.0, end, 0..tokens.len(), closed)];
            assert_eq!(pieces(tokens), (expected, 300), "{tokens:?}");
        }
    }

    #[test]
    fn every_window_moves_on_whatever_its_tokens() {
        for tokens in [&[100, 100][..], &[100], &[120, 120], &[1, 100, 100, 2]] {
            let (pieces, advance) = cut(tokens, 100, 300);
            assert!(advance > 0 && !pieces.is_empty(), "{tokens:?}");
        }
    }
}
