//! Reading sizes.
//!
//! A recursive descent parser for SymPy's two notations. What it reads comes from a file, so it
//! bounds what a short text can ask for: the nesting of the text and of the result, and the number
//! of parts, because a power repeats its base.

use super::{Size, SizeOp};
use crate::ir::nesting::TooDeep;

/// The most operations, symbols and constants of a size.
const MAX_PARTS: usize = 4096;

/// The largest exponent.
const MAX_EXPONENT: i64 = 8;

/// Characters of the text that an error shows.
const MAX_SHOWN: usize = 80;

/// Functions of real numbers, and those that make an integer of one (torch/utils/_sympy/functions.py).
const OF_REALS: [&str; 13] = [
    "CeilToInt",
    "FloorToInt",
    "TruncToInt",
    "RoundToInt",
    "ToFloat",
    "TruncToFloat",
    "RoundDecimal",
    "FloatTrueDiv",
    "IntTrueDiv",
    "FloatPow",
    "PowByNatural",
    "OpaqueUnaryFn_sqrt",
    "Rational",
];

/// Text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size that Crosslatch understands: {reason}")]
pub struct SizeError {
    /// The text, or the beginning of a long one.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Size, SizeError> {
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    let parsed = parser.sum().and_then(|term| match parser.rest.trim() {
        "" => Ok(term.size),
        _ => Err(parser.unexpected()),
    });
    parsed.map_err(|reason| SizeError {
        text: match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        },
        reason,
    })
}

struct Parser<'a> {
    rest: &'a str,
    /// Number of brackets, calls and signs that are open.
    depth: usize,
}

/// A subexpression, and how large it is.
struct Term {
    size: Size,
    /// Nesting of operations.
    depth: usize,
    /// Number of operations, symbols and constants.
    parts: usize,
}

type Parsed<T> = Result<T, String>;

impl Term {
    fn leaf(size: Size) -> Term {
        Term {
            size,
            depth: 0,
            parts: 1,
        }
    }

    /// An operation. A sum whose first term is a sum becomes one sum; products likewise.
    fn of(op: SizeOp, args: Vec<Term>) -> Parsed<Term> {
        let parts = args.iter().map(|arg| arg.parts).sum::<usize>() + 1;
        if parts > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} parts"));
        }
        let mut args = args.into_iter().peekable();
        let is_same = |arg: &Term| {
            matches!(op, SizeOp::Add | SizeOp::Mul)
                && matches!(&arg.size, Size::Op(inner, _) if *inner == op)
        };
        let (mut inner, mut depth) = match args.next_if(is_same) {
            Some(Term {
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
        check_depth(depth)?;
        Ok(Term {
            size: Size::Op(op, inner),
            depth,
            parts,
        })
    }
}

fn check_depth(depth: usize) -> Parsed<()> {
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
            Some(c) => format!("unexpected `{c}`"),
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

    fn sum(&mut self) -> Parsed<Term> {
        let mut left = self.product()?;
        loop {
            let term = if self.eat("+") {
                self.product()?
            } else if self.eat("-") {
                negative(self.product()?)?
            } else {
                return Ok(left);
            };
            left = Term::of(SizeOp::Add, vec![left, term])?;
        }
    }

    fn product(&mut self) -> Parsed<Term> {
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
            left = Term::of(op, vec![left, self.factor()?])?;
        }
    }

    fn factor(&mut self) -> Parsed<Term> {
        self.depth += 1;
        check_depth(self.depth)?;
        let factor = self.factor_inside();
        self.depth -= 1;
        factor
    }

    fn factor_inside(&mut self) -> Parsed<Term> {
        if self.eat("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("-") {
            return negative(self.factor()?);
        }
        if self.eat("?") {
            return Ok(Term::leaf(Size::Unknown));
        }
        let word = self.word()?;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            if word.contains('.') && word.parse::<f64>().is_ok() {
                return Ok(Term::leaf(Size::Unknown));
            }
            let number = word.parse();
            let number = number.map_err(|_| format!("`{word}` is not an integer"))?;
            return Ok(Term::leaf(Size::Const(number)));
        }
        if !self.eat("(") {
            return Ok(Term::leaf(Size::Symbol(word.to_owned())));
        }
        match word {
            "Symbol" => self.symbol(),
            "Float" => {
                let (_digits, rest) = self.rest.split_once(')').ok_or("it ends too early")?;
                self.rest = rest;
                Ok(Term::leaf(Size::Unknown))
            }
            _ => {
                let args = self.args()?;
                call(word, args)
            }
        }
    }

    /// The arguments of a call, and the closing bracket.
    fn args(&mut self) -> Parsed<Vec<Term>> {
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

    /// The rest of `Symbol('s0', positive=True, integer=True)`. SymPy's assumptions are skipped.
    fn symbol(&mut self) -> Parsed<Term> {
        self.expect("'")?;
        let name = self.word()?;
        self.expect("'")?;
        let (_assumptions, rest) = self.rest.split_once(')').ok_or("it ends too early")?;
        self.rest = rest;
        Ok(Term::leaf(Size::Symbol(name.to_owned())))
    }
}

fn call(name: &str, mut args: Vec<Term>) -> Parsed<Term> {
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
        _ if OF_REALS.contains(&name) => return Ok(Term::leaf(Size::Unknown)),
        (_, count) => {
            return Err(format!(
                "there is no function `{name}` of {count} arguments"
            ));
        }
    };
    Term::of(op, args)
}

fn negative(part: Term) -> Parsed<Term> {
    match part.size {
        Size::Const(c) => {
            let negated = c.checked_neg().ok_or("a number is too large")?;
            Ok(Term::leaf(Size::Const(negated)))
        }
        _ => Term::of(SizeOp::Mul, vec![Term::leaf(Size::Const(-1)), part]),
    }
}

/// A small power, as a product.
fn power(base: Term, exponent: Option<i64>) -> Parsed<Term> {
    let Some(n @ 1..=MAX_EXPONENT) = exponent else {
        return Err(format!(
            "an exponent is not a number from 1 to {MAX_EXPONENT}"
        ));
    };
    // Counted before the base is repeated.
    let parts = base.parts * n as usize;
    if parts > MAX_PARTS {
        return Err(format!("it has more than {MAX_PARTS} parts"));
    }
    check_depth(base.depth + 1)?;
    Ok(Term {
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
            "1.5.2",
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
    fn what_is_computed_with_real_numbers_is_unknown() {
        for text in [
            "CeilToInt(IntTrueDiv(s0, 2)) + 1",
            "CeilToInt(Mul(Float('0.5', precision=53), ToFloat(Symbol('s0', integer=True))))",
            "1.5*s0",
            "?",
        ] {
            let size = Size::parse(text).unwrap();
            assert_eq!(size.eval(&|_| Some(4)), None, "{text}");
            assert_eq!(Size::parse(&size.to_string()), Ok(size), "{text}");
        }
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
