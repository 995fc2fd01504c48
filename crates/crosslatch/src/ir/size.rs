//! Symbolic sizes: a small algebra over symbols.
//!
//! An exported program is valid for a range of sizes: a dimension may read `s0`, or `2*s0 + 1`.
//! The file has such sizes as text in Python's notation of SymPy expressions; this module reads
//! them, prints them and evaluates them once inputs have bound the symbols. It does not simplify:
//! sizes are recomputed from the inputs for every plan, these only describe and check.

use std::fmt;

/// A size: a constant, a symbol or an expression of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// A constant.
    Const(i64),
    /// A symbol, by name.
    Symbol(String),
    /// An operation on sizes.
    Op(SizeOp, Vec<Size>),
}

/// An operation on sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SizeOp {
    Add,
    Mul,
    FloorDiv,
    Mod,
    Max,
    Min,
}

/// Text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size that Crosslatch understands")]
pub struct SizeError(pub String);

/// Nesting beyond this is refused: no exporter writes it, a hostile file might.
const MAX_DEPTH: usize = 64;

impl Size {
    /// Reads an expression, in SymPy's structural form, `Mul(Integer(2), Symbol('s0',
    /// integer=True))`, as files have it, or in the usual one, such as `2*s0 + 1`, `(s0 + 3)//2`, `Max(1, s0)`, `FloorDiv(s0, 2)`.
    pub fn parse(text: &str) -> Result<Size, SizeError> {
        let mut parser = Parser {
            rest: text,
            depth: 0,
        };
        let size = parser.sum();
        match size {
            Some(size) if parser.rest.trim().is_empty() => Ok(size),
            _ => Err(SizeError(text.to_owned())),
        }
    }

    /// The value, with symbols looked up by `lookup`; `None` where a symbol is not bound, a
    /// divisor is zero or a number overflows.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match self {
            Size::Const(c) => Some(*c),
            Size::Symbol(name) => lookup(name),
            Size::Op(op, args) => {
                let mut values = args.iter().map(|a| a.eval(lookup));
                let first = values.next()??;
                values.try_fold(first, |acc, v| op.apply(acc, v?))
            }
        }
    }

    /// The constant, if it is one.
    pub fn constant(&self) -> Option<i64> {
        self.eval(&|_| None)
    }
}

impl SizeOp {
    fn apply(self, a: i64, b: i64) -> Option<i64> {
        match self {
            SizeOp::Add => a.checked_add(b),
            SizeOp::Mul => a.checked_mul(b),
            // Python rounds towards minus infinity; divisors of sizes are positive.
            SizeOp::FloorDiv => (b > 0).then(|| a.div_euclid(b)),
            SizeOp::Mod => (b > 0).then(|| a.rem_euclid(b)),
            SizeOp::Max => Some(a.max(b)),
            SizeOp::Min => Some(a.min(b)),
        }
    }
}

impl From<i64> for Size {
    fn from(c: i64) -> Size {
        Size::Const(c)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, args: &[Size], sep: &str| {
            for (i, arg) in args.iter().enumerate() {
                if i > 0 {
                    f.write_str(sep)?;
                }
                // Only a sum binds weaker than every other operator here.
                match arg {
                    Size::Op(SizeOp::Add | SizeOp::Mul | SizeOp::FloorDiv | SizeOp::Mod, _)
                        if sep != " + " && sep != ", " =>
                    {
                        write!(f, "({arg})")?
                    }
                    _ => write!(f, "{arg}")?,
                }
            }
            Ok(())
        };
        match self {
            Size::Const(c) => write!(f, "{c}"),
            Size::Symbol(name) => f.write_str(name),
            Size::Op(op, args) => match op {
                SizeOp::Add => join(f, args, " + "),
                SizeOp::Mul => join(f, args, "*"),
                SizeOp::FloorDiv => join(f, args, "//"),
                SizeOp::Mod => join(f, args, "%"),
                SizeOp::Max | SizeOp::Min => {
                    f.write_str(if *op == SizeOp::Max { "Max(" } else { "Min(" })?;
                    join(f, args, ", ")?;
                    f.write_str(")")
                }
            },
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        let trimmed = self.rest.trim_start();
        let end = trimmed
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
            .unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn sum(&mut self) -> Option<Size> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut terms = vec![self.product()?];
        loop {
            if self.eat("+") {
                terms.push(self.product()?);
            } else if self.eat("-") {
                terms.push(Size::Op(
                    SizeOp::Mul,
                    vec![Size::Const(-1), self.product()?],
                ));
            } else {
                break;
            }
        }
        self.depth -= 1;
        Some(flat(SizeOp::Add, terms))
    }

    fn product(&mut self) -> Option<Size> {
        let mut left = self.factor()?;
        loop {
            let op = if self.eat("//") {
                SizeOp::FloorDiv
            } else if self.eat("*") {
                SizeOp::Mul
            } else if self.eat("%") {
                SizeOp::Mod
            } else {
                return Some(left);
            };
            left = Size::Op(op, vec![left, self.factor()?]);
        }
    }

    fn factor(&mut self) -> Option<Size> {
        if self.eat("(") {
            let inner = self.sum()?;
            return self.eat(")").then_some(inner);
        }
        if self.eat("-") {
            return Some(match self.factor()? {
                Size::Const(c) => Size::Const(c.checked_neg()?),
                other => Size::Op(SizeOp::Mul, vec![Size::Const(-1), other]),
            });
        }
        let word = self.word()?;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().ok().map(Size::Const);
        }
        if !self.eat("(") {
            return Some(Size::Symbol(word.to_owned()));
        }
        if word == "Symbol" {
            return self.symbol();
        }
        let mut args = Vec::new();
        if !self.eat(")") {
            loop {
                args.push(self.sum()?);
                if self.eat(")") {
                    break;
                }
                if !self.eat(",") {
                    return None;
                }
            }
        }
        let op = match (word, args.len()) {
            ("Integer", 1) => return args.pop(),
            ("Pow", 2) => return power(&args[0], &args[1]),
            ("Add", 1..) => SizeOp::Add,
            ("Mul", 1..) => SizeOp::Mul,
            ("FloorDiv" | "CleanDiv", 2) => SizeOp::FloorDiv,
            ("Mod" | "PythonMod", 2) => SizeOp::Mod,
            ("Max", 1..) => SizeOp::Max,
            ("Min", 1..) => SizeOp::Min,
            _ => return None,
        };
        Some(Size::Op(op, args))
    }

    /// The rest of `Symbol('s0', positive=True, integer=True)`: the assumptions are SymPy's.
    fn symbol(&mut self) -> Option<Size> {
        if !self.eat("'") {
            return None;
        }
        let name = self.word()?;
        let (assumptions, rest) = self.rest.split_once(')')?;
        self.rest = rest;
        assumptions
            .starts_with('\'')
            .then(|| Size::Symbol(name.to_owned()))
    }
}

/// A small power, as a product.
fn power(base: &Size, exponent: &Size) -> Option<Size> {
    const LARGEST: i64 = 8;
    match exponent.constant()? {
        n @ 1..=LARGEST => Some(Size::Op(SizeOp::Mul, vec![base.clone(); n as usize])),
        _ => None,
    }
}

fn flat(op: SizeOp, mut terms: Vec<Size>) -> Size {
    match terms.len() {
        1 => terms.remove(0),
        _ => Size::Op(op, terms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_evaluated_and_printed_back() {
        for (text, value) in [
            ("7", 7),
            ("s0", 5),
            ("2*s0 + 1", 11),
            ("s0 - 2", 3),
            ("(s0 + 3)//2", 4),
            ("Max(1, s0 - 9)", 1),
            ("FloorDiv(s0, 2)", 2),
            ("-s0 + 6", 1),
            ("Mod(s0, 3)", 2),
            ("s0*(s0 + 1)", 30),
            (
                "Mul(Integer(8), Symbol('s0', positive=True, integer=True))",
                40,
            ),
            ("Add(Symbol('s0', integer=True), Integer(-1))", 4),
            (
                "FloorDiv(Pow(Symbol('s0', integer=True), Integer(2)), Integer(3))",
                8,
            ),
        ] {
            let size = Size::parse(text).unwrap();
            let lookup = |name: &str| (name == "s0").then_some(5);
            assert_eq!(size.eval(&lookup), Some(value), "{text}");
            let again = Size::parse(&size.to_string()).unwrap();
            assert_eq!(again.eval(&lookup), Some(value), "{text} printed as {size}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "s0 +",
            "f(s0)",
            "1.5",
            "Pow(s0, s0)",
            "Pow(2, 99)",
            "(s0",
            &"(".repeat(10_000),
        ] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
        let zero = Size::parse("s0//0").unwrap();
        assert_eq!(zero.eval(&|_| Some(1)), None);
    }
}
