//! Mutations of programs in the text form of the IR: of words, of lines, and new calls of operators.
//!
//! A new call follows its operator's schema and uses values of the program, so that any sequence of
//! operators can arise; the engine has to refuse those that do not fit.

use crosslatch::ir::operator::Operator;
use crosslatch::ir::schema::{ArgType, Param};
use crosslatch::ops::Catalogue;

use super::{Chance, bytes, float, integer, one_of};

const TYPES: &[&str] = &[
    "f32", "f32", "f32", "i64", "i64", "bool", "f64", "f16", "bf16", "i32", "i16", "i8", "u8",
];

/// Changes a program in one to three places.
pub fn mutate(chance: &mut Chance, input: &[u8], other: &[u8]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(input.to_vec()) else {
        return bytes::mutate(chance, input, other);
    };
    if chance.u8(0..16) == 0 {
        return bytes::mutate(chance, input, other);
    }
    for _ in 0..chance.usize(1..=3) {
        text = match chance.u8(0..8) {
            0..4 => change_word(chance, &text),
            4 | 5 => with_call(chance, &text),
            _ => change_line(chance, &text, &String::from_utf8_lossy(other)),
        };
    }
    text.into_bytes()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "_.%-+:".contains(c)
}

/// The range of every word.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (i, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_of_word(c), start) {
            (true, None) => start = Some(i),
            (false, Some(from)) => {
                words.push((from, i));
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn values(text: &str) -> Vec<String> {
    let words = words(text).into_iter().map(|(from, to)| &text[from..to]);
    let named = words.filter_map(|w| Some(w.strip_prefix('%')?.trim_end_matches(':')));
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn change_word(chance: &mut Chance, text: &str) -> String {
    let words = words(text);
    // Numbers matter most, so they are preferred.
    let is_number = |(from, to): &&(usize, usize)| text[*from..*to].parse::<f64>().is_ok();
    let numbers: Vec<_> = words.iter().filter(is_number).copied().collect();
    let among = match chance.bool() && !numbers.is_empty() {
        true => &numbers,
        false => &words,
    };
    let Some(&(from, to)) = one_of(chance, among) else {
        return text.to_owned();
    };
    let word = &text[from..to];
    let new = if word.starts_with('%') {
        let names = values(text);
        let name = one_of(chance, &names).cloned().unwrap_or_default();
        let colon = if word.ends_with(':') { ":" } else { "" };
        format!("%{name}{colon}")
    } else if word.parse::<i64>().is_ok() {
        integer(chance).to_string()
    } else if word.parse::<f64>().is_ok() {
        float(chance).to_owned()
    } else if word == "true" || word == "false" {
        chance.bool().to_string()
    } else if TYPES.contains(&word) {
        TYPES[chance.usize(0..TYPES.len())].to_owned()
    } else if word.contains("::") {
        let names = Catalogue::builtin().names();
        names[chance.usize(0..names.len())].to_owned()
    } else {
        match chance.u8(0..4) {
            0 => String::new(),
            1 => integer(chance).to_string(),
            2 => "none".to_owned(),
            _ => word.chars().chain(['x']).collect(),
        }
    };
    format!("{}{new}{}", &text[..from], &text[to..])
}

fn change_line(chance: &mut Chance, text: &str, other: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let others: Vec<&str> = other.lines().collect();
    if lines.is_empty() {
        return other.to_owned();
    }
    let at = chance.usize(0..lines.len());
    match chance.u8(0..4) {
        0 => {
            lines.remove(at);
        }
        1 => {
            let with = chance.usize(0..lines.len());
            lines.swap(at, with);
        }
        2 => lines.insert(at, lines[chance.usize(0..lines.len())]),
        _ => {
            if let Some(line) = one_of(chance, &others) {
                lines.insert(at, line);
            }
        }
    }
    lines.join("\n")
}

/// The program with one more call, whose result it returns.
fn with_call(chance: &mut Chance, text: &str) -> String {
    let Some(at) = text.rfind("\nreturn ") else {
        return text.to_owned();
    };
    let names = Catalogue::builtin().names();
    let Some(op) = Catalogue::builtin().get(names[chance.usize(0..names.len())]) else {
        return text.to_owned();
    };
    let (call, result) = call(chance, op, &values(text));
    let (before, after) = (&text[..at], text[at..].trim_end());
    match result {
        Some(result) => format!("{before}\n{call}{after}, \"{result}\"=%{result}\n"),
        None => format!("{before}\n{call}{after}\n"),
    }
}

/// A call of an operator on some of these values, and its first result.
pub fn call(chance: &mut Chance, op: &Operator, values: &[String]) -> (String, Option<String>) {
    let schema = &op.schema;
    let given = schema.params.iter().filter_map(|param| {
        let is_wanted = (param.default.is_none() && !param.optional) || chance.u8(0..3) == 0;
        is_wanted.then(|| format!("{}={}", param.name, argument(chance, param, values)))
    });
    let given: Vec<String> = given.collect();
    let listed = schema.returns.iter().any(|r| r.list);
    let count = if listed { 2 } else { schema.returns.len() };
    let prefix = format!("n{}", chance.u32(..100_000));
    let results = (0..count).map(|i| format!("%{prefix}_{i}: {}", value_type(chance)));
    let results: Vec<String> = results.collect();
    let equals = if count > 0 { " = " } else { "" };
    let call = format!(
        "{}{equals}{}({})",
        results.join(", "),
        schema.name,
        given.join(", ")
    );
    (call, (count > 0).then(|| format!("{prefix}_0")))
}

fn value_type(chance: &mut Chance) -> String {
    let sizes = (0..chance.usize(0..4)).map(|_| chance.u8(1..5).to_string());
    let sizes: Vec<String> = sizes.collect();
    let ty = TYPES[chance.usize(0..TYPES.len())];
    format!("{ty}[{}]", sizes.join(", "))
}

fn argument(chance: &mut Chance, param: &Param, values: &[String]) -> String {
    let value = |chance: &mut Chance| match one_of(chance, values) {
        Some(name) => format!("%{name}"),
        None => "1".to_owned(),
    };
    match param.ty {
        ArgType::Tensor => value(chance),
        ArgType::Tensors => {
            let list: Vec<String> = (0..chance.usize(0..4)).map(|_| value(chance)).collect();
            format!("{{{}}}", list.join(", "))
        }
        ArgType::Int => integer(chance).to_string(),
        ArgType::Ints => {
            let list = (0..chance.usize(0..4)).map(|_| integer(chance).to_string());
            format!("[{}]", list.collect::<Vec<_>>().join(", "))
        }
        ArgType::Float => float(chance).to_owned(),
        ArgType::Floats => {
            let list = (0..chance.usize(0..4)).map(|_| float(chance).to_owned());
            format!("[{}]", list.collect::<Vec<_>>().join(", "))
        }
        ArgType::Number if chance.bool() => float(chance).to_owned(),
        ArgType::Number => integer(chance).to_string(),
        ArgType::Bool => chance.bool().to_string(),
        ArgType::Str => {
            const TEXTS: &[&str] = &[
                "",
                "none",
                "tanh",
                "sum",
                "mean",
                "trunc",
                "floor",
                "ij,jk->ik",
            ];
            format!("{:?}", TEXTS[chance.usize(0..TEXTS.len())])
        }
        ArgType::DType => TYPES[chance.usize(0..TYPES.len())].to_owned(),
        ArgType::Ignored => "none".to_owned(),
    }
}
