//! What `xtask/flow.txt` declares; the file explains itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::Failure;

/// Names from top to bottom. Those of one line do not know each other.
#[derive(Debug, Default, PartialEq)]
pub struct Order(BTreeMap<String, usize>);

impl Order {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the first may use the second: only what stands on a lower line.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        match (self.0.get(from), self.0.get(to)) {
            (Some(from), Some(to)) => from < to,
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
pub struct Declared {
    /// The order of the crates, under `crates`, and of each crate's modules, under its name.
    pub orders: BTreeMap<String, Order>,
    /// Findings that are known and wait to be mended.
    pub known: BTreeSet<String>,
    /// Files that may be long, or folders that may be full, each with its reason.
    pub large: BTreeMap<String, String>,
}

/// Reads the file's text: sections of lines below a title in brackets.
pub fn read(text: &str) -> Result<Declared, Failure> {
    let mut declared = Declared::default();
    let mut section = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            title.clone_into(&mut section);
            continue;
        }
        let wrong = |why: &str| Err(format!("xtask/flow.txt:{}: {why}", at + 1));
        match section.as_str() {
            "" => return wrong("a line before the first section"),
            "known" => _ = declared.known.insert(line.to_owned()),
            "large" => match line.split_once(": ") {
                Some((path, reason)) => {
                    _ = declared.large.insert(path.to_owned(), reason.to_owned());
                }
                None => return wrong("`path: reason` is expected"),
            },
            _ => {
                let Order(order) = declared.orders.entry(section.clone()).or_default();
                for name in line.split_whitespace() {
                    if order.insert(name.to_owned(), at).is_some() {
                        return wrong(&format!("`{name}` stands twice"));
                    }
                }
            }
        }
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_may_use_those_on_lower_lines_only() {
        let declared = read("[one]\ntop\nleft right  # siblings\nbottom\n").unwrap();
        let order = &declared.orders["one"];
        assert!(order.allows("top", "bottom") && order.allows("left", "bottom"));
        assert!(!order.allows("left", "right") && !order.allows("bottom", "top"));
        assert!(!order.allows("top", "stranger"));
    }

    #[test]
    fn sections_hold_what_their_titles_say() {
        let declared = read("[known]\na: b → c\n[large]\na.rs: one table\n").unwrap();
        assert!(declared.known.contains("a: b → c"));
        assert_eq!(declared.large["a.rs"], "one table");
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        for (text, expected) in [
            ("a", "flow.txt:1: a line before"),
            ("[one]\na\nb a", "flow.txt:3: `a` stands twice"),
            ("[large]\na.rs", "flow.txt:2: `path: reason`"),
        ] {
            assert!(read(text).unwrap_err().contains(expected), "{text}");
        }
    }
}
