//! SentencePiece models: text to pieces and back.
//!
//! Many models are published with a vocabulary of the SentencePiece library, a file with pieces, their
//! scores and rules for normalizing text. The `sentencepiece-rs` crate reads it, normalizes as the
//! library does, and turns pieces into text. Its segmentation compares with every piece at every
//! character, which takes long with the 250,000 pieces of a multilingual vocabulary; here it is a
//! search ([`unigram`], [`bpe`]) that looks pieces up. Tests compare both.

mod bpe;
mod unigram;

use std::collections::HashMap;

use sentencepiece_rs::{ModelType, PieceType, SentencePieceProcessor};

/// The longest piece in bytes. The library's trainer makes pieces of at most 16 characters.
const LONGEST: usize = 1000;

/// A model.
#[derive(Debug, Clone)]
pub struct Pieces {
    library: SentencePieceProcessor,
    vocabulary: Vocabulary,
    is_bpe: bool,
    has_bytes: bool,
}

/// The pieces that text can be made of.
#[derive(Debug, Clone)]
struct Vocabulary {
    by_text: HashMap<String, Entry>,
    /// The lengths of pieces in bytes, ascending.
    lengths: Vec<usize>,
    /// Pieces that are kept whole wherever they occur, longest first.
    symbols: Vec<String>,
    /// The score of a character that no piece has.
    unknown: f32,
}

/// A piece.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    score: f32,
    is_symbol: bool,
    /// Whether the piece is only made on the way to larger ones.
    is_unused: bool,
}

/// A stretch of normalized text that is a piece, or that no piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    start: usize,
    end: usize,
    is_known: bool,
}

impl Vocabulary {
    fn get(&self, text: &str) -> Option<Entry> {
        self.by_text.get(text).copied()
    }

    /// The symbol that a text starts with.
    fn symbol(&self, text: &str) -> Option<usize> {
        let found = self.symbols.iter().find(|symbol| text.starts_with(*symbol));
        found.map(String::len)
    }
}

impl Pieces {
    /// Reads a model.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Pieces, String> {
        let library = SentencePieceProcessor::from_serialized_model(bytes);
        let library = library.map_err(|error| error.to_string())?;
        let model = library.model();
        let is_bpe = match model.model_type() {
            ModelType::Bpe => true,
            ModelType::Unigram => false,
            ModelType::Word | ModelType::Char => {
                return Err("a model of words or characters is not supported".to_owned());
            }
        };
        let mut vocabulary = Vocabulary {
            by_text: HashMap::new(),
            lengths: Vec::new(),
            symbols: Vec::new(),
            unknown: unigram::unknown_score(model.pieces()),
        };
        let mut has_bytes = false;
        for piece in model.pieces() {
            let (is_symbol, is_unused) = match piece.kind {
                PieceType::Normal => (false, false),
                PieceType::UserDefined => (true, false),
                PieceType::Unused => (false, true),
                PieceType::Byte => {
                    has_bytes = true;
                    continue;
                }
                PieceType::Unknown | PieceType::Control => continue,
            };
            if piece.piece.len() > LONGEST {
                return Err(format!("a piece has more than {LONGEST} bytes"));
            }
            vocabulary.lengths.push(piece.piece.len());
            if is_symbol {
                vocabulary.symbols.push(piece.piece.clone());
            }
            let entry = Entry {
                score: piece.score,
                is_symbol,
                is_unused,
            };
            vocabulary.by_text.insert(piece.piece.clone(), entry);
        }
        vocabulary.lengths.sort_unstable();
        vocabulary.lengths.dedup();
        let longest_first = |symbol: &String| std::cmp::Reverse(symbol.len());
        vocabulary.symbols.sort_by_key(longest_first);
        Ok(Pieces {
            library,
            vocabulary,
            is_bpe,
            has_bytes,
        })
    }

    /// The pieces by their numbers.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.library.model().pieces().iter().map(|p| &*p.piece)
    }

    /// The pieces of a text. A run of characters that no piece has is one piece, or as many bytes if
    /// the model has pieces for bytes.
    ///
    /// # Errors
    /// If the model's rules make something else than text of it.
    pub fn encode(&self, text: &str) -> Result<Vec<String>, sentencepiece_rs::Error> {
        let text = self.library.normalize(text)?;
        let stretches = match self.is_bpe {
            true => bpe::segment(&self.vocabulary, &text),
            false => unigram::segment(&self.vocabulary, &text),
        };
        let mut pieces: Vec<String> = Vec::with_capacity(stretches.len());
        let mut was_known = true;
        for stretch in stretches {
            let piece = &text[stretch.start..stretch.end];
            match pieces.last_mut() {
                _ if !stretch.is_known && self.has_bytes => {
                    pieces.extend(piece.bytes().map(|byte| format!("<0x{byte:02X}>")));
                }
                Some(last) if !stretch.is_known && !was_known => last.push_str(piece),
                _ => pieces.push(piece.to_owned()),
            }
            was_known = stretch.is_known;
        }
        Ok(pieces)
    }

    /// The text of pieces.
    ///
    /// # Errors
    /// If the model's rules make something else than text of it.
    pub fn decode(&self, pieces: &[&str]) -> Result<String, sentencepiece_rs::Error> {
        self.library.decode_pieces(pieces)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;

    /// A model file with these pieces: text, score, kind.
    fn file(pieces: &[(String, f32, u8)], model_type: u8, has_bytes: bool) -> Vec<u8> {
        let mut file = Vec::new();
        let message = |field: u8, content: &[u8]| {
            let mut bytes = vec![field << 3 | 2];
            let mut length = content.len();
            while length > 127 {
                bytes.push((length & 127) as u8 | 128);
                length >>= 7;
            }
            bytes.push(length as u8);
            bytes.extend_from_slice(content);
            bytes
        };
        for (text, score, kind) in pieces {
            let mut piece = message(1, text.as_bytes());
            piece.push(2 << 3 | 5);
            piece.extend(score.to_le_bytes());
            piece.extend([3 << 3, *kind]);
            file.extend(message(1, &piece));
        }
        // Field 35 is whether there are pieces for bytes.
        let trainer = [3 << 3, model_type, 0x98, 0x02, u8::from(has_bytes)];
        file.extend(message(2, &trainer));
        file
    }

    /// A text of up to `most` of these characters.
    fn text(random: &mut ChaCha8Rng, characters: &[char], most: u32) -> String {
        let length = random.next_u32() % (most + 1);
        let one = |_| characters[random.next_u32() as usize % characters.len()];
        (0..length).map(one).collect()
    }

    #[test]
    fn pieces_are_those_of_the_library() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let mut compared = 0;
        for round in 0..600 {
            let mut all = vec![("<unk>".to_owned(), 0.0, 2), ("</s>".to_owned(), 0.0, 3)];
            for _ in 0..random.next_u32() % 40 {
                let piece = text(&mut random, &['a', 'b', '▁', 'c', 'ß', '中'], 4);
                if piece.is_empty() || all.iter().any(|(other, ..)| *other == piece) {
                    continue;
                }
                // Whole numbers make equal sums, where the first one counts.
                let score = match round % 2 {
                    0 => (random.next_u32() % 7) as f32,
                    _ => (random.next_u32() % 9973) as f32 / 997.0,
                };
                let kind = if random.next_u32() % 9 == 0 { 4 } else { 1 };
                all.push((piece, -0.5 - score, kind));
            }
            let has_bytes = round % 3 == 0;
            if has_bytes {
                all.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
            }
            let model_type = if round % 5 < 2 { 1 } else { 2 };
            let ours = Pieces::from_bytes(&file(&all, model_type, has_bytes)).unwrap();
            for _ in 0..20 {
                let characters = ['a', 'b', ' ', 'c', 'ß', '中', 'd', '文', '\u{301}'];
                let text = text(&mut random, &characters, 25);
                let expected = ours.library.encode(&text).unwrap();
                assert_eq!(ours.encode(&text).unwrap(), expected, "{text:?} {all:?}");
                compared += expected.len();
            }
        }
        assert!(compared > 50_000, "{compared}");
    }

    #[test]
    fn a_piece_that_is_not_used_is_taken_apart_again() {
        let pieces = [
            ("<unk>", 0.0, 2),
            ("a", -5.0, 1),
            ("b", -5.0, 1),
            ("▁", -5.0, 1),
        ];
        let merged = [("ab", -1.0, 5), ("▁ab", -2.0, 5), ("aba", -3.0, 1)];
        let all = pieces.into_iter().chain(merged);
        let all: Vec<_> = all
            .map(|(text, score, kind)| (text.to_owned(), score, kind))
            .collect();
        let model = Pieces::from_bytes(&file(&all, 2, false)).unwrap();
        assert_eq!(model.encode("ab").unwrap(), ["▁", "a", "b"]);
        assert_eq!(
            model.encode("b aba").unwrap(),
            ["▁", "b", "▁", "a", "b", "a"]
        );
        assert_eq!(model.encode("baba").unwrap(), ["▁", "b", "aba"]);
    }

    #[test]
    fn a_file_that_is_no_model_is_refused() {
        assert!(Pieces::from_bytes(b"version https://git-lfs").is_err());
        assert!(Pieces::from_bytes(&[]).is_err());
    }
}
