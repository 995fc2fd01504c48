//! Symbolic sizes: a small algebra over symbols.
//!
//! An exported program is valid for a range of sizes: a dimension may read `s0`, or `2*s0 + 1`.
//! The file has such sizes as text in Python's notation of SymPy expressions; this module reads
//! them, prints them and evaluates them once inputs have bound the symbols. It does not simplify:
//! sizes are recomputed from the inputs for every plan, these only describe and check.

use std::fmt;

use super::TooDeep;

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
#[error("`{text}` is not a size that Crosslatch understands: {reason}")]
pub struct SizeError {
    /// The text, or the beginning of a long one.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The most operations, symbols and constants of a size. A power repeats what it is taken of, so that
/// a short text can ask for more than any memory.
const MOST_PARTS: usize = 4096;

impl Size {
    /// Reads an expression, in SymPy's structural form, `Mul(Integer(2), Symbol('s0',
    /// integer=True))`, as files have it, or in the usual one, such as `2*s0 + 1`, `(s0 + 3)//2`, `Max(1, s0)`, `FloorDiv(s0, 2)`.
    pub fn parse(text: &str) -> Result<Size, SizeError> {
        let mut parser = Parser {
            rest: text,
            depth: 0,
        };
        let parsed = parser.sum().and_then(|part| match parser.rest.trim() {
            "" => Ok(part.size),
            _ => Err(parser.unexpected()),
        });
        parsed.map_err(|reason| SizeError {
            text: match text.char_indices().nth(LONGEST_SHOWN) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.to_owned(),
            },
            reason,
        })
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

/// Characters of a text that an error shows.
const LONGEST_SHOWN: usize = 80;

struct Parser<'a> {
    rest: &'a str,
    /// Brackets, calls and signs around the place.
    depth: usize,
}

/// A part of a size, and what it is made of.
struct Part {
    size: Size,
    /// Operations inside each other.
    depth: usize,
    /// Operations, symbols and constants.
    parts: usize,
}

type Parsed<T> = Result<T, String>;

impl Part {
    fn leaf(size: Size) -> Part {
        Part {
            size,
            depth: 0,
            parts: 1,
        }
    }

    /// An operation. Sums of sums are one sum, and so are products.
    fn of(op: SizeOp, args: Vec<Part>) -> Parsed<Part> {
        let parts = args.iter().map(|arg| arg.parts).sum::<usize>() + 1;
        if parts > MOST_PARTS {
            return Err(format!("it has more than {MOST_PARTS} parts"));
        }
        let mut args = args.into_iter().peekable();
        let is_same = |arg: &Part| {
            matches!(op, SizeOp::Add | SizeOp::Mul)
                && matches!(&arg.size, Size::Op(inner, _) if *inner == op)
        };
        let (mut inner, mut depth) = match args.next_if(is_same) {
            Some(Part {
                size: Size::Op(_, terms),
                depth,
                ..
            }) => (terms, depth),
            _ => (Vec::new(), 0),
        };
        for arg in args {
            depth = depth.max(arg.depth + 1);
            inner.push(arg.size);
        }
        too_deep(depth)?;
        Ok(Part {
            size: Size::Op(op, inner),
            depth,
            parts,
        })
    }
}

fn too_deep(depth: usize) -> Parsed<()> {
    TooDeep::check(depth).map_err(|e| format!("it is {e}"))
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

    fn unexpected(&self) -> String {
        match self.rest.trim_start().chars().next() {
            Some(c) => format!("`{c}` is not expected there"),
            None => "it ends too early".to_owned(),
        }
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        match self.eat(token) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn word(&mut self) -> Parsed<&'a str> {
        let trimmed = self.rest.trim_start();
        let end = trimmed
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
            .unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at(end);
        if word.is_empty() {
            return Err(self.unexpected());
        }
        self.rest = rest;
        Ok(word)
    }

    fn sum(&mut self) -> Parsed<Part> {
        let mut left = self.product()?;
        loop {
            let term = if self.eat("+") {
                self.product()?
            } else if self.eat("-") {
                negative(self.product()?)?
            } else {
                return Ok(left);
            };
            left = Part::of(SizeOp::Add, vec![left, term])?;
        }
    }

    fn product(&mut self) -> Parsed<Part> {
        let mut left = self.factor()?;
        loop {
            let op = if self.eat("//") {
                SizeOp::FloorDiv
            } else if self.eat("*") {
                SizeOp::Mul
            } else if self.eat("%") {
                SizeOp::Mod
            } else {
                return Ok(left);
            };
            left = Part::of(op, vec![left, self.factor()?])?;
        }
    }

    fn factor(&mut self) -> Parsed<Part> {
        self.depth += 1;
        too_deep(self.depth)?;
        let factor = self.factor_inside();
        self.depth -= 1;
        factor
    }

    fn factor_inside(&mut self) -> Parsed<Part> {
        if self.eat("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("-") {
            return negative(self.factor()?);
        }
        let word = self.word()?;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let number = word.parse();
            let number = number.map_err(|_| format!("`{word}` is no whole number"))?;
            return Ok(Part::leaf(Size::Const(number)));
        }
        if !self.eat("(") {
            return Ok(Part::leaf(Size::Symbol(word.to_owned())));
        }
        match word {
            "Symbol" => self.symbol(),
            _ => {
                let args = self.args()?;
                call(word, args)
            }
        }
    }

    /// The arguments of a call, and the bracket behind them.
    fn args(&mut self) -> Parsed<Vec<Part>> {
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.sum()?);
            if self.eat(")") {
                return Ok(args);
            }
            self.expect(",")?;
        }
    }

    /// The rest of `Symbol('s0', positive=True, integer=True)`: the assumptions are SymPy's.
    fn symbol(&mut self) -> Parsed<Part> {
        self.expect("'")?;
        let name = self.word()?;
        self.expect("'")?;
        let (_assumptions, rest) = self.rest.split_once(')').ok_or("it ends too early")?;
        self.rest = rest;
        Ok(Part::leaf(Size::Symbol(name.to_owned())))
    }
}

fn call(name: &str, mut args: Vec<Part>) -> Parsed<Part> {
    let op = match (name, args.len()) {
        ("Integer", 1) => return Ok(args.remove(0)),
        ("Pow", 2) => {
            let exponent = args.remove(1).size.constant();
            return power(args.remove(0), exponent);
        }
        ("Add", 1..) => SizeOp::Add,
        ("Mul", 1..) => SizeOp::Mul,
        ("FloorDiv" | "CleanDiv", 2) => SizeOp::FloorDiv,
        ("Mod" | "PythonMod", 2) => SizeOp::Mod,
        ("Max", 1..) => SizeOp::Max,
        ("Min", 1..) => SizeOp::Min,
        (_, count) => return Err(format!("there is no `{name}` of {count}")),
    };
    Part::of(op, args)
}

fn negative(part: Part) -> Parsed<Part> {
    match part.size {
        Size::Const(c) => {
            let negated = c.checked_neg().ok_or("a number is too large")?;
            Ok(Part::leaf(Size::Const(negated)))
        }
        _ => Part::of(SizeOp::Mul, vec![Part::leaf(Size::Const(-1)), part]),
    }
}

/// A small power, as a product.
fn power(base: Part, exponent: Option<i64>) -> Parsed<Part> {
    const LARGEST: i64 = 8;
    let Some(n @ 1..=LARGEST) = exponent else {
        return Err(format!("a power is none of 1 to {LARGEST}"));
    };
    // Counted before it is repeated.
    let parts = base.parts * n as usize;
    if parts > MOST_PARTS {
        return Err(format!("it has more than {MOST_PARTS} parts"));
    }
    too_deep(base.depth + 1)?;
    Ok(Part {
        depth: base.depth + 1,
        parts: parts + 1,
        size: Size::Op(SizeOp::Mul, vec![base.size; n as usize]),
    })
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
            ("s0//2//2*3 - 1 - 1", 1),
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
        ] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
        let zero = Size::parse("s0//0").unwrap();
        assert_eq!(zero.eval(&|_| Some(1)), None);
    }

    #[test]
    fn what_is_nested_too_deep_or_grows_without_end_is_refused_and_long_chains_are_not() {
        let nested =
            |open: &str, close: &str, n: usize| format!("{}s0{}", open.repeat(n), close.repeat(n));
        for text in [
            nested("-", "", 40_000),
            nested("(", ")", 40_000),
            nested("Max(", ")", 40_000),
            nested("1 + 2*(", ")", 40_000),
            nested("", "//2*2", 40_000),
            nested("Pow(", ", 1)", 40_000),
        ] {
            let error = Size::parse(&text).unwrap_err();
            assert_eq!(error.reason, "it is nested more than 32 deep", "{error}");
            assert!(error.to_string().len() < 200, "{error}");
        }
        let error = Size::parse(&nested("Pow(", ", 8)", 20)).unwrap_err();
        assert_eq!(error.reason, "it has more than 4096 parts");
        for (text, value) in [
            (nested("", " + 1", 2_000), 2_005),
            (nested("", " - 1", 1_000), -995),
            (nested("1*", "*1", 500), 5),
            (nested("((", "+1)//2)", 12), 1),
        ] {
            let size = Size::parse(&text).unwrap();
            assert_eq!(size.eval(&|_| Some(5)), Some(value), "{text}");
        }
    }
}
