//! Symbolic sizes: a small algebra over symbols.
//!
//! An exported program is valid for a range of sizes: the length of a dimension may be `s0`, or
//! `2*s0 + 1`. A file has such sizes as text, in the notation of SymPy; this module reads them,
//! prints them, and evaluates them once inputs have bound the symbols. It does not simplify, because
//! these sizes only describe and check: every plan computes sizes anew from the inputs.

mod parse;

use std::fmt;

pub use parse::SizeError;

/// A size: a constant, a symbol or an expression of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// A constant.
    Const(i64),
    /// A symbol, by name.
    Symbol(String),
    /// An operation on sizes.
    Op(SizeOp, Vec<Size>),
    /// What PyTorch computed with functions of real numbers, `CeilToInt(0.5*s0)` for example. The text form
    /// has `?` for it, and nothing is checked against it: nodes of the graph compute the size itself.
    Unknown,
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

impl Size {
    /// Reads an expression as SymPy prints it: in its structural form, such as
    /// `Mul(Integer(2), Symbol('s0', integer=True))`, which files have, or in the usual one, such as
    /// `2*s0 + 1`, `(s0 + 3)//2`, `Max(1, s0)` or `FloorDiv(s0, 2)`.
    ///
    /// # Errors
    /// If the text is not such an expression, is nested too deep or is too large.
    pub fn parse(text: &str) -> Result<Size, SizeError> {
        parse::parse(text)
    }

    /// The value, with symbols looked up by `lookup`; `None` where a symbol is not bound, a
    /// divisor is zero or a number overflows.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match self {
            Size::Const(c) => Some(*c),
            Size::Symbol(name) => lookup(name),
            Size::Unknown => None,
            Size::Op(op, args) => {
                let mut values = args.iter().map(|a| a.eval(lookup));
                let first = values.next()??;
                values.try_fold(first, |acc, v| op.apply(acc, v?))
            }
        }
    }

    /// The value, if it depends on no symbol.
    pub fn constant(&self) -> Option<i64> {
        self.eval(&|_| None)
    }
}

impl SizeOp {
    fn apply(self, a: i64, b: i64) -> Option<i64> {
        match self {
            SizeOp::Add => a.checked_add(b),
            SizeOp::Mul => a.checked_mul(b),
            // Rounded towards minus infinity, as in Python; divisors of sizes are positive.
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
            Size::Unknown => f.write_str("?"),
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
