//! The catalogue: all operators that a program may call, by name.
//!
//! Operators are declared in tables, one [`Row`] each: PyTorch's own schema, the function that
//! lowers a call, and what else is special about the operator. The IR defines what a row is and
//! makes [`Operator`]s of rows, but has none itself: the module `ops` has the tables, and fills
//! [`Catalogue::builtin`] with them.
//!
//! Many operators `f` of PyTorch have an in-place form `f_`. Its schema differs from that of `f`
//! only in that `self` is written and returned, and it is lowered alike. So a table lists `f`
//! alone, says whether there is such a form ([`op_with_in_place`]), and the catalogue derives it.

use std::collections::HashMap;
use std::sync::Arc;

use super::operator::{Lower, OfComplex, Operator, QuantizedParam, Reads};
use super::schema::{AliasInfo, Schema};

/// One operator in a table.
#[derive(Clone, Copy)]
pub struct Row {
    schema: &'static str,
    lower: Lower,
    quantized: Option<(&'static str, Reads)>,
    complex: OfComplex,
    has_in_place: bool,
}

/// The operators of one file.
pub type Table = &'static [Row];

/// Declares an operator: its schema in PyTorch's notation, and the function that lowers its calls.
pub const fn op(schema: &'static str, lower: Lower) -> Row {
    Row {
        schema,
        lower,
        quantized: None,
        complex: OfComplex::Moved,
        has_in_place: false,
    }
}

/// Declares an operator and its in-place form: `aten::relu` and `aten::relu_`.
pub const fn op_with_in_place(schema: &'static str, lower: Lower) -> Row {
    Row {
        has_in_place: true,
        ..op(schema, lower)
    }
}

impl Row {
    /// Declares that this argument may be a quantized weight: the lowering then finds the format in
    /// [`TensorArg::stored`](super::call::TensorArg::stored).
    pub const fn quantized(self, param: &'static str, reads: Reads) -> Row {
        Row {
            quantized: Some((param, reads)),
            ..self
        }
    }

    /// Declares that the kernel of the operator takes complex numbers like others, because it
    /// computes nothing with them.
    pub const fn takes_complex(self) -> Row {
        Row {
            complex: OfComplex::Same,
            ..self
        }
    }

    /// Declares how calls with complex numbers are lowered.
    pub const fn complex(self, lower: Lower) -> Row {
        Row {
            complex: OfComplex::Own(lower),
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
            complex: self.complex,
        }
    }
}

/// Why there is no operator of this name, if there never will be one, and what to do.
pub fn refusal(name: &str) -> Option<&'static str> {
    let base = name.split('.').next().unwrap_or(name);
    base.ends_with("_backward").then_some(
        "it computes gradients, and a program here is run, not trained: export the model after \
         `model.eval()`, without a call of `backward`",
    )
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
        let mut catalogue = Catalogue {
            operators: HashMap::new(),
        };
        for row in tables.into_iter().flatten() {
            let operator = row.operator();
            if row.has_in_place {
                catalogue.add(in_place(&operator));
            }
            catalogue.add(operator);
        }
        catalogue
    }

    fn add(&mut self, operator: Operator) {
        let name = operator.schema.name.clone();
        let before = self.operators.insert(name.clone(), Arc::new(operator));
        assert!(before.is_none(), "operator `{name}` is declared twice");
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

/// The in-place form of an operator: the same lowering, with the first argument written and
/// returned.
fn in_place(op: &Operator) -> Operator {
    let mut schema = op.schema.clone();
    schema.name = match schema.name.split_once('.') {
        // The overload of an in-place form does not name the first operand: that is a tensor.
        Some((base, "Tensor_Tensor")) => format!("{base}_.Tensor"),
        Some((base, "Tensor_Scalar")) => format!("{base}_.Scalar"),
        Some((base, overload)) => format!("{base}_.{overload}"),
        None => format!("{}_", schema.name),
    };
    let written = Some(AliasInfo {
        set: 'a',
        written: true,
    });
    if let [first, ..] = &mut schema.params[..] {
        first.alias = written;
    }
    if let [only] = &mut schema.returns[..] {
        only.alias = written;
    }
    Operator {
        schema,
        lower: op.lower,
        quantized: None,
        complex: op.complex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Call, Lowering, OpError};

    fn nothing(_: &Call<'_>) -> Result<Lowering, OpError> {
        Ok(Lowering::Nothing)
    }

    #[test]
    fn an_in_place_form_writes_and_returns_the_first_argument() {
        const TABLE: Table = &[
            op_with_in_place("aten::relu(Tensor self) -> Tensor", nothing),
            op_with_in_place(
                "aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
                nothing,
            ),
            op("aten::sum(Tensor self) -> Tensor", nothing),
        ];
        let catalogue = Catalogue::new([TABLE]);
        let names = [
            "aten::pow.Tensor_Scalar",
            "aten::pow_.Scalar",
            "aten::relu",
            "aten::relu_",
            "aten::sum",
        ];
        assert_eq!(catalogue.names(), names);
        let schema = &catalogue.get("aten::relu_").unwrap().schema;
        assert_eq!(schema.written().collect::<Vec<_>>(), [0]);
        assert_eq!(schema.aliased_by(0).collect::<Vec<_>>(), [0]);
    }
}
