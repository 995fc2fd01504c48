//! The paths that a source file imports or names, read without a compiler.
//!
//! A small lexer drops comments and literals. What is left is searched for `use` trees, for paths
//! that begin with `crate`, `self` or `super`, and for modules. Code that only tests see is
//! skipped: items under `#[cfg(test)]`, with the modules that they declare. The reader expects code
//! that rustfmt accepts; it does not expand macros.

/// A path as it is written, and where.
#[derive(Debug, PartialEq)]
pub struct Import {
    /// The module that names the path, below the module of the file (for `mod inner { … }`).
    pub inside: Vec<String>,
    pub path: Vec<String>,
    /// The name that a `use` brings into scope.
    pub binds: Option<String>,
    pub line: usize,
}

/// What the reader finds in one file.
#[derive(Debug, Default)]
pub struct Source {
    pub imports: Vec<Import>,
    /// Modules that are declared for tests only: `#[cfg(test)] mod name;`.
    pub test_modules: Vec<String>,
}

/// Reads one source file.
pub fn read(text: &str) -> Source {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        inside: Vec::new(),
        source: Source::default(),
    };
    reader.items();
    reader.source
}

#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Words, `::` and single marks; comments and literals leave nothing.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < bytes.len() {
        let start = at;
        let rest = &text[at..];
        let mut keep = false;
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += block_comment(rest);
        } else if let Some(length) = literal(rest) {
            at += length;
        } else if rest.starts_with("::") {
            (at, keep) = (at + 2, true);
        } else if is_word(bytes[at]) {
            at += rest.bytes().take_while(|&byte| is_word(byte)).count();
            keep = true;
        } else {
            at += 1;
            keep = !bytes[start].is_ascii_whitespace();
        }
        let text = &text[start..at];
        if keep {
            found.push(Token { text, line });
        }
        line += text.matches('\n').count();
    }
    found
}

/// The length of the block comment, which may hold others, that the text begins with.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let two = text.as_bytes().get(at..at + 2);
        depth = match two {
            Some(b"/*") => depth + 1,
            Some(b"*/") => depth - 1,
            _ => {
                at += 1;
                continue;
            }
        };
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character that the text begins with, if it begins with one.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(['"', '\'', '#']))
    })?;
    let body = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let marks = body.bytes().take_while(|&byte| byte == b'#').count();
        body[marks..].strip_prefix('"')?;
        let end = format!("\"{}", &body[..marks]);
        let open = marks + 1;
        let length = body[open..]
            .find(&end)
            .map_or(body.len(), |at| open + at + end.len());
        return Some(prefix.len() + length);
    }
    let quote = body.chars().next().filter(|&mark| mark != '#')?;
    let mut chars = body.char_indices().skip(1);
    if quote == '\'' {
        // A lifetime is a quote before a word that no quote follows.
        let (_, first) = chars.next()?;
        if first != '\\' {
            let (at, second) = chars.next()?;
            return (second == '\'').then_some(prefix.len() + at + 1);
        }
        chars.next();
    }
    let mut escaped = false;
    for (at, mark) in chars {
        if mark == quote && !escaped {
            return Some(prefix.len() + at + 1);
        }
        escaped = mark == '\\' && !escaped;
    }
    Some(text.len())
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    inside: Vec<String>,
    source: Source,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| token.text)
    }

    /// Reads until the end of the block or the file.
    fn items(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "}" => {
                    self.at += 1;
                    return;
                }
                "{" => {
                    self.at += 1;
                    self.items();
                }
                "#" if self.attribute() => self.skip_item(),
                "mod" if self.peek(2) == "{" => {
                    self.inside.push(self.peek(1).to_owned());
                    self.at += 3;
                    self.items();
                    self.inside.pop();
                }
                // `use<'a>` says what a type captures.
                "use" if self.peek(1) != "<" => {
                    self.at += 1;
                    self.tree(Vec::new());
                }
                "crate" | "self" | "super" if self.peek(1) == "::" => self.path(),
                _ => self.at += 1,
            }
        }
    }

    /// Steps over an attribute; whether what follows is for tests only.
    fn attribute(&mut self) -> bool {
        self.at += 1;
        self.at += usize::from(self.peek(0) == "!");
        let start = self.at;
        self.skip_group("[", "]");
        let words: Vec<_> = self.tokens[start..self.at].iter().map(|t| t.text).collect();
        words.get(1) == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not")
    }

    fn skip_group(&mut self, open: &str, close: &str) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            depth += usize::from(self.peek(0) == open);
            depth = depth.saturating_sub(usize::from(self.peek(0) == close));
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Steps over an item that only tests see, and remembers the module that it declares.
    fn skip_item(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "mod" if self.peek(2) == ";" => self.source.test_modules.push(self.peek(1).into()),
                "{" => return self.skip_group("{", "}"),
                "}" => return,
                "(" => {
                    self.skip_group("(", ")");
                    continue;
                }
                ";" => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// A `use` tree below the prefix, up to the mark that ends it.
    fn tree(&mut self, prefix: Vec<String>) {
        let mut path = prefix;
        let mut line = self.tokens.get(self.at).map_or(0, |token| token.line);
        while self.at < self.tokens.len() {
            let token = self.tokens[self.at];
            match token.text {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.tree(path.clone());
                        self.at += usize::from(self.peek(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "as" => {
                    let name = self.peek(1).to_owned();
                    self.at += 2;
                    return self.found(path, Some(name), line);
                }
                "*" => {
                    self.at += 1;
                    return self.found(path, None, line);
                }
                "self" if !path.is_empty() => self.at += 1,
                "," | ";" | "}" => break,
                word => {
                    (line, self.at) = (token.line, self.at + 1);
                    path.push(word.to_owned());
                }
            }
        }
        let name = path.last().cloned();
        self.found(path, name, line);
    }

    /// A path in an expression or a type.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        // `pub(in crate::ops)` says who may see an item and imports nothing.
        let visibility = self.at >= 2
            && self.tokens[self.at - 1].text == "in"
            && self.tokens[self.at - 2].text == "(";
        let mut path = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && self.peek(1).bytes().next().is_some_and(is_word) {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        if !visibility {
            self.found(path, None, line);
        }
    }

    fn found(&mut self, path: Vec<String>, binds: Option<String>, line: usize) {
        self.source.imports.push(Import {
            inside: self.inside.clone(),
            path,
            binds,
            line,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let found = read(text).imports;
        found.iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(
            paths("use crate::{a::{self, B as C}, d::*};\nuse super::e;"),
            ["crate::a", "crate::a::B", "crate::d", "super::e"]
        );
        let found = read("use crate::a::{\n    B as C,\n};").imports;
        assert_eq!((found[0].line, found[0].binds.as_deref()), (2, Some("C")));
    }

    #[test]
    fn paths_in_expressions_and_types_count() {
        assert_eq!(
            paths("fn f(x: &crate::a::B) -> u8 { super::g::<u8>(self::h()) }"),
            ["crate::a::B", "super::g", "self::h"]
        );
        assert!(paths("pub(in crate::a) fn f<'a>(self: &'a Self) { self.crate_() }").is_empty());
    }

    #[test]
    fn comments_and_literals_do_not_count() {
        let text = r##"
            //! [`crate::a`]
            /* crate::a /* nested */ crate::a */
            const A: &str = "use crate::a; \" crate::a";
            const B: &str = r#"crate::a " crate::a"#;
            const C: [char; 3] = ['"', '\'', '{'];
            use crate::b;
        "##;
        assert_eq!(paths(text), ["crate::b"]);
        assert_eq!(read(text).imports[0].line, 7);
    }

    #[test]
    fn what_only_tests_see_is_skipped() {
        let text = "
            #[cfg(test)]
            mod tests;
            #[cfg(all(test, unix))]
            mod inline { use crate::a; }
            #[cfg(test)]
            use crate::a::{B, C};
            #[cfg(test)]
            fn f(x: [u8; 2]) { crate::a::g(); }
            #[cfg(not(test))]
            use crate::b;
            mod inner { use super::c; }
        ";
        assert_eq!(paths(text), ["crate::b", "super::c"]);
        assert_eq!(read(text).test_modules, ["tests"]);
        assert_eq!(read(text).imports[1].inside, ["inner"]);
    }
}
