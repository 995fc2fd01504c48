//! Segmentation by a unigram model: the pieces whose scores have the largest sum.
//!
//! Scores are log-probabilities. A character that no piece has is worth less than any piece. Sums are
//! in single precision and the first of two equal ones is taken, as in the SentencePiece library.

use sentencepiece_rs::{Piece, PieceType};

use super::{Stretch, Vocabulary};

/// How much less than the least piece an unknown character is worth.
const PENALTY: f32 = 10.0;

/// The score of a character that no piece has.
pub fn unknown_score(pieces: &[Piece]) -> f32 {
    let scores = pieces.iter().filter(|p| p.kind == PieceType::Normal);
    scores.map(|p| p.score).reduce(f32::min).unwrap_or(0.0) - PENALTY
}

/// The best way to a place in the text.
#[derive(Clone, Copy)]
struct Best {
    score: f32,
    start: usize,
    is_known: bool,
}

/// The stretches of a normalized text.
pub fn segment(vocabulary: &Vocabulary, text: &str) -> Vec<Stretch> {
    let mut best: Vec<Option<Best>> = vec![None; text.len() + 1];
    for (start, character) in text.char_indices() {
        let so_far = match start {
            0 => 0.0,
            _ => match best[start] {
                Some(best) => best.score,
                None => continue,
            },
        };
        let mut reach = |end: usize, score: f32, is_known: bool| {
            let score = so_far + score;
            if best[end].is_none_or(|best| score > best.score) {
                best[end] = Some(Best {
                    score,
                    start,
                    is_known,
                });
            }
        };
        let mut has_character = false;
        for &length in &vocabulary.lengths {
            let Some(piece) = text.get(start..start + length) else {
                continue;
            };
            let Some(entry) = vocabulary.get(piece).filter(|entry| !entry.is_unused) else {
                continue;
            };
            let score = match entry.is_symbol {
                true => 0.1 * (length - 1) as f32,
                false => entry.score,
            };
            reach(start + length, score, true);
            has_character |= length == character.len_utf8();
        }
        if !has_character {
            reach(start + character.len_utf8(), vocabulary.unknown, false);
        }
    }
    let mut stretches = Vec::new();
    let mut end = text.len();
    while let Some(best) = best[end].filter(|_| end > 0) {
        stretches.push(Stretch {
            start: best.start,
            end,
            is_known: best.is_known,
        });
        end = best.start;
    }
    stretches.reverse();
    stretches
}
