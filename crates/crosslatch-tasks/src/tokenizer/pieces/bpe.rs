//! Segmentation by byte-pair encoding: neighbours are merged as long as they make a piece, the piece
//! with the best score first, the leftmost of equal ones.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::{Stretch, Vocabulary};

/// A part of the text, in a list of neighbours. One that was merged into its left neighbour is empty.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
    left: Option<usize>,
    right: Option<usize>,
    /// Whether it is never merged.
    is_symbol: bool,
}

/// Two neighbours that make a piece.
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the piece; if the parts have others by now, the merge is void.
    length: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Merge) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Merge) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Merge {}

impl PartialEq for Merge {
    fn eq(&self, other: &Merge) -> bool {
        self.cmp(other).is_eq()
    }
}

/// The stretches of a normalized text.
pub fn segment(vocabulary: &Vocabulary, text: &str) -> Vec<Stretch> {
    let mut parts = split(vocabulary, text);
    let mut merges = BinaryHeap::new();
    // Where pieces that are not used were put together.
    let mut joints: HashMap<&str, usize> = HashMap::new();
    let find = |parts: &[Part], left: Option<usize>, right: Option<usize>| -> Option<Merge> {
        let (left, right) = (left?, right?);
        let (a, b) = (parts[left], parts[right]);
        if a.is_symbol || b.is_symbol {
            return None;
        }
        Some(Merge {
            score: vocabulary.get(&text[a.start..b.end])?.score,
            left,
            right,
            length: b.end - a.start,
        })
    };
    for right in 1..parts.len() {
        merges.extend(find(&parts, Some(right - 1), Some(right)));
    }
    while let Some(merge) = merges.pop() {
        let (a, b) = (parts[merge.left], parts[merge.right]);
        let is_void = a.start == a.end || b.start == b.end || a.end != b.start;
        if is_void || b.end - a.start != merge.length {
            continue;
        }
        let piece = &text[a.start..b.end];
        if vocabulary.get(piece).is_some_and(|entry| entry.is_unused) {
            joints.insert(piece, a.end - a.start);
        }
        parts[merge.left].end = b.end;
        parts[merge.left].right = b.right;
        parts[merge.right].end = b.start;
        if let Some(next) = b.right {
            parts[next].left = Some(merge.left);
        }
        merges.extend(find(&parts, a.left, Some(merge.left)));
        merges.extend(find(&parts, Some(merge.left), b.right));
    }
    let whole = parts.iter().filter(|part| part.start < part.end);
    let mut stretches = Vec::new();
    for part in whole {
        take_apart(
            vocabulary,
            text,
            &joints,
            [part.start, part.end],
            &mut stretches,
        );
    }
    stretches
}

/// The characters of a text, and the symbols in it.
fn split(vocabulary: &Vocabulary, text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut start = 0;
    while let Some(character) = text[start..].chars().next() {
        let symbol = vocabulary.symbol(&text[start..]);
        let end = start + symbol.unwrap_or(character.len_utf8());
        let number = parts.len();
        if let Some(left) = parts.last_mut() {
            left.right = Some(number);
        }
        parts.push(Part {
            start,
            end,
            left: number.checked_sub(1),
            right: None,
            is_symbol: symbol.is_some(),
        });
        start = end;
    }
    parts
}

/// Adds a part, or what it was put together of if that is not used as a piece.
fn take_apart(
    vocabulary: &Vocabulary,
    text: &str,
    joints: &HashMap<&str, usize>,
    part: [usize; 2],
    stretches: &mut Vec<Stretch>,
) {
    let mut left = vec![part];
    while let Some([start, end]) = left.pop() {
        let piece = &text[start..end];
        let entry = vocabulary.get(piece);
        let joint = joints
            .get(piece)
            .filter(|_| entry.is_some_and(|e| e.is_unused));
        match joint {
            Some(&length) => left.extend([[start + length, end], [start, start + length]]),
            None => stretches.push(Stretch {
                start,
                end,
                is_known: entry.is_some(),
            }),
        }
    }
}
