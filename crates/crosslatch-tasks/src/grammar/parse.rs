//! From the text of a grammar to its rules.
//!
//! GBNF as llama.cpp reads it: `name ::= sequence | sequence`, where a sequence has literals (`"yes"`),
//! classes (`[a-z]`, `[^"]`), `.` for any letter, names of rules, groups in parentheses, and after each of
//! these `*`, `+`, `?`, `{2}`, `{2,}` or `{2,4}`. A rule ends with its line, except inside of a group, behind
//! `::=`, and before or behind `|`. `#` begins a comment. In literals and classes there are `\n`, `\r`, `\t`,
//! `\\`, `\"`, `\[`, `\]`, and letters by their numbers: `\x41`, `\u20ac`, `\U0001f600`.
//!
//! Repetitions become rules of their own that call themselves at their end.

use std::collections::HashMap;

use super::GrammarError;
use super::classes;

/// Most elements of all rules together, repetitions written out.
const MOST_ELEMENTS: usize = 1 << 16;
/// Most bytes of a grammar.
const MOST_BYTES: usize = 1 << 20;
/// Most groups inside each other.
const DEEPEST: usize = 64;

/// A part of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A byte between two, both included.
    Byte(u8, u8),
    /// What a rule says.
    Call(usize),
}

pub(super) type Sequence = Vec<Element>;

/// A rule: one of several sequences.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// Its name, or that of the rule that it is a part of.
    pub name: String,
    /// Where in the text it is defined, or first used.
    pub place: usize,
    /// `None` if it is used and not defined.
    pub sequences: Option<Vec<Sequence>>,
}

/// The rules of a grammar.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub rules: Vec<Definition>,
    /// The number of the rule `root`.
    pub root: usize,
}

/// What is wrong at a byte of the text.
#[derive(Debug)]
pub(super) struct Mistake {
    pub place: usize,
    pub cause: String,
}

impl Mistake {
    pub fn in_text(self, source: &str) -> GrammarError {
        let before = source.get(..self.place).unwrap_or(source);
        let line = before.rsplit('\n').next().unwrap_or_default();
        GrammarError {
            line: 1 + before.matches('\n').count(),
            column: 1 + line.chars().count(),
            cause: self.cause,
        }
    }
}

/// Reads the rules of a grammar.
pub(super) fn parse(source: &str) -> Result<Rules, Mistake> {
    if source.len() > MOST_BYTES {
        let cause = format!("the grammar is longer than {MOST_BYTES} bytes; shorten it");
        return Err(Mistake { place: 0, cause });
    }
    let mut parser = Parser {
        source,
        at: 0,
        rules: Rules::default(),
        names: HashMap::new(),
        classes: HashMap::new(),
        elements: 0,
        current: String::new(),
    };
    parser.skip(true);
    while parser.at < source.len() {
        parser.rule()?;
        parser.skip(true);
    }
    let Some(&root) = parser.names.get("root") else {
        let cause =
            "there is no rule `root`, with which a text begins; add `root ::= …`".to_owned();
        let place = source.len();
        return Err(Mistake { place, cause });
    };
    parser.rules.root = root;
    match parser
        .rules
        .rules
        .iter()
        .find(|rule| rule.sequences.is_none())
    {
        Some(rule) => Err(Mistake {
            place: rule.place,
            cause: format!(
                "there is no rule `{0}`; add `{0} ::= …`, or mend the name",
                rule.name
            ),
        }),
        None => Ok(parser.rules),
    }
}

struct Parser<'s> {
    source: &'s str,
    /// The byte that is read next.
    at: usize,
    rules: Rules,
    names: HashMap<String, usize>,
    /// Rules for classes of letters that need one.
    classes: HashMap<Vec<(u32, u32)>, usize>,
    elements: usize,
    /// Name of the rule that is being read.
    current: String,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let is_there = self.rest().starts_with(wanted);
        self.at += if is_there { wanted.len() } else { 0 };
        is_there
    }

    fn mistake<T>(&self, place: usize, cause: impl Into<String>) -> Result<T, Mistake> {
        let cause = cause.into();
        Err(Mistake { place, cause })
    }

    /// Goes over spaces and comments, and over ends of lines if these do not end the rule.
    fn skip(&mut self, lines: bool) {
        while let Some(letter) = self.next() {
            match letter {
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                ' ' | '\t' => self.at += 1,
                '\n' | '\r' if lines => self.at += 1,
                _ => break,
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let end = self.rest().find(|letter| !is_of_name(letter));
        let name = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn rule(&mut self) -> Result<(), Mistake> {
        let place = self.at;
        let Some(name) = self.name() else {
            return self.mistake(place, "a rule is expected here: `name ::= …`");
        };
        self.skip(false);
        if !self.takes("::=") {
            return self.mistake(self.at, format!("`::=` is expected behind `{name}`"));
        }
        self.skip(true);
        self.current.clone_from(&name);
        let rule = self.named(&name, place);
        if self.rules.rules[rule].sequences.is_some() {
            return self.mistake(
                place,
                format!("the rule `{name}` is there twice; rename one"),
            );
        }
        let sequences = self.sequences(0)?;
        self.rules.rules[rule].sequences = Some(sequences);
        self.rules.rules[rule].place = place;
        self.skip(false);
        match self.next() {
            None | Some('\n' | '\r') => Ok(()),
            Some(letter) => {
                let cause = format!("{letter:?} is not expected here; see the notation GBNF");
                self.mistake(self.at, cause)
            }
        }
    }

    fn named(&mut self, name: &str, place: usize) -> usize {
        if let Some(&rule) = self.names.get(name) {
            return rule;
        }
        let rule = self.rules.rules.len();
        self.names.insert(name.to_owned(), rule);
        self.rules.rules.push(Definition {
            name: name.to_owned(),
            place,
            sequences: None,
        });
        rule
    }

    /// A rule without a name.
    fn part(&mut self, place: usize, sequences: Vec<Sequence>) -> Result<usize, Mistake> {
        let size = sequences.iter().map(|sequence| sequence.len() + 1).sum();
        self.grow(size, place)?;
        self.rules.rules.push(Definition {
            name: self.current.clone(),
            place,
            sequences: Some(sequences),
        });
        Ok(self.rules.rules.len() - 1)
    }

    fn grow(&mut self, elements: usize, place: usize) -> Result<(), Mistake> {
        self.elements = self.elements.saturating_add(elements);
        match self.elements > MOST_ELEMENTS {
            true => self.mistake(
                place,
                format!(
                    "with its repetitions written out, the grammar has more than {MOST_ELEMENTS} \
                     elements; repeat less often, or without an upper bound (`*`, `{{2,}}`)"
                ),
            ),
            false => Ok(()),
        }
    }

    fn sequences(&mut self, depth: usize) -> Result<Vec<Sequence>, Mistake> {
        let mut all = vec![self.sequence(depth)?];
        loop {
            let before = self.at;
            self.skip(true);
            if !self.takes("|") {
                self.at = if depth > 0 { self.at } else { before };
                return Ok(all);
            }
            self.skip(true);
            all.push(self.sequence(depth)?);
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Sequence, Mistake> {
        let mut sequence = Vec::new();
        loop {
            let place = self.at;
            let Some(symbol) = self.symbol(depth)? else {
                return Ok(sequence);
            };
            let symbol = self.repeated(symbol, place)?;
            self.grow(symbol.len(), place)?;
            sequence.extend(symbol);
            self.skip(depth > 0);
        }
    }

    fn symbol(&mut self, depth: usize) -> Result<Option<Sequence>, Mistake> {
        let place = self.at;
        match self.next() {
            Some('"') => self.literal().map(Some),
            Some('[') => self.class().map(Some),
            Some('.') => {
                self.at += 1;
                self.letters(vec![(0, char::MAX as u32)], place).map(Some)
            }
            Some('(') => {
                if depth >= DEEPEST {
                    let cause = format!("more than {DEEPEST} groups inside each other; name some");
                    return self.mistake(place, cause);
                }
                self.at += 1;
                self.skip(true);
                let sequences = self.sequences(depth + 1)?;
                if !self.takes(")") {
                    let end = self.at;
                    return self.mistake(end, "`)` is expected here, which ends the group");
                }
                Ok(Some(vec![Element::Call(self.part(place, sequences)?)]))
            }
            _ => match self.name() {
                Some(name) => Ok(Some(vec![Element::Call(self.named(&name, place))])),
                None => Ok(None),
            },
        }
    }

    fn literal(&mut self) -> Result<Sequence, Mistake> {
        let place = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        while !self.takes("\"") {
            let letter = self.letter(place, "the literal has no end; add `\"`")?;
            let mut utf8 = [0; 4];
            let utf8 = letter.encode_utf8(&mut utf8).bytes();
            bytes.extend(utf8.map(|byte| Element::Byte(byte, byte)));
        }
        Ok(bytes)
    }

    fn class(&mut self) -> Result<Sequence, Mistake> {
        let place = self.at;
        self.at += 1;
        let endless = "the class has no end; add `]`";
        let is_negated = self.takes("^");
        let mut ranges = Vec::new();
        while !self.takes("]") {
            let begin = self.at;
            let first = self.letter(place, endless)? as u32;
            let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let last = match is_range {
                true => {
                    self.at += 1;
                    self.letter(place, endless)? as u32
                }
                false => first,
            };
            if last < first {
                return self.mistake(begin, "the range runs backwards; swap its ends");
            }
            ranges.push((first, last));
        }
        let ranges = match is_negated {
            true => classes::others(ranges),
            false => classes::merged(ranges),
        };
        if ranges.is_empty() {
            return self.mistake(place, "this class has no letter");
        }
        self.letters(ranges, place)
    }

    /// One of some letters, given as ranges in order.
    fn letters(&mut self, ranges: Vec<(u32, u32)>, place: usize) -> Result<Sequence, Mistake> {
        if let Some(&rule) = self.classes.get(&ranges) {
            return Ok(vec![Element::Call(rule)]);
        }
        let element = |(first, last)| Element::Byte(first, last);
        let bytes = classes::bytes(&ranges).into_iter();
        let sequences: Vec<Sequence> = bytes
            .map(|bytes| bytes.into_iter().map(element).collect())
            .collect();
        match sequences.as_slice() {
            // Letters between two halves of a pair are none.
            [] => self.mistake(place, "this class has no letter"),
            [only] if only.len() == 1 => Ok(only.clone()),
            _ => {
                let rule = self.part(place, sequences)?;
                self.classes.insert(ranges, rule);
                Ok(vec![Element::Call(rule)])
            }
        }
    }

    /// The next letter of a literal or class.
    fn letter(&mut self, start: usize, endless: &str) -> Result<char, Mistake> {
        let place = self.at;
        let Some(letter) = self.next() else {
            return self.mistake(start, endless);
        };
        self.at += letter.len_utf8();
        if letter == '\n' {
            return self.mistake(
                start,
                format!("{endless} before the line ends, or write `\\n`"),
            );
        }
        if letter != '\\' {
            return Ok(letter);
        }
        let Some(escaped) = self.next() else {
            return self.mistake(start, endless);
        };
        self.at += escaped.len_utf8();
        let digits = match escaped {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            '\\' | '"' | '[' | ']' | '-' | '^' => return Ok(escaped),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                let cause = format!(
                    "`\\{escaped}` is no escape; there is \\n, \\r, \\t, \\\\, \\\", \\[, \\], \\x41, \
                     \\u20ac and \\U0001f600"
                );
                return self.mistake(place, cause);
            }
        };
        let number = self.rest().get(..digits);
        let number = number.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match number.and_then(char::from_u32) {
            Some(letter) => {
                self.at += digits;
                Ok(letter)
            }
            None => {
                let cause = format!("`\\{escaped}` needs the {digits} digits of a letter's number");
                self.mistake(place, cause)
            }
        }
    }

    /// A symbol with the repetition behind it, if there is one.
    fn repeated(&mut self, symbol: Sequence, place: usize) -> Result<Sequence, Mistake> {
        let (least, most) = match self.next() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counted(symbol, place),
            _ => return Ok(symbol),
        };
        self.at += 1;
        self.times(&symbol, least, most, place)
    }

    fn counted(&mut self, symbol: Sequence, place: usize) -> Result<Sequence, Mistake> {
        let begin = self.at;
        self.at += 1;
        self.skip(false);
        let least = self.count(begin)?;
        self.skip(false);
        let most = match self.takes(",") {
            false => Some(least),
            true => {
                self.skip(false);
                match self.next() {
                    Some('}') => None,
                    _ => Some(self.count(begin)?),
                }
            }
        };
        self.skip(false);
        if !self.takes("}") || most.is_some_and(|most| most < least) {
            return self.mistake(begin, "a repetition is `{2}`, `{2,}` or `{2,4}`");
        }
        self.times(&symbol, least, most, place)
    }

    fn count(&mut self, begin: usize) -> Result<usize, Mistake> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest()[..digits].parse::<usize>();
        self.at += digits;
        match number {
            Ok(count) if count <= MOST_ELEMENTS => Ok(count),
            Ok(_) => self.grow(usize::MAX, begin).map(|()| 0),
            Err(_) => self.mistake(begin, "a repetition is `{2}`, `{2,}` or `{2,4}`"),
        }
    }

    /// A symbol `least` to `most` times.
    fn times(
        &mut self,
        symbol: &[Element],
        least: usize,
        most: Option<usize>,
        place: usize,
    ) -> Result<Sequence, Mistake> {
        self.grow(symbol.len().saturating_mul(least.max(1)), place)?;
        let mut sequence = symbol.repeat(least);
        match most {
            None => {
                let rule = self.rules.rules.len();
                let mut again = symbol.to_vec();
                again.push(Element::Call(rule));
                sequence.push(Element::Call(self.part(place, vec![again, Vec::new()])?));
            }
            Some(most) => {
                let mut more = None;
                for _ in least..most {
                    let mut one = symbol.to_vec();
                    one.extend(more.map(Element::Call));
                    more = Some(self.part(place, vec![one, Vec::new()])?);
                }
                sequence.extend(more.map(Element::Call));
            }
        }
        Ok(sequence)
    }
}
