//! Many names as few: `caches.{0..3}.{keys,values}` for eight slots.
//!
//! A model has a cache for each layer, and a list of them hides what differs. Names are split into
//! words, numbers and what stands between. A set of names is written as one expression only if it
//! is every combination of the words and numbers in its places, so that an expression means exactly
//! the names that a shell would expand it to.

use std::collections::BTreeSet;

/// Writes names as few expressions, in the order of the first name of each, with the number of
/// names in each.
pub fn fold(names: &[&str]) -> Vec<(String, usize)> {
    let mut groups: Vec<Vec<Vec<&str>>> = Vec::new();
    for name in names {
        let parts = split(name);
        let group = groups.iter_mut().find(|group| may_join(&group[0], &parts));
        match group {
            Some(group) => group.push(parts),
            None => groups.push(vec![parts]),
        }
    }
    groups.iter().flat_map(|group| expressions(group)).collect()
}

/// The words, numbers and separators of a name.
fn split(name: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        '.' | '_' => 0,
        '0'..='9' => 1,
        _ => 2,
    };
    // `cross_keys` is one word: an underscore separates only where a number stands beside it.
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let end = match kind(first) {
            0 => first.len_utf8(),
            1 => rest.find(|c| kind(c) != 1).unwrap_or(rest.len()),
            _ => word(rest),
        };
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

/// The length of the word at the start: up to a dot, a number, or an underscore before a number.
fn word(text: &str) -> usize {
    let ends = |(at, c): (usize, char)| match c {
        '.' | '0'..='9' => true,
        '_' => text[at + 1..].starts_with(|c: char| c.is_ascii_digit()),
        _ => false,
    };
    text.char_indices()
        .find(|&place| ends(place))
        .map_or(text.len(), |(at, _)| at)
}

/// Whether two names differ in numbers and in their last word only.
fn may_join(a: &[&str], b: &[&str]) -> bool {
    let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let last = a.len().saturating_sub(1);
    a.len() == b.len()
        && a.len() > 1
        && a.iter().zip(b).enumerate().all(|(i, (a, b))| {
            a == b
                || (is_number(a) && is_number(b))
                || (i == last && !is_number(a) && !is_number(b))
        })
}

/// One expression if the names are every combination of what stands in their places, otherwise each
/// name by itself.
fn expressions(names: &[Vec<&str>]) -> Vec<(String, usize)> {
    let places: Vec<Vec<&str>> = (0..names[0].len()).map(|i| distinct(names, i)).collect();
    let combinations = places
        .iter()
        .try_fold(1usize, |n, place| n.checked_mul(place.len()));
    let different: BTreeSet<&[&str]> = names.iter().map(Vec::as_slice).collect();
    if different.len() == names.len() && combinations == Some(names.len()) {
        return vec![(
            places.iter().map(|place| braces(place)).collect(),
            names.len(),
        )];
    }
    names.iter().map(|name| (name.concat(), 1)).collect()
}

fn distinct<'n>(names: &[Vec<&'n str>], place: usize) -> Vec<&'n str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name[place]) {
            seen.push(name[place]);
        }
    }
    seen
}

/// What may stand in one place: `keys`, `{keys,values}` or `{0..3}`.
fn braces(alternatives: &[&str]) -> String {
    let numbers: Option<Vec<u64>> = alternatives.iter().map(|part| plain(part)).collect();
    match (alternatives, numbers) {
        ([only], _) => (*only).to_owned(),
        ([first, .., last], Some(n)) if n.windows(2).all(|pair| pair[0] + 1 == pair[1]) => {
            format!("{{{first}..{last}}}")
        }
        _ => format!("{{{}}}", alternatives.join(",")),
    }
}

/// A number that is written without leading zeros.
fn plain(part: &str) -> Option<u64> {
    part.parse()
        .ok()
        .filter(|n: &u64| n.to_string() == part && *n < u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(names: &str) -> String {
        let names: Vec<&str> = names.split_whitespace().collect();
        let folded = fold(&names).into_iter();
        folded
            .map(|(text, count)| format!("{text} x{count}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn every_combination_is_one_expression() {
        assert_eq!(
            folded("c.0.keys c.0.cross_keys c.1.keys c.1.cross_keys c.2.keys c.2.cross_keys"),
            "c.{0..2}.{keys,cross_keys} x6"
        );
        assert_eq!(folded("kv_0_0 kv_0_1 kv_1_0 kv_1_1"), "kv_{0..1}_{0..1} x4");
        assert_eq!(folded("a.1 a.3 a.7"), "a.{1,3,7} x3");
    }

    #[test]
    fn names_that_are_not_every_combination_stand_by_themselves() {
        assert_eq!(
            folded("c.0.keys c.0.values c.1.keys"),
            "c.0.keys x1 c.0.values x1 c.1.keys x1"
        );
        assert_eq!(folded("a.b c.d"), "a.b x1 c.d x1");
        assert_eq!(folded("flag flag"), "flag x1 flag x1");
        assert_eq!(folded("a.0 a.00"), "a.{0,00} x2");
        assert_eq!(folded(""), "");
    }

    #[test]
    fn any_name_is_taken_apart_whole() {
        for name in ["", ".", "_", "a..b", "ü_1ß.2", "9", "__init__.3", "a_"] {
            assert_eq!(split(name).concat(), name);
        }
    }
}
