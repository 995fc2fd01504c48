//! Operator schemas: names, arguments, defaults and, above all, aliasing and mutation.
//!
//! PyTorch writes the contract of an operator as one line of text,
//! `aten::copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)`. The
//! annotations say what an alias analysis needs: arguments and results with the same letter share
//! memory, and `!` marks memory that is written. Crosslatch declares its operators in this notation,
//! so an operator's effects are stated where it is declared and nowhere else. A result with the
//! letter of an argument *may* alias it; whether it does for given sizes (`reshape`) is decided when
//! the call is lowered.

use crosslatch_kernels::DType;

use super::arg::Arg;

/// The type of an argument, as far as the engine tells types apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgType {
    /// A tensor, or nothing where the argument is optional.
    Tensor,
    /// A list of tensors; entries may be missing where the schema says `Tensor?[]`.
    Tensors,
    /// An integer, possibly symbolic.
    Int,
    /// A list of integers, possibly symbolic.
    Ints,
    /// A floating point number.
    Float,
    /// A list of floating point numbers.
    Floats,
    /// A bool.
    Bool,
    /// Any number.
    Number,
    /// A string.
    Str,
    /// An element type.
    DType,
    /// A device, memory format or the like, which the engine ignores.
    Ignored,
}

/// Aliasing of an argument or a result: the letter of its alias set, and whether it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasInfo {
    /// The letter in the schema.
    pub set: char,
    /// Whether the operator writes this memory.
    pub written: bool,
}

/// An argument of an operator.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ArgType,
    /// Whether `None` is allowed.
    pub optional: bool,
    /// Its alias set, if it has one.
    pub alias: Option<AliasInfo>,
    /// Its value when it is not given.
    pub default: Option<Arg>,
}

/// A result of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// Its alias set, if it shares memory with an argument.
    pub alias: Option<AliasInfo>,
    /// Whether it is a list of tensors, of any length.
    pub list: bool,
    /// Whether it is a tensor or a list of them, not a number.
    pub tensor: bool,
}

/// A parsed schema.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Namespace, name and overload: `aten::add.Tensor`.
    pub name: String,
    /// The arguments, in order.
    pub params: Vec<Param>,
    /// The results, in order.
    pub returns: Vec<Return>,
}

/// The text of a schema is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema `{schema}`: {reason}")]
pub struct SchemaError {
    schema: String,
    reason: String,
}

impl Schema {
    /// Parses PyTorch's notation.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        let error = |reason: &str| SchemaError {
            schema: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (head, returns) = text.split_once(") -> ").ok_or(error("no ` -> `"))?;
        let (name, params) = head.split_once('(').ok_or(error("no `(`"))?;
        let params = split_list(params)
            .into_iter()
            .filter(|p| *p != "*")
            .map(|p| parse_param(p).ok_or(error(&format!("cannot read the argument `{p}`"))))
            .collect::<Result<_, _>>()?;
        let returns = returns.trim();
        let returns = match returns.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
            Some(inner) => inner,
            None => returns,
        };
        let returns = split_list(returns)
            .into_iter()
            .map(|r| {
                let (ty, alias, list, _) =
                    parse_type(r).ok_or(error(&format!("cannot read the result `{r}`")))?;
                let tensor = matches!(ty, ArgType::Tensor | ArgType::Tensors);
                Ok(Return {
                    alias,
                    list,
                    tensor,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Schema {
            name: name.to_owned(),
            params,
            returns,
        })
    }

    /// Position of the argument with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }

    /// Whether the operator changes the shape of its first argument in place, but writes no memory:
    /// `squeeze_`, `t_`. In an IR of values that is a view, after which the name of the argument means
    /// the result. Such an operator is in place by its name and a view by its annotations.
    pub fn renames(&self) -> bool {
        let base = self.name.split('.').next().unwrap_or_default();
        // `__and__` and its relatives end in an underscore as well, but their results are fresh.
        let is_view = self.returns.first().is_some_and(|r| r.alias.is_some());
        base.ends_with('_') && is_view && self.written().next().is_none()
    }

    /// Positions of the arguments whose memory the operator writes.
    pub fn written(&self) -> impl Iterator<Item = usize> + '_ {
        self.params
            .iter()
            .enumerate()
            .filter(|(_, p)| p.alias.is_some_and(|a| a.written))
            .map(|(i, _)| i)
    }

    /// Positions of the arguments whose memory result `index` may share.
    pub fn aliased_by(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        // A list of results is one return in the schema and many results of a node.
        let ret = self.returns.get(index).or(match self.returns.as_slice() {
            [only] if only.list => Some(only),
            _ => None,
        });
        let set = ret.and_then(|r| r.alias).map(|a| a.set);
        self.params
            .iter()
            .enumerate()
            .filter(move |(_, p)| set.is_some() && p.alias.map(|a| a.set) == set)
            .map(|(i, _)| i)
    }
}

/// Splits at commas outside brackets.
fn split_list(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// The type, its alias set, whether it is a list, and whether it is optional.
fn parse_type(text: &str) -> Option<(ArgType, Option<AliasInfo>, bool, bool)> {
    let text = text.split(' ').next()?;
    let mut alias = None;
    let mut bare = text.to_owned();
    if let Some(open) = text.find('(') {
        let close = text.find(')')?;
        let mut inner = text[open + 1..close].chars();
        alias = Some(AliasInfo {
            set: inner.next()?,
            written: inner.next() == Some('!'),
        });
        bare.replace_range(open..=close, "");
    }
    let optional = bare.ends_with('?');
    let bare = bare.trim_end_matches('?');
    let (base, list) = match bare.split_once('[') {
        Some((base, _)) => (base.trim_end_matches('?'), true),
        None => (bare, false),
    };
    let ty = match (base, list) {
        ("Tensor", false) => ArgType::Tensor,
        ("Tensor", true) => ArgType::Tensors,
        ("int" | "SymInt", false) => ArgType::Int,
        ("int" | "SymInt" | "bool", true) => ArgType::Ints,
        ("float", false) => ArgType::Float,
        ("float", true) => ArgType::Floats,
        ("bool" | "SymBool", false) => ArgType::Bool,
        ("Scalar", false) => ArgType::Number,
        ("str", false) => ArgType::Str,
        ("ScalarType", false) => ArgType::DType,
        ("MemoryFormat" | "Layout" | "Device" | "Generator", false) | ("Scalar", true) => {
            ArgType::Ignored
        }
        _ => return None,
    };
    Some((ty, alias, list, optional))
}

fn parse_param(text: &str) -> Option<Param> {
    let (declared, default) = match text.split_once('=') {
        Some((declared, default)) => (declared, Some(default)),
        None => (text, None),
    };
    let (ty_text, name) = declared.rsplit_once(' ')?;
    let (ty, alias, _, optional) = parse_type(ty_text)?;
    let default = match default {
        None => None,
        Some(text) => Some(parse_default(ty, text)?),
    };
    Some(Param {
        name: name.to_owned(),
        ty,
        optional,
        alias,
        default,
    })
}

fn parse_default(ty: ArgType, text: &str) -> Option<Arg> {
    if text == "None" {
        return Some(Arg::None);
    }
    Some(match ty {
        ArgType::Tensor | ArgType::Tensors => return None,
        ArgType::Bool => Arg::Bool(text == "True"),
        ArgType::Int => Arg::Int(parse_int(text)?),
        ArgType::Ints => match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Some(inner) => Arg::List(
                split_list(inner)
                    .into_iter()
                    .map(|t| parse_int(t).map(Arg::Int))
                    .collect::<Option<_>>()?,
            ),
            None => Arg::List(vec![Arg::Int(parse_int(text)?)]),
        },
        ArgType::Float => Arg::Float(text.parse().ok()?),
        ArgType::Floats => return None,
        ArgType::Number => match parse_int(text) {
            Some(i) => Arg::Int(i),
            None => match text {
                "True" => Arg::Bool(true),
                "False" => Arg::Bool(false),
                _ => Arg::Float(text.parse().ok()?),
            },
        },
        ArgType::Str => Arg::Str(text.trim_matches(['"', '\'']).to_owned()),
        ArgType::DType => Arg::DType(match text {
            "long" => DType::I64,
            _ => DType::from_name(text)?,
        }),
        ArgType::Ignored => Arg::None,
    })
}

fn parse_int(text: &str) -> Option<i64> {
    match text {
        "True" => Some(1),
        "False" => Some(0),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliasing_and_writes_are_read_from_the_annotations() {
        let s = Schema::parse(
            "aten::copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)",
        )
        .unwrap();
        assert_eq!(s.name, "aten::copy_");
        assert_eq!(s.written().collect::<Vec<_>>(), [0]);
        assert_eq!(s.aliased_by(0).collect::<Vec<_>>(), [0]);
        let two =
            Schema::parse("executorch::alias(Tensor(a) x, Tensor(b) y) -> (Tensor(a), Tensor(b))")
                .unwrap();
        assert_eq!(two.aliased_by(0).collect::<Vec<_>>(), [0]);
        assert_eq!(two.aliased_by(1).collect::<Vec<_>>(), [1]);
        assert_eq!(two.written().count(), 0);
    }

    #[test]
    fn an_underscore_at_the_end_of_a_name_renames_only_views() {
        for (text, renames) in [
            ("aten::squeeze_(Tensor(a) self) -> Tensor(a)", true),
            ("aten::relu_(Tensor(a!) self) -> Tensor(a!)", false),
            (
                "aten::__and__.Scalar(Tensor self, Scalar other) -> Tensor",
                false,
            ),
        ] {
            assert_eq!(Schema::parse(text).unwrap().renames(), renames, "{text}");
        }
    }

    #[test]
    fn defaults_lists_and_optionals_are_understood() {
        let s = Schema::parse(
            "aten::f(Tensor? x=None, SymInt[2] n=1, int[] d=[0,-1], float eps=1e-05, *, \
             ScalarType? dtype=None, str kind='none', Tensor?[] indices, Scalar v=1) -> Tensor(a)[]",
        )
        .unwrap();
        assert_eq!(s.params.len(), 8);
        assert!(s.params[0].optional && s.params[0].ty == ArgType::Tensor);
        assert_eq!(s.params[1].default, Some(Arg::List(vec![Arg::Int(1)])));
        assert_eq!(
            s.params[2].default,
            Some(Arg::List(vec![Arg::Int(0), Arg::Int(-1)]))
        );
        assert_eq!(s.params[3].default, Some(Arg::Float(1e-5)));
        assert_eq!(s.params[5].default, Some(Arg::Str("none".into())));
        assert_eq!(s.params[6].ty, ArgType::Tensors);
        assert!(s.returns[0].list);
        assert!(Schema::parse("aten::f(Wat x) -> Tensor").is_err());
    }
}
