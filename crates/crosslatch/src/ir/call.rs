//! A call of an operator, with everything known but the contents of tensors.
//!
//! A lowering reads its arguments from a [`Call`], by the names that the schema gives them. A tensor
//! is its element type and its layout ([`TensorArg`]), a number is its value ([`Number`]); what is
//! not there or of the wrong type is an [`OpError`], because a file may ask for anything.

use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::{DType, Dims, Layout};

use super::schema::{ArgType, Schema};

/// Why a call cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The arguments do not fit the operator, or each other.
    #[error("{0}")]
    Invalid(String),
    /// The call is meaningful in PyTorch, but the engine cannot run it.
    #[error("{0}")]
    Unsupported(String),
}

impl OpError {
    /// The arguments are invalid, for this reason.
    pub fn new(reason: impl Into<String>) -> OpError {
        OpError::Invalid(reason.into())
    }

    /// The engine does not support the call, for this reason.
    pub fn unsupported(reason: impl Into<String>) -> OpError {
        OpError::Unsupported(reason.into())
    }
}

/// A number that is known when a plan is made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Number {
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Number {
    /// As a 64-bit float.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Float(x) => x,
            Number::Bool(b) => b as u8 as f64,
        }
    }

    /// As a 64-bit integer; floats are truncated.
    pub fn to_i64(self) -> i64 {
        match self {
            Number::Int(i) => i,
            Number::Float(x) => x as i64,
            Number::Bool(b) => b as i64,
        }
    }

    /// Whether it is a float.
    pub fn is_float(self) -> bool {
        matches!(self, Number::Float(_))
    }
}

/// Which kernels a lowering chooses where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KernelSet {
    /// The fastest for this machine that compute in the types of the program.
    #[default]
    Fast,
    /// The fastest for this machine, where products may be computed in bf16 whatever their type:
    /// what a low precision allows.
    LowPrecision,
    /// Plain loops, as an oracle for the others.
    Plain,
}

/// A tensor operand as a lowering sees it.
#[derive(Clone, Debug)]
pub struct TensorArg {
    /// Its index in [`Operands::inputs`](crosslatch_kernels::Operands::inputs).
    pub index: usize,
    /// Its element type.
    pub dtype: DType,
    /// Its shape, strides and offset.
    pub layout: Layout,
    /// How it lies in memory, if it is a weight that does not lie there in its type.
    pub stored: Option<StoredAs>,
}

/// How a weight lies in memory that does not lie there in its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredAs {
    /// Quantized: the kernel gets its bytes, which are in this format.
    Quantized(WeightFormat),
    /// In 16 bits for `f32`: the kernel gets a tensor of this type.
    Halves(DType),
}

impl TensorArg {
    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The layout of the memory that a kernel gets for this operand: it begins at the operand's
    /// first element.
    pub fn layout_from_start(&self) -> Layout {
        Layout {
            offset: 0,
            ..self.layout.clone()
        }
    }

    /// The position of a dimension, which is counted from the end where it is negative. A tensor
    /// without dimensions takes 0 and -1, as in PyTorch.
    pub fn dim(&self, dim: i64) -> Result<usize, OpError> {
        wrap_dim(dim, self.rank())
    }
}

/// The position of a dimension, which is counted from the end where it is negative, below
/// `rank.max(1)`.
pub fn wrap_dim(dim: i64, rank: usize) -> Result<usize, OpError> {
    let limit = rank.max(1) as i64;
    let wrapped = if dim < 0 { dim + limit } else { dim };
    if (0..limit).contains(&wrapped) {
        Ok(wrapped as usize)
    } else {
        Err(OpError::new(format!(
            "dimension {dim} is out of range for a tensor of rank {rank}"
        )))
    }
}

/// The value of an argument.
#[derive(Clone, Debug)]
pub enum CallArg {
    /// Not given.
    None,
    /// A tensor.
    Tensor(TensorArg),
    /// A list of tensors.
    Tensors(Vec<Option<TensorArg>>),
    /// A number.
    Number(Number),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f64>),
    /// A string.
    Str(String),
    /// An element type.
    DType(DType),
}

/// A call of an operator, with everything known but the contents of tensors. Arguments are looked
/// up by the names that the schema gives them.
pub struct Call<'a> {
    /// The operator's schema.
    pub schema: &'a Schema,
    /// One entry for each argument of the schema.
    pub args: &'a [CallArg],
    /// Which kernels to choose.
    pub kernels: KernelSet,
    /// Number of results that the node names, if there is a node already.
    pub results: Option<usize>,
}

/// The most results that a call may ask for before a node has named them.
const MAX_RESULTS: usize = 1 << 16;

impl Call<'_> {
    /// The number of results that the arguments ask for, if it is the number that the node names.
    /// No list of another length is ever made.
    pub fn result_count(&self, count: usize) -> Result<usize, OpError> {
        match self.results {
            Some(named) if named != count => Err(OpError::new(format!(
                "the arguments ask for {count} results, the node names {named}"
            ))),
            None if count > MAX_RESULTS => Err(OpError::unsupported(format!(
                "{count} results are too many"
            ))),
            _ => Ok(count),
        }
    }

    fn arg(&self, name: &str) -> Result<&CallArg, OpError> {
        self.schema
            .position(name)
            .and_then(|i| self.args.get(i))
            .ok_or_else(|| OpError::new(format!("`{}` has no argument `{name}`", self.schema.name)))
    }

    fn wrong(&self, name: &str, wanted: &str) -> OpError {
        OpError::new(format!("argument `{name}` is not {wanted}"))
    }

    /// Whether plain loops are asked for.
    pub fn plain(&self) -> bool {
        self.kernels == KernelSet::Plain
    }

    /// Whether the operator writes an operand: `copy` and `copy_` share a lowering.
    pub fn is_in_place(&self) -> bool {
        self.schema.written().next().is_some()
    }

    /// Whether the operator has an argument with this name: overloads share lowerings.
    pub fn has(&self, name: &str) -> bool {
        self.schema.position(name).is_some()
    }

    /// Type of the argument in the schema.
    pub fn arg_type(&self, name: &str) -> Option<ArgType> {
        self.schema.position(name).map(|i| self.schema.params[i].ty)
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<&TensorArg, OpError> {
        self.optional_tensor(name)?
            .ok_or_else(|| self.wrong(name, "given"))
    }

    /// A tensor, or nothing.
    pub fn optional_tensor(&self, name: &str) -> Result<Option<&TensorArg>, OpError> {
        match self.arg(name)? {
            CallArg::Tensor(t) => Ok(Some(t)),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "a tensor")),
        }
    }

    /// A list of tensors, all present.
    pub fn tensors(&self, name: &str) -> Result<Vec<&TensorArg>, OpError> {
        self.optional_tensors(name)?
            .into_iter()
            .map(|t| t.ok_or_else(|| self.wrong(name, "a list of tensors")))
            .collect()
    }

    /// A list of tensors, some missing.
    pub fn optional_tensors(&self, name: &str) -> Result<Vec<Option<&TensorArg>>, OpError> {
        match self.arg(name)? {
            CallArg::Tensors(ts) => Ok(ts.iter().map(Option::as_ref).collect()),
            _ => Err(self.wrong(name, "a list of tensors")),
        }
    }

    /// A number, or nothing.
    pub fn optional_number(&self, name: &str) -> Result<Option<Number>, OpError> {
        match self.arg(name)? {
            CallArg::Number(n) => Ok(Some(*n)),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "a number")),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Number, OpError> {
        self.optional_number(name)?
            .ok_or_else(|| self.wrong(name, "given"))
    }

    /// An integer.
    pub fn int(&self, name: &str) -> Result<i64, OpError> {
        Ok(self.number(name)?.to_i64())
    }

    /// An integer, or nothing.
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>, OpError> {
        Ok(self.optional_number(name)?.map(Number::to_i64))
    }

    /// A float.
    pub fn float(&self, name: &str) -> Result<f64, OpError> {
        Ok(self.number(name)?.to_f64())
    }

    /// A float, or nothing.
    pub fn optional_float(&self, name: &str) -> Result<Option<f64>, OpError> {
        Ok(self.optional_number(name)?.map(Number::to_f64))
    }

    /// A bool.
    pub fn bool(&self, name: &str) -> Result<bool, OpError> {
        Ok(self.number(name)?.to_i64() != 0)
    }

    /// A list of integers; one integer counts as a list of one.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>, OpError> {
        self.optional_ints(name)?
            .ok_or_else(|| self.wrong(name, "given"))
    }

    /// A list of integers, or nothing.
    pub fn optional_ints(&self, name: &str) -> Result<Option<Vec<i64>>, OpError> {
        match self.arg(name)? {
            CallArg::Ints(list) => Ok(Some(list.clone())),
            CallArg::Number(n) => Ok(Some(vec![n.to_i64()])),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "a list of integers")),
        }
    }

    /// A list of floats, or nothing.
    pub fn optional_floats(&self, name: &str) -> Result<Option<Vec<f64>>, OpError> {
        match self.arg(name)? {
            CallArg::Floats(list) => Ok(Some(list.clone())),
            CallArg::Ints(list) => Ok(Some(list.iter().map(|i| *i as f64).collect())),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "a list of floats")),
        }
    }

    /// A list of integers that are lengths: none may be negative.
    pub fn sizes(&self, name: &str) -> Result<Dims, OpError> {
        self.ints(name)?
            .into_iter()
            .map(|i| usize::try_from(i).map_err(|_| self.wrong(name, "a list of sizes")))
            .collect()
    }

    /// A string, or nothing.
    pub fn optional_str(&self, name: &str) -> Result<Option<&str>, OpError> {
        match self.arg(name)? {
            CallArg::Str(s) => Ok(Some(s)),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "a string")),
        }
    }

    /// An element type, or nothing.
    pub fn optional_dtype(&self, name: &str) -> Result<Option<DType>, OpError> {
        match self.arg(name)? {
            CallArg::DType(d) => Ok(Some(*d)),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "an element type")),
        }
    }
}
