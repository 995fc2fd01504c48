//! An operator of the catalogue: its schema, and the function that lowers its calls.

use super::call::{Call, OpError};
use super::lowering::Lowering;
use super::schema::Schema;

/// The function that lowers the calls of an operator.
pub type Lower = fn(&Call<'_>) -> Result<Lowering, OpError>;

/// An operator of the catalogue.
pub struct Operator {
    /// Names, arguments and effects.
    pub schema: Schema,
    /// The argument that may be a quantized weight, if kernels take one.
    pub quantized: Option<QuantizedParam>,
    pub(super) lower: Lower,
}

/// An argument for which an operator has kernels that take a quantized weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantizedParam {
    /// Index among the arguments of the schema.
    pub param: usize,
    /// How much of the weight a call reads.
    pub reads: Reads,
}

/// How much of a weight a call reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of it, as a product does.
    All,
    /// Some rows, as a lookup does.
    Rows,
}

impl Operator {
    /// Lowers a call. Whatever the arguments are, the results have sizes that a tensor can have, so
    /// numbers of elements and of bytes never overflow.
    ///
    /// # Errors
    /// If the arguments are invalid or unsupported, or a result is too large for any memory.
    pub fn lower(&self, call: &Call<'_>) -> Result<Lowering, OpError> {
        (self.lower)(call)?.checked()
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.schema.name)
    }
}
