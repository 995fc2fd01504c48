//! Grammars against texts, tokens against letters.

use super::machine::{DEAD, Machine};
use super::*;
use crate::rules::History;

/// Whether a text is a sentence, and whether it may go on, of a grammar.
fn read(grammar: &Grammar, text: &[u8]) -> (bool, bool) {
    let program = &grammar.0.program;
    let mut machine = Machine::new(program);
    let state = text.iter().fold(machine.start(), |state, &byte| {
        machine.step(program, state, byte)
    });
    let goes_on = (0..=u8::MAX).any(|byte| machine.step(program, state, byte) != DEAD);
    (state != DEAD && machine.may_end(state), goes_on)
}

fn is_sentence(source: &str, text: &str) -> bool {
    Grammar::parse(source).unwrap().accepts(text)
}

fn mistake(source: &str) -> String {
    Grammar::parse(source).unwrap_err().to_string()
}

#[test]
fn sentences_are_told_from_other_texts() {
    #[rustfmt::skip]
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r#"root ::= "yes" | "no""#, &["yes", "no", " yes"], &["", "y", "yesno", "  yes", "Yes"]),
        (r#"root ::= [a-c]+ [^a-c]?"#, &["a", "cab", "abc😀", "abc-"], &["", "d", "ab--"]),
        (r#"root ::= "a"{2,3} ("b" | "c"){2}"#, &["aabb", "aaacb"], &["abb", "aaaabb", "aab"]),
        (r#"root ::= "ab"{0,2} "."{1,}"#, &[".", "ab.", "abab..."], &["ababab.", "ab"]),
        (r#"root ::= "ab"* "a""#, &["a", "aba", "ababa"], &["ab", "abab"]),
        ("root ::= (\"a\" #x\n | \"b\"\n  \"c\")*\n# y\n", &["", "a", "bca"], &["b", "ac"]),
        ("root ::= sum\nsum ::=\n  term (\"+\" term)*\n  | \"-\"\nterm ::= [0-9]+ | \"(\" sum \")\"",
            &["1+(2+33)", "-", "((7))"], &["1+", "(1", "()"]),
        (r#"root ::= "\x41\u20ac\U0001f600\n\t\\\"\[\]" [\]\-] "#, &["A€😀\n\t\\\"[]-"], &["A€😀"]),
        (r#"root ::= . ."#, &["ab", "é😀", "\n\0"], &["a", "abc"]),
        (r#"root ::= ("a"? "b"?)* "c""#, &["c", "abbac"], &["ab"]),
        (r#"root ::= [^\n]{2}"#, &["ü€"], &["ü", "a\n"]),
        (r#"root ::= """#, &[""], &["a"]),
        // Ways that a longest lexeme would shut.
        (r#"root ::= "a" "b" | "ab" "c""#, &["ab", "abc"], &["a", "abcc"]),
        (r#"root ::= as | as "b"
            as ::= "a" as "b" as | "a" as | """#, &["", "aaa", "aab", "aabb", "b"], &["bb", "abbb"]),
    ];
    for (source, sentences, others) in cases {
        for text in *sentences {
            assert!(
                is_sentence(source, text),
                "{text:?} is a sentence of {source}"
            );
        }
        for text in *others {
            assert!(
                !is_sentence(source, text),
                "{text:?} is no sentence of {source}"
            );
        }
    }
}

#[test]
fn mistakes_are_told_with_their_places() {
    for (source, expected) in [
        ("", "line 1, column 1: there is no rule `root`"),
        ("a ::= \"x\"\n", "line 2, column 1: there is no rule `root`"),
        ("root ::= b\n", "line 1, column 10: there is no rule `b`"),
        (
            "root ::= \"é\" \"x\n",
            "line 1, column 14: the literal has no end",
        ),
        ("root ::= [a-", "the class has no end"),
        (
            "root ::= [z-a]",
            "line 1, column 11: the range runs backwards",
        ),
        ("root ::= []", "this class has no letter"),
        ("root ::= [^\\x00-\\U0010ffff]", "this class has no letter"),
        ("root ::= (\"a\"", "line 1, column 14: `)` is expected"),
        ("root ::= \"a\")", "line 1, column 13: ')' is not expected"),
        (
            "root ::= \"a\"\nroot ::= \"b\"",
            "line 2, column 1: the rule `root` is there twice",
        ),
        ("root = \"a\"", "line 1, column 6: `::=` is expected"),
        ("root ::= \"\\q\"", "`\\q` is no escape"),
        ("root ::= \"\\ud800\"", "needs the 4 digits"),
        ("root ::= \"a\"{3,2}", "a repetition is `{2}`"),
        ("root ::= \"a\"{x}", "a repetition is `{2}`"),
        ("root ::= \"a\"{99999999999999999999999}", "a repetition is"),
        ("root ::= \"a\"{90000000}", "more than 65536 elements"),
        ("root ::= \"abcdefghij\"{9999}", "more than 65536 elements"),
        (
            "root ::= root \"a\" | \"a\"",
            "line 1, column 1: the rule `root` calls itself before",
        ),
        (
            "root ::= a\na ::= \"x\"? b\nb ::= a \"y\" | \"z\"",
            "calls itself before",
        ),
        ("root ::= \"a\" root", "the rule `root` has no end"),
        (
            "root ::= \"a\"\nx ::= y\ny ::= x",
            "line 2, column 1: the rule `x` has no end",
        ),
        ("root ::= <[12]>", "'<' is not expected"),
        ("?", "line 1, column 1: a rule is expected"),
    ] {
        let text = mistake(source);
        assert!(text.contains(expected), "{source}: {text}");
    }
    let deep = format!("root ::= {}\"a\"{}", "(".repeat(5000), ")".repeat(5000));
    assert!(mistake(&deep).contains("more than 64 groups"));
    let long = format!("root ::= \"{}\"", "a".repeat(2 << 20));
    assert!(mistake(&long).contains("longer than"));
}

/// A generator of Lehmer's kind.
fn random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state * 48_271 % 2_147_483_647;
        (state / 7) as usize % below
    }
}

/// Whether a sequence of elements reads a text, by trying every way.
fn reads(rules: &parse::Rules, elements: &[parse::Element], text: &[u8], fuel: &mut usize) -> bool {
    let Some(left) = fuel.checked_sub(1) else {
        return false;
    };
    *fuel = left;
    match elements {
        [] => text.is_empty(),
        [parse::Element::Byte(first, last), rest @ ..] => match text {
            [byte, text @ ..] => (*first..=*last).contains(byte) && reads(rules, rest, text, fuel),
            [] => false,
        },
        [parse::Element::Call(rule), rest @ ..] => {
            let sequences = rules.rules[*rule].sequences.iter().flatten();
            sequences
                .clone()
                .any(|sequence| reads(rules, &[sequence.as_slice(), rest].concat(), text, fuel))
        }
    }
}

/// Random rules without empty repetitions inside of each other, of letters a and b.
fn random_grammar(next: &mut impl FnMut(usize) -> usize) -> String {
    let mut source = String::new();
    for (i, name) in ["root", "x", "y"].into_iter().enumerate() {
        source += &format!("{name} ::= ");
        for alternative in 0..1 + next(3) {
            source += if alternative > 0 { " | " } else { "" };
            for _ in 0..1 + next(3) {
                let symbols = ["\"a\"", "\"b\"", "[ab]", "\"ab\"", "x", "y", "root"];
                // A rule calls those behind it, or any behind a letter.
                source += match next(6) {
                    0 if i < 2 => ["x", "y"][i],
                    1 => ["\"a\" root", "\"b\" x", "\"a\" y"][next(3)],
                    2 => ["(\"a\" | \"b\" \"a\")", "(\"ab\"? \"b\")"][next(2)],
                    _ => symbols[next(4)],
                };
                source += ["", "", "", "?", "*", "+", "{2}", "{1,2}"][next(8)];
                source += " ";
            }
        }
        source += " | \"a\"\n";
    }
    source
}

#[test]
fn the_machine_reads_what_trying_every_way_reads() {
    let mut next = random(5);
    let (mut tried, mut sentences) = (0, 0);
    for _ in 0..400 {
        let source = random_grammar(&mut next);
        let Ok(grammar) = Grammar::parse(&source) else {
            continue;
        };
        let rules = parse::parse(&source).unwrap();
        for _ in 0..40 {
            let text: Vec<u8> = (0..next(7)).map(|_| b"ab"[next(2)]).collect();
            let mut fuel = 4_000;
            let expected = reads(
                &rules,
                &[parse::Element::Call(rules.root)],
                &text,
                &mut fuel,
            );
            if fuel == 0 && !expected {
                continue;
            }
            let (is_sentence, _) = read(&grammar, &text);
            assert_eq!(
                is_sentence,
                expected,
                "{:?} of\n{source}",
                String::from_utf8_lossy(&text)
            );
            tried += 1;
            sentences += usize::from(expected);
        }
    }
    assert!(tried > 4000 && sentences > 500, "{tried}, {sentences}");
}

/// A vocabulary of all short texts of some letters, whose bytes may be cut, with an end.
fn vocabulary() -> (Arc<Vec<Option<Vec<u8>>>>, u32) {
    let mut texts: Vec<Option<Vec<u8>>> = vec![None];
    let euro = "€".as_bytes();
    let pieces: [&[u8]; 7] = [b"a", b"b", b" ", b"1", &euro[..1], &euro[1..], euro];
    for first in pieces {
        texts.push(Some(first.to_vec()));
        texts.extend(pieces.map(|second| Some([first, second].concat())));
    }
    texts.push(Some(Vec::new()));
    (Arc::new(texts), 0)
}

#[test]
fn tokens_are_allowed_if_their_bytes_are() {
    let (texts, end) = vocabulary();
    let mut next = random(9);
    let sources = [
        r#"root ::= [a-b€]+ ("1" [ab]{2})?"#,
        r#"root ::= "a" root "b" | "1" | "€""#,
        r#"root ::= (" " | "ab") root | "b""#,
    ];
    for source in sources {
        let grammar = Grammar::parse(source).unwrap();
        let program = &grammar.0.program;
        let masks = Arc::new(Masks::new(
            Arc::clone(program),
            Vocabulary::new(Arc::clone(&texts)),
        ));
        let rule = Constraint::new(masks, &[end], None);
        for _ in 0..60 {
            let mut chosen = vec![7_u32];
            let mut bytes = Vec::new();
            for _ in 0..6 {
                let mut scores = vec![0.0; texts.len() + 3];
                let history = History {
                    tokens: &chosen,
                    prompt: 1,
                };
                rule.apply(history, &mut scores);
                let (may_end, _) = read(&grammar, &bytes);
                assert_eq!(
                    scores[0] == 0.0,
                    may_end,
                    "the end after {bytes:?} in {source}"
                );
                let mut allowed = Vec::new();
                for (token, text) in texts.iter().enumerate().skip(1) {
                    let text = text.as_deref().unwrap_or_default();
                    let longer = [&bytes, text].concat();
                    let (ends, goes_on) = read(&grammar, &longer);
                    let is_allowed = !text.is_empty() && (ends || goes_on);
                    assert_eq!(scores[token] == 0.0, is_allowed, "{longer:?} in {source}");
                    if is_allowed {
                        allowed.push(token as u32);
                    }
                }
                assert!(
                    scores[texts.len()..]
                        .iter()
                        .all(|&x| x == f32::NEG_INFINITY)
                );
                if allowed.is_empty() {
                    break;
                }
                let token = allowed[next(allowed.len())];
                chosen.push(token);
                bytes.extend(texts[token as usize].iter().flatten());
            }
        }
    }
}

#[test]
fn ambiguous_grammars_cost_little() {
    let source = "root ::= r+\nr ::= \"a\" r \"b\" r | \"a\" r | (\"a\"? \"a\"?)* | [ab]*";
    let grammar = Grammar::parse(source).unwrap();
    let text: Vec<u8> = b"aab".iter().copied().cycle().take(3000).collect();
    // Were all readings followed one by one, this would never end.
    assert!(read(&grammar, &text).0);
}
