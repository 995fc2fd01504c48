//! The catalogue of operators: one entry each, schema and lowering side by side.
//!
//! A family of operators is a module with a table `OPERATORS` of (schema, lowering). The schema
//! gives names, defaults and effects in PyTorch's own notation ([`crate::ir::schema`]); the
//! lowering gives shapes and kernel ([`crate::ir::operator`]). To add an operator, write one row
//! and, where no lowering fits, one function; docs/internals/adding-an-operator.md walks through an example.
//!
//! An in-place operator `f_` needs no row of its own if `f` has one: its first argument is then
//! the one that is written ([`Catalogue::get`] derives it).

mod attention;
mod control;
mod convolution;
mod elements;
mod matmul;
mod movement;
mod operands;
mod reduce;
mod rows;
mod views;

pub use control::COND;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::ir::operator::{Lower, NarrowParam, Operator};
use crate::ir::schema::{AliasInfo, Schema};

/// A family's table: schema and lowering of each operator.
type Table = &'static [(&'static str, Lower)];

/// The tables of each folder.
const FAMILIES: &[&[Table]] = &[
    &[attention::OPERATORS, convolution::OPERATORS],
    control::TABLES,
    elements::TABLES,
    matmul::TABLES,
    movement::TABLES,
    reduce::TABLES,
    rows::TABLES,
    views::TABLES,
];

/// Operators that have kernels for an argument in a narrow format: the operator, the argument, and
/// whether a call reads all of it.
const NARROW: &[(&str, &str, bool)] = &[matmul::matrices::NARROW, movement::embedding::NARROW];

/// All operators by name.
#[derive(Debug)]
pub struct Catalogue {
    operators: HashMap<String, Arc<Operator>>,
}

impl Catalogue {
    /// The operators that the engine is built with.
    pub fn builtin() -> &'static Catalogue {
        static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
        BUILTIN.get_or_init(|| Catalogue::of(FAMILIES))
    }

    /// # Panics
    /// If a table has a malformed schema or declares a name twice: a bug in the table, which the
    /// tests of this module find.
    fn of(families: &[&[Table]]) -> Catalogue {
        let mut operators = HashMap::new();
        for &(text, lower) in families.iter().copied().flatten().copied().flatten() {
            let schema = Schema::parse(text).unwrap_or_else(|e| panic!("{e}"));
            let name = schema.name.clone();
            let narrow = NARROW.iter().find(|(op, ..)| *op == name);
            let narrow = narrow.map(|(_, param, whole)| NarrowParam {
                param: schema
                    .position(param)
                    .unwrap_or_else(|| panic!("`{name}` has no `{param}`")),
                whole: *whole,
            });
            let operator = Operator {
                schema,
                lower,
                narrow,
            };
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
        // The first operand's kind is not part of the name: it is always a tensor.
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
        narrow: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_well_formed_and_declared_once() {
        assert!(!Catalogue::builtin().names().is_empty());
    }
}
