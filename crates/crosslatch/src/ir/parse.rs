//! Reading the text form.
//!
//! The grammar is what [`mod@super::print`] writes; white space and line ends mean nothing, `#`
//! starts a comment. A text holds one program. A slot without `= "name"` is named after its value.
//! Tests use it to keep a program and what is expected of it side by side, and people use it to try
//! a change by hand.

use std::collections::HashMap;

use crosslatch_kernels::DType;

use super::arg::{Arg, ValueId};
use super::catalogue::Catalogue;
use super::control::Control;
use super::graph::{
    Graph, Node, Output, Program, Provenance, Slot, SlotKind, Symbol, TensorType, ValueType,
};
use super::nesting::TooDeep;
use super::schema::{ArgType, Schema};
use super::size::Size;

/// The text is not a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads a program.
pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Program, ParseError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        catalogue,
    };
    parser.program().map_err(|reason| ParseError {
        line: text[..parser.at].lines().count().max(1),
        reason,
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Number of regions and lists that are open.
    depth: usize,
    catalogue: &'a Catalogue,
}

type Parsed<T> = Result<T, String>;

/// The values of a graph that are defined so far, by name.
type Scope = HashMap<String, ValueId>;

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn rest(&mut self) -> &'a str {
        self.skip_space();
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            return Ok(());
        }
        let found: String = self.rest().chars().take(20).collect();
        Err(format!("expected `{token}`, found `{found}`"))
    }

    /// The longest run of characters that names are made of.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let is_name = |c: char| c.is_alphanumeric() || "_.:-+".contains(c);
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        // `%x: f32` and `a::b` both have colons; a single one ends a name.
        let word = &rest[..end];
        let word = word.strip_suffix(':').unwrap_or(word);
        self.at += word.len();
        word
    }

    fn keyword(&mut self, word: &str) -> bool {
        let before = self.at;
        if self.word() == word {
            return true;
        }
        self.at = before;
        false
    }

    fn string(&mut self) -> Parsed<String> {
        self.expect("\"")?;
        let mut value = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, '0')) => value.push('\0'),
                    Some((_, 'u')) => value.push(code_point(&mut chars)?),
                    Some((_, c)) => value.push(c),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err("a string is not terminated".into())
    }

    fn value_name(&mut self) -> Parsed<String> {
        self.expect("%")?;
        match self.word() {
            "" => Err("expected a name after `%`".into()),
            name => Ok(name.to_owned()),
        }
    }

    fn program(&mut self) -> Parsed<Program> {
        self.expect("program")?;
        let mut program = Program {
            name: self.word().to_owned(),
            symbols: Vec::new(),
            slots: Vec::new(),
            graph: Graph::default(),
            outputs: Vec::new(),
        };
        while self.keyword("symbol") {
            program.symbols.push(self.symbol()?);
        }
        let mut scope = Scope::new();
        loop {
            let kind = if self.keyword("input") {
                SlotKind::Input
            } else if self.keyword("latched") {
                SlotKind::Latched
            } else if self.keyword("segment") {
                SlotKind::Segment
            } else if self.keyword("carried") {
                SlotKind::Carried
            } else if self.keyword("weight") {
                SlotKind::Weight
            } else if self.keyword("state") {
                SlotKind::State
            } else {
                break;
            };
            let (name, id) = self.typed_value(&mut program.graph, &mut scope)?;
            program.graph.inputs.push(id);
            let name = if self.eat("=") { self.string()? } else { name };
            program.slots.push(Slot { name, kind });
        }
        while !self.keyword("return") {
            self.node(&mut program.graph, &mut scope)?;
        }
        while !self.rest().is_empty() {
            let output = if self.eat("@") {
                let name = self.word().to_owned();
                let slot = scope
                    .get(&name)
                    .and_then(|id| program.graph.inputs.iter().position(|i| i == id))
                    .ok_or_else(|| format!("there is no slot `@{name}`"))?;
                Output::Mutation { slot }
            } else {
                Output::User(self.string()?)
            };
            self.expect("=")?;
            let value = self.arg(&scope)?;
            program.outputs.push(output);
            program.graph.outputs.push(value);
            if !self.eat(",") {
                break;
            }
        }
        match self.rest() {
            "" => Ok(program),
            _ => Err("expected the end of the program".into()),
        }
    }

    fn symbol(&mut self) -> Parsed<Symbol> {
        let name = self.word().to_owned();
        self.expect("in")?;
        // `1..80` is one word, because names may contain dots.
        let range = self.word();
        let (min, max) = range.split_once("..").ok_or("expected a range")?;
        Ok(Symbol {
            name,
            min: min.parse().map_err(|_| "expected a number")?,
            max: match max {
                "" => None,
                _ => Some(max.parse().map_err(|_| "expected a number")?),
            },
        })
    }

    fn typed_value(&mut self, graph: &mut Graph, scope: &mut Scope) -> Parsed<(String, ValueId)> {
        let name = self.value_name()?;
        self.expect(":")?;
        let ty = self.value_type()?;
        let id = graph.add_value(name.clone(), ty);
        match scope.insert(name.clone(), id) {
            None => Ok((name, id)),
            Some(_) => Err(format!("`%{name}` is defined twice")),
        }
    }

    fn value_type(&mut self) -> Parsed<ValueType> {
        let dtype = match self.word() {
            "int" => return Ok(ValueType::Int),
            "float" => return Ok(ValueType::Float),
            "truth" => return Ok(ValueType::Bool),
            name => DType::from_name(name).ok_or_else(|| format!("unknown type `{name}`"))?,
        };
        self.expect("[")?;
        let rest = self.rest();
        let end = rest.find(']').ok_or("a type is not terminated")?;
        let sizes = split_sizes(&rest[..end])
            .into_iter()
            .map(|s| Size::parse(s).map_err(|e| e.to_string()))
            .collect::<Result<_, _>>()?;
        self.at += end + 1;
        Ok(ValueType::Tensor(TensorType { dtype, sizes }))
    }

    fn node(&mut self, graph: &mut Graph, scope: &mut Scope) -> Parsed<()> {
        let mut results = Vec::new();
        // Results are in scope only after the call.
        let mut result_scope = Scope::new();
        while self.rest().starts_with('%') {
            results.push(self.typed_value(graph, &mut result_scope)?.1);
            if !self.eat(",") {
                self.expect("=")?;
                break;
            }
        }
        let name = self.word();
        let op = self
            .catalogue
            .get(name)
            .ok_or_else(|| format!("there is no operator `{name}`"))?
            .clone();
        let args = self.args(&op.schema, scope)?;
        let mut regions = Vec::new();
        let controls = [Control::Cond, Control::While, Control::Scan];
        for keyword in controls.into_iter().flat_map(Control::keywords) {
            if self.keyword(keyword) {
                regions.push(self.nested(Self::region)?);
            }
        }
        for (name, id) in result_scope {
            if scope.insert(name.clone(), id).is_some() {
                return Err(format!("`%{name}` is defined twice"));
            }
        }
        graph.nodes.push(Node {
            op,
            args,
            regions,
            results,
            provenance: Provenance::default(),
        });
        Ok(())
    }

    /// `(name=arg, …)`, in the order of the schema, with defaults filled in.
    fn args(&mut self, schema: &Schema, scope: &Scope) -> Parsed<Vec<Arg>> {
        let mut args: Vec<Option<Arg>> = vec![None; schema.params.len()];
        self.expect("(")?;
        while !self.eat(")") {
            let name = self.word();
            let position = schema
                .position(name)
                .ok_or_else(|| format!("`{}` has no argument `{name}`", schema.name))?;
            self.expect("=")?;
            let mut arg = self.arg(scope)?;
            if let (Arg::Int(i), ArgType::Float) = (&arg, schema.params[position].ty) {
                arg = Arg::Float(*i as f64);
            }
            args[position] = Some(arg);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        args.into_iter()
            .zip(&schema.params)
            .map(|(arg, param)| {
                arg.or_else(|| param.default.clone())
                    .or_else(|| param.optional.then_some(Arg::None))
                    .ok_or_else(|| format!("`{}` needs the argument `{}`", schema.name, param.name))
            })
            .collect()
    }

    /// Reads something that is nested one level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        TooDeep::check(self.depth).map_err(|e| e.to_string())?;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn region(&mut self) -> Parsed<Graph> {
        let mut graph = Graph::default();
        let mut scope = Scope::new();
        self.expect("(")?;
        while !self.eat(")") {
            let (_, id) = self.typed_value(&mut graph, &mut scope)?;
            graph.inputs.push(id);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        self.expect("{")?;
        while !self.keyword("return") {
            self.node(&mut graph, &mut scope)?;
        }
        while !self.eat("}") {
            graph.outputs.push(self.arg(&scope)?);
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(graph)
    }

    fn arg(&mut self, scope: &Scope) -> Parsed<Arg> {
        let lookup = |name: String| {
            scope
                .get(&name)
                .copied()
                .ok_or_else(|| format!("`%{name}` is used but not defined before"))
        };
        let rest = self.rest();
        if rest.starts_with('%') {
            return lookup(self.value_name()?).map(Arg::Value);
        }
        if rest.starts_with('"') {
            return self.string().map(Arg::Str);
        }
        if self.eat("{") {
            let mut list = Vec::new();
            while !self.eat("}") {
                list.push(match self.keyword("none") {
                    true => None,
                    false => Some(lookup(self.value_name()?)?),
                });
                if !self.eat(",") {
                    self.expect("}")?;
                    break;
                }
            }
            return Ok(Arg::Values(list));
        }
        if self.eat("[") {
            let mut list = Vec::new();
            while !self.eat("]") {
                list.push(self.nested(|parser| parser.arg(scope))?);
                if !self.eat(",") {
                    self.expect("]")?;
                    break;
                }
            }
            return Ok(Arg::List(list));
        }
        let word = self.word();
        match word {
            "none" => return Ok(Arg::None),
            "true" => return Ok(Arg::Bool(true)),
            "false" => return Ok(Arg::Bool(false)),
            _ => {}
        }
        if let Some(dtype) = DType::from_name(word) {
            return Ok(Arg::DType(dtype));
        }
        if let Ok(i) = word.parse() {
            return Ok(Arg::Int(i));
        }
        word.parse()
            .map(Arg::Float)
            .map_err(|_| format!("expected an argument, found `{word}`"))
    }
}

/// The rest of `\u{7f}`, as Rust prints an invisible character.
fn code_point(chars: &mut std::str::CharIndices<'_>) -> Parsed<char> {
    let mut digits = chars.map(|(_, c)| c).take_while(|c| *c != '}');
    let malformed = || "expected a code point such as `\\u{7f}`".to_owned();
    if digits.next() != Some('{') {
        return Err(malformed());
    }
    // A code point has six digits at most.
    let digits: String = digits.take(7).collect();
    let number = u32::from_str_radix(&digits, 16).ok();
    number.and_then(char::from_u32).ok_or_else(malformed)
}

/// Splits at commas outside parentheses.
fn split_sizes(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_whatever_characters_it_has() {
        let name = "a\u{7f}\0\r\n\t\"\\é\u{200b}";
        let text = format!("program p\ninput %x: f32[1] = {name:?}\nreturn \"y\"=%x");
        let catalogue = Catalogue::new([]);
        let program = parse(&text, &catalogue).unwrap();
        assert_eq!(program.slots[0].name, name);
        let again = parse(&program.to_string(), &catalogue).unwrap();
        assert_eq!(again.slots[0].name, name);
        for wrong in ["\\u{}", "\\u{110000}", "\\u7f", "\\u{1234567}", "\\u{d800}"] {
            let text = format!("program p\ninput %x: f32[1] = \"{wrong}\"\nreturn \"y\"=%x");
            assert!(parse(&text, &catalogue).is_err(), "{wrong}");
        }
    }
}
