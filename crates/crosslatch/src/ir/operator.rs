//! An operator of the catalogue: its schema, and the function that lowers its calls.

use crosslatch_kernels::DType;

use super::call::{Call, CallArg, OpError};
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
    pub(super) complex: OfComplex,
}

/// What an operator does with complex numbers.
#[derive(Clone, Copy, Debug)]
pub enum OfComplex {
    /// It takes them where it makes views or copies of them, and has no kernel for them.
    Moved,
    /// Its kernel takes them like other elements.
    Same,
    /// It is lowered by another function.
    Own(Lower),
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
        let lower = match self.complex {
            OfComplex::Own(lower) if has_complex(call) => lower,
            _ => self.lower,
        };
        let lowering = lower(call)?;
        match self.complex {
            OfComplex::Moved => self.check_moved(call, &lowering)?,
            OfComplex::Same | OfComplex::Own(_) => {}
        }
        lowering.checked()
    }

    /// Fails if a kernel that takes no complex numbers would get some.
    fn check_moved(&self, call: &Call<'_>, lowering: &Lowering) -> Result<(), OpError> {
        let results_complex = match lowering {
            Lowering::Compute(compute) => compute.results.iter().any(|(t, _)| t.is_complex()),
            Lowering::Update(_) => false,
            Lowering::Views(_)
            | Lowering::Copy(_)
            | Lowering::Assign(_)
            | Lowering::Numbers(_)
            | Lowering::Nothing => return Ok(()),
        };
        match results_complex || has_complex(call) {
            true => Err(OpError::unsupported(format!(
                "`{}` of complex numbers is not supported",
                self.schema.name
            ))),
            false => Ok(()),
        }
    }
}

/// Whether a call has complex numbers among its operands, or asks for them.
fn has_complex(call: &Call<'_>) -> bool {
    let is_complex = |dtype: DType| dtype.is_complex();
    call.args.iter().any(|arg| match arg {
        CallArg::Tensor(t) => is_complex(t.dtype),
        CallArg::Tensors(list) => list.iter().flatten().any(|t| is_complex(t.dtype)),
        CallArg::DType(dtype) => is_complex(*dtype),
        _ => false,
    })
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.schema.name)
    }
}
