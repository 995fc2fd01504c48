//! The catalogue: all operators that a program may call, by name.
//!
//! Operators are declared in tables, one [`Row`] each: PyTorch's own schema, the function that
//! lowers a call, and what else is special about the operator. The IR knows what a row is and makes
//! [`Operator`]s of rows; which rows there are is no business of its own. The module `ops` has the
//! tables and fills [`Catalogue::builtin`] with them.
//!
//! PyTorch declares an in-place operator `f_` for most functions `f`. Its schema differs from that
//! of `f` in nothing but the annotation that `self` is written, so the catalogue derives it, and a
//! table lists `f` alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::operator::{Lower, Operator, QuantizedParam, Reads};
use super::schema::{AliasInfo, Schema};

/// One operator in a table.
#[derive(Clone, Copy)]
pub struct Row {
    schema: &'static str,
    lower: Lower,
    quantized: Option<(&'static str, Reads)>,
}

/// The operators of one file.
pub type Table = &'static [Row];

/// Declares an operator: its schema in PyTorch's notation, and the function that lowers its calls.
pub const fn op(schema: &'static str, lower: Lower) -> Row {
    Row {
        schema,
        lower,
        quantized: None,
    }
}

impl Row {
    /// Declares that this argument may be a quantized weight: the lowering then finds the format in
    /// [`TensorArg::quantized`](super::call::TensorArg::quantized).
    pub const fn quantized(self, param: &'static str, reads: Reads) -> Row {
        Row {
            quantized: Some((param, reads)),
            ..self
        }
    }

    /// # Panics
    /// If the row is malformed.
    fn operator(&self) -> Operator {
        let schema = Schema::parse(self.schema).unwrap_or_else(|e| panic!("{e}"));
        let quantized = self.quantized.map(|(name, reads)| QuantizedParam {
            param: schema
                .position(name)
                .unwrap_or_else(|| panic!("`{}` has no argument `{name}`", schema.name)),
            reads,
        });
        Operator {
            schema,
            lower: self.lower,
            quantized,
        }
    }
}

/// Operators by name.
#[derive(Debug)]
pub struct Catalogue {
    operators: HashMap<String, Arc<Operator>>,
}

impl Catalogue {
    /// The operators of these tables, and the in-place forms that follow from them.
    ///
    /// # Panics
    /// If a table has a malformed row or declares a name twice. That is a bug in the table, which
    /// the tests of the tables find.
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Catalogue {
        let mut operators = HashMap::new();
        for row in tables.into_iter().flatten() {
            let operator = row.operator();
            let name = operator.schema.name.clone();
            let before = operators.insert(name.clone(), Arc::new(operator));
            assert!(before.is_none(), "operator `{name}` is declared twice");
        }
        let derived: Vec<_> = operators
            .values()
            .filter_map(|op| in_place(op))
            .filter(|op| !operators.contains_key(&op.schema.name))
            .collect();
        for op in derived {
            operators.insert(op.schema.name.clone(), Arc::new(op));
        }
        Catalogue { operators }
    }

    /// The operator with this name, such as `aten::add.Tensor`.
    pub fn get(&self, name: &str) -> Option<&Arc<Operator>> {
        self.operators.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.operators.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// `f_` for an operator `f` that has one fresh result: the same lowering, with the first argument
/// written and returned.
fn in_place(op: &Operator) -> Option<Operator> {
    let mut schema = op.schema.clone();
    let (space, name) = schema.name.split_once("::")?;
    if space != "aten" || schema.returns.len() != 1 || schema.returns[0].alias.is_some() {
        return None;
    }
    schema.name = match name.split_once('.') {
        // The overload of the in-place form does not name its first operand: that is a tensor.
        Some((base, "Tensor_Tensor")) => format!("aten::{base}_.Tensor"),
        Some((base, "Tensor_Scalar")) => format!("aten::{base}_.Scalar"),
        Some((base, overload)) => format!("aten::{base}_.{overload}"),
        None => format!("aten::{name}_"),
    };
    let written = Some(AliasInfo {
        set: 'a',
        written: true,
    });
    schema.params.first_mut()?.alias = written;
    schema.returns[0].alias = written;
    Some(Operator {
        schema,
        lower: op.lower,
        quantized: None,
    })
}
