//! Classes of letters, as ranges of their numbers, and the bytes of these letters.

use regex_syntax::utf8::Utf8Sequences;

const LAST: u32 = char::MAX as u32;
/// The halves of pairs, which are no letters.
const HALVES: (u32, u32) = (0xd800, 0xdfff);

/// The same letters in ranges that are in order and apart.
pub(super) fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// All other letters.
pub(super) fn others(ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut others = Vec::new();
    let mut next = 0;
    for (first, last) in merged(ranges) {
        if first > next {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST {
        others.push((next, LAST));
    }
    others
}

/// The bytes of the letters: sequences of ranges of bytes.
pub(super) fn bytes(ranges: &[(u32, u32)]) -> Vec<Vec<(u8, u8)>> {
    let parts = ranges.iter().flat_map(|&(first, last)| {
        [
            (first, last.min(HALVES.0 - 1)),
            (first.max(HALVES.1 + 1), last),
        ]
    });
    let letters = parts.filter(|(first, last)| first <= last);
    let letters = letters.filter_map(|(first, last)| {
        Some(Utf8Sequences::new(
            char::from_u32(first)?,
            char::from_u32(last)?,
        ))
    });
    let sequence = |ranges: regex_syntax::utf8::Utf8Sequence| {
        let ranges = ranges.as_slice().iter();
        ranges.map(|range| (range.start, range.end)).collect()
    };
    letters.flatten().map(sequence).collect()
}
