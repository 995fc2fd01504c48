//! Which part of a text that is heard again and again will not change.
//!
//! Sound that is still coming is decoded again and again, each time with more of it, and what the model
//! writes for its last second changes as it hears more. What two decodings in a row agree on, from the
//! beginning, is certain (LocalAgreement-2: Liu, Spanakis and Niehues, 2020; whisper_streaming). With a
//! decoding for each second, the second of two may come two seconds after a word; so a word is certain
//! after one if that heard it *firmly*: enough of the sound followed it for how probable it was. Each word
//! may be certain for the one reason or the other. What is certain is never taken back. If a later decoding has
//! it otherwise, it is laid beside what is certain so that they differ least, and only what follows counts.
//!
//! The unit is a word or a mark, as Unicode's rules of segmentation have them, so a letter is never cut,
//! and languages without spaces agree letter by letter. Words have to agree, whether they begin a sentence
//! or not; marks are those of the later decoding, which knows more. A mark is not certain before a word
//! behind it is: where a text seems to end, it has a full stop.

use unicode_segmentation::UnicodeSegmentation;

use crate::speech::join;

/// What two words that differ cost; so much costs a word that has no counterpart.
const WORD: u32 = 4;
/// The same for marks.
const MARK: u32 = 1;

/// A word or a mark.
#[derive(Debug, Clone, PartialEq)]
struct Atom {
    text: String,
    joint: Joint,
    /// Whether it was heard firmly.
    is_firm: bool,
}

/// What was heard of a sound.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The text, without space around it.
    pub text: String,
    /// Where each of its words ends, in bytes, and whether it was heard firmly; nothing if that is not
    /// known.
    pub words: Vec<(usize, bool)>,
}

impl Heard {
    /// Whether the word was heard firmly that has the byte before this one.
    fn is_firm(&self, end: usize) -> bool {
        let after = self.words.partition_point(|&(word, _)| word < end);
        self.words.get(after).is_some_and(|&(_, is_firm)| is_firm)
    }
}

impl From<&str> for Heard {
    /// A text of which nothing more is known.
    fn from(text: &str) -> Heard {
        Heard {
            text: text.trim().to_owned(),
            words: Vec::new(),
        }
    }
}

/// How an atom follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Joint {
    /// It is the first of a window's text, and joined as its script wants.
    First,
    /// After a space.
    Spaced,
    /// At once.
    Glued,
}

impl Atom {
    fn is_word(&self) -> bool {
        self.text.chars().any(char::is_alphanumeric)
    }

    fn cost(&self) -> u32 {
        if self.is_word() { WORD } else { MARK }
    }

    /// What it costs if `other` stands in its place.
    fn cost_of(&self, other: &Atom) -> u32 {
        match (
            self.text.to_lowercase() == other.text.to_lowercase(),
            self.is_word(),
        ) {
            (true, _) => 0,
            (false, is_word) if is_word == other.is_word() => self.cost(),
            (false, _) => self.cost() + other.cost(),
        }
    }
}

/// The words and marks of a window's text.
fn atoms(heard: &Heard) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    let mut is_spaced = false;
    for (at, part) in heard.text.split_word_bound_indices() {
        if part.trim().is_empty() {
            is_spaced = true;
            continue;
        }
        let joint = match (atoms.is_empty(), is_spaced) {
            (true, _) => Joint::First,
            (false, true) => Joint::Spaced,
            (false, false) => Joint::Glued,
        };
        atoms.push(Atom {
            text: part.to_owned(),
            joint,
            is_firm: heard.is_firm(at + part.len()),
        });
        is_spaced = false;
    }
    atoms
}

/// Where two texts that begin alike meet: the first so many atoms of one and of the other say the same,
/// and all of one of them.
fn meet(one: &[Atom], other: &[Atom]) -> (usize, usize) {
    // Costs of laying the beginnings of both beside each other, row by row.
    let mut above: Vec<u32> = Vec::new();
    let mut row: Vec<u32> = vec![0];
    row.extend(other.iter().scan(0, |sum, atom| {
        *sum += atom.cost();
        Some(*sum)
    }));
    let ended = |i: usize, row: &[u32]| (row[other.len()], i, other.len());
    let mut ends = vec![ended(0, &row)];
    for (i, atom) in one.iter().enumerate() {
        std::mem::swap(&mut above, &mut row);
        row.clear();
        row.push(above[0] + atom.cost());
        for (j, beside) in other.iter().enumerate() {
            let both = above[j] + atom.cost_of(beside);
            let cost = both
                .min(above[j + 1] + atom.cost())
                .min(row[j] + beside.cost());
            row.push(cost);
        }
        ends.push(ended(i + 1, &row));
    }
    let last = row
        .iter()
        .enumerate()
        .map(|(j, &cost)| (cost, one.len(), j));
    // Of those that cost the same, the one that takes about as much of both.
    let best = ends
        .into_iter()
        .chain(last)
        .min_by_key(|&(cost, i, j)| (cost, i.abs_diff(j), usize::MAX - i - j));
    best.map_or((0, 0), |(_, i, j)| (i, j))
}

/// How many atoms there are up to the last word.
fn through_last_word(atoms: &[Atom]) -> usize {
    let last = atoms.iter().rposition(Atom::is_word);
    last.map_or(0, |last| last + 1)
}

/// How many atoms of `new` there are up to the last word in a row that was heard firmly, or that `old` has
/// as well in its place.
fn sure(old: &[Atom], new: &[Atom]) -> usize {
    let mut old = old.iter().filter(|atom| atom.is_word());
    let is_sure = |atom: &&Atom| {
        let before = atom.is_word().then(|| old.next()).flatten();
        let is_same = before.is_some_and(|before| before.cost_of(atom) == 0);
        !atom.is_word() || atom.is_firm || is_same
    };
    let count = new.iter().take_while(is_sure).count();
    through_last_word(&new[..count])
}

/// What is certain of a text, and what was heard last of the rest.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// The last letter that is certain.
    last: Option<char>,
    /// What is certain of the text that is not settled.
    certain: Vec<Atom>,
    /// What was heard behind it.
    rest: Vec<Atom>,
}

impl Agreement {
    /// Takes what was heard of all the sound whose text is not settled, and returns what has become
    /// certain by it. `is_over` says that nobody speaks any more, so that nothing will change.
    pub fn hear(&mut self, heard: &Heard, is_over: bool) -> String {
        let mut heard = atoms(heard);
        let (_, known) = meet(&self.certain, &heard);
        let rest = heard.split_off(known);
        let agreed = match is_over {
            true => through_last_word(&rest),
            false => sure(&self.rest, &rest),
        };
        self.rest = rest;
        self.commit(agreed)
    }

    /// Takes the end of what was said: what was heard last is certain.
    pub fn pause(&mut self) -> String {
        self.commit(through_last_word(&self.rest))
    }

    /// Takes the final text of the beginning of the sound, or of all of it, and returns what has become
    /// certain by it.
    pub fn settle(&mut self, text: &str, is_all: bool) -> String {
        let text = atoms(&text.into());
        let (certain, known) = meet(&self.certain, &text);
        let new = &text[known..];
        let (_, heard) = meet(new, &self.rest);
        self.rest.drain(..heard);
        self.rest.splice(0..0, new.iter().cloned());
        let delta = self.commit(new.len());
        if is_all {
            self.certain.clear();
            self.rest.clear();
        } else {
            // What was just committed is settled, too.
            let settled = certain + new.len();
            self.certain.drain(..settled);
        }
        delta
    }

    /// What is certain and not settled, without space before it.
    pub fn open(&self) -> String {
        written(&self.certain, &mut None).trim_start().to_owned()
    }

    /// What was heard and may change, as it follows what is certain.
    pub fn tentative(&self) -> String {
        let mut last = self.last;
        written(&self.rest, &mut last)
    }

    /// Whether words were heard that may change.
    pub fn is_open(&self) -> bool {
        self.rest.iter().any(Atom::is_word)
    }

    fn commit(&mut self, count: usize) -> String {
        let new = self.rest.drain(..count);
        let before = self.certain.len();
        self.certain.extend(new);
        written(&self.certain[before..], &mut self.last)
    }
}

/// Atoms as text that follows a letter, which becomes that of its end.
fn written(atoms: &[Atom], last: &mut Option<char>) -> String {
    let mut text = String::from_iter(*last);
    let before = text.len();
    for atom in atoms {
        match atom.joint {
            Joint::First => join::append(&mut text, &atom.text),
            Joint::Spaced => {
                text.push(' ');
                text.push_str(&atom.text);
            }
            Joint::Glued => text.push_str(&atom.text),
        }
    }
    *last = text.chars().next_back();
    text.split_off(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_decodings_agree_on_is_certain() {
        let mut text = Agreement::default();
        assert_eq!(text.hear(&"And so my fell".into(), false), "");
        assert_eq!(text.tentative(), "And so my fell");
        assert_eq!(
            text.hear(&"And so my fellow Americans.".into(), false),
            "And so my"
        );
        assert_eq!(text.tentative(), " fellow Americans.");
        assert_eq!(
            text.hear(&"And so my fellow Americans.".into(), false),
            " fellow Americans"
        );
        assert_eq!(text.tentative(), ".");
        assert!(!text.is_open());
        assert_eq!(
            text.hear(&"And so my fellow Americans, ask".into(), false),
            ""
        );
        assert_eq!(
            text.hear(&"And so, my fellow Americans, ask not what".into(), false),
            ", ask"
        );
        assert_eq!(
            text.settle("And so my fellow Americans, ask not!", true),
            " not!"
        );
        assert_eq!(text.tentative(), "");
    }

    #[test]
    fn what_is_certain_stays_when_a_later_decoding_has_it_otherwise() {
        let mut text = Agreement::default();
        text.hear(&"the block books, which".into(), false);
        assert_eq!(
            text.hear(&"the block books, which were".into(), false),
            "the block books, which"
        );
        assert_eq!(
            text.hear(&"The blog books which were the immediate".into(), false),
            " were"
        );
        assert_eq!(text.hear(&"of".into(), false), "");
        assert_eq!(text.tentative(), "");
        text.hear(
            &"produced the block books which were the immediate predecessors".into(),
            false,
        );
        assert_eq!(
            text.hear(
                &"produced the block books, which were the immediate predecessors of".into(),
                false
            ),
            " the immediate predecessors"
        );
    }

    #[test]
    fn a_pause_makes_words_certain_and_leaves_the_mark() {
        let mut text = Agreement::default();
        assert_eq!(
            text.hear(&"Never surpassed.".into(), true),
            "Never surpassed"
        );
        assert_eq!(text.tentative(), ".");
        assert_eq!(text.hear(&"Never surpassed. Yes".into(), false), "");
        assert_eq!(text.pause(), ". Yes");
        assert_eq!(text.pause(), "");
        assert_eq!(text.hear(&"".into(), true), "");
    }

    #[test]
    fn marks_and_capitals_are_those_of_the_later_decoding() {
        let mut text = Agreement::default();
        text.hear(&"Printing in the only sense. Which we".into(), false);
        let later = text.hear(&"Printing, in the only sense with which we".into(), false);
        assert_eq!(later, "Printing, in the only sense");
        let last = text.hear(&"Printing, in the only sense. With which all".into(), false);
        assert_eq!(last, ". With which");
    }

    #[test]
    fn the_text_of_a_window_may_end_before_what_is_certain() {
        let mut text = Agreement::default();
        text.hear(&"One two three. Four five six seven".into(), false);
        assert_eq!(
            text.hear(&"One two three. Four five six seven".into(), false)
                .len(),
            34
        );
        text.hear(&"One two three. Four five six seven eight".into(), false);
        // The window's last segment is not closed, and decoded again with what follows.
        assert_eq!(text.open(), "One two three. Four five six seven");
        assert_eq!(text.settle("One, two, three.", false), "");
        assert_eq!(text.open(), "Four five six seven");
        assert_eq!(text.tentative(), " eight");
        assert_eq!(
            text.hear(&"four five six seven eight nine".into(), false),
            " eight"
        );
        assert_eq!(
            text.settle("Four five six seven eight nine ten.", false),
            " nine ten."
        );
        assert_eq!(text.hear(&"Eleven".into(), true), " Eleven");
        assert_eq!(text.settle("Eleven.", true), ".");
    }

    #[test]
    fn letters_are_whole_and_scripts_without_spaces_stay_so() {
        let mut text = Agreement::default();
        text.hear(&"今日はいい天".into(), false);
        assert_eq!(text.hear(&"今日はいい天気".into(), false), "今日はいい天");
        assert_eq!(text.settle("今日はいい天気です。", false), "気です。");
        text.hear(&"明日".into(), false);
        assert_eq!(text.hear(&"明日も".into(), false), "明日");
        let mut text = Agreement::default();
        text.hear(&"ที่นี่".into(), false);
        assert_eq!(text.hear(&"ที่นี่ดี".into(), true), "ที่นี่ดี");
    }

    #[test]
    fn a_word_that_was_heard_firmly_is_certain_at_once_up_to_one_that_was_not() {
        let mut text = Agreement::default();
        let heard = |text: &str, ends: &[(usize, bool)]| Heard {
            text: text.to_owned(),
            words: ends.to_vec(),
        };
        let first = heard(
            "Ask not, what your",
            &[(3, true), (8, true), (13, false), (18, true)],
        );
        assert_eq!(text.hear(&first, false), "Ask not");
        assert_eq!(text.tentative(), ", what your");
        // What two decodings agree on is certain, however it was heard.
        let second = heard("Ask not, what your country", &[(26, false)]);
        assert_eq!(text.hear(&second, false), ", what your");
        let third = heard("Ask not, what your country can", &[(26, true), (30, false)]);
        assert_eq!(text.hear(&third, false), " country");
        assert_eq!(text.tentative(), " can");
        // So are words of which each is one or the other.
        let ends = [(31, true), (34, false), (38, true), (42, false)];
        let fourth = heard("Ask not, what your country cant do for you", &ends);
        assert_eq!(text.hear(&fourth, false), " cant");
        let ends = [(34, false), (38, true), (42, false)];
        let fifth = heard("Ask not, what your country cant do for us", &ends);
        assert_eq!(text.hear(&fifth, false), " do for");
    }

    #[test]
    fn all_deltas_together_are_the_final_text_if_it_has_what_was_certain() {
        let all = "Well, a b c d; e f. And g? \"H i,\" j k l!";
        let words: Vec<&str> = all.split(' ').collect();
        for step in 1..4 {
            let mut text = Agreement::default();
            let mut whole = String::new();
            for count in (0..words.len()).step_by(step) {
                whole += &text.hear(&words[..count].join(" ").as_str().into(), count % 5 == 0);
            }
            whole += &text.settle(all, true);
            assert_eq!(whole, all);
        }
    }
}
