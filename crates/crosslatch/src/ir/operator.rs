//! What the engine knows of an operator: its schema, and how it is lowered for given sizes.
//!
//! Lowering answers, for one call with all sizes known, which of three things the operator is:
//! a view (no work at run time, another layout of an operand's memory), a computation (results in
//! fresh memory, of these shapes, by this kernel) or an update (an operand's memory is changed by
//! this kernel). The shape rule and the kernel thus stand in one function. The reference
//! interpreter and the planner both drive it; they differ in what they do about memory.

use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::tensor::{MAX_RANK, is_addressable};
use crosslatch_kernels::{DType, Dims, Kernel, Layout};

use super::schema::{ArgType, Schema};

/// An operator of the catalogue.
pub struct Operator {
    /// Names, arguments and effects.
    pub schema: Schema,
    /// Shape rule, view rule and kernel.
    pub lower: Lower,
    /// The argument that may be stored in a narrow format, if there is one.
    pub narrow: Option<NarrowParam>,
}

impl Operator {
    /// Lowers a call. Whatever the arguments are, the results have sizes that a tensor can have, so
    /// that numbers of elements and of bytes never overflow.
    ///
    /// # Errors
    /// If the call makes no sense, or a result is too large for any memory.
    pub fn lowered(&self, call: &Call<'_>) -> Result<Lowering, OpError> {
        let lowering = (self.lower)(call)?;
        match &lowering {
            Lowering::Views(views) => views.iter().try_for_each(|v| check_view(&v.layout))?,
            Lowering::Copy(copy) => {
                check_view(&copy.view.layout)?;
                check_shape(&copy.shape)?;
            }
            Lowering::Compute(compute) => {
                let shapes = compute.results.iter();
                shapes
                    .map(|(_, shape)| shape)
                    .try_for_each(|s| check_shape(s))?;
            }
            Lowering::Update(_)
            | Lowering::Assign(_)
            | Lowering::Numbers(_)
            | Lowering::Nothing => {}
        }
        Ok(lowering)
    }
}

fn check_view(layout: &Layout) -> Result<(), OpError> {
    check_shape(&layout.shape)?;
    match layout.end().is_some() && layout.strides.len() == layout.rank() {
        true => Ok(()),
        false => Err(OpError::new("a view reaches outside any memory")),
    }
}

/// Whether a tensor of this shape can exist.
pub fn check_shape(shape: &[usize]) -> Result<(), OpError> {
    match shape.len() {
        rank if rank > MAX_RANK => Err(OpError::new(format!(
            "a tensor with {rank} dimensions; {MAX_RANK} is the most"
        ))),
        _ if is_addressable(shape) => Ok(()),
        _ => Err(OpError::new(format!(
            "a tensor of shape {shape:?} is too large"
        ))),
    }
}

/// An argument that an operator has narrow kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NarrowParam {
    /// Index among the arguments of the schema.
    pub param: usize,
    /// Whether a call reads all of it, not some rows.
    pub whole: bool,
}

/// The function that lowers an operator.
pub type Lower = fn(&Call<'_>) -> Result<Lowering, OpError>;

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.schema.name)
    }
}

/// Why an operator cannot be lowered with these arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpError(pub String);

impl OpError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> OpError {
        OpError(message.into())
    }
}

/// What a call of an operator comes down to.
pub enum Lowering {
    /// Each result is a view of an operand.
    Views(Vec<View>),
    /// The result is a row-major copy of a view of an operand.
    Copy(ViewCopy),
    /// The results are computed into fresh memory.
    Compute(Compute),
    /// The result is an operand (in place) or a copy of it (functional), changed by a kernel.
    Update(Update),
    /// The result is an operand (in place) or a copy of it (functional), with another operand
    /// copied into a part of it.
    Assign(Assign),
    /// The results are numbers, known now.
    Numbers(Vec<Number>),
    /// Nothing happens at run time and nothing is returned.
    Nothing,
}

/// A result that is an operand's memory under another layout.
pub struct View {
    /// Index among the tensor operands.
    pub of: usize,
    /// The layout, in elements of the operand's memory.
    pub layout: Layout,
}

/// A result that is a row-major copy of a view, perhaps under another shape.
pub struct ViewCopy {
    /// What is copied.
    pub view: View,
    /// Shape of the result, with as many elements.
    pub shape: Dims,
}

/// Results in fresh, contiguous memory.
pub struct Compute {
    /// Type and shape of each result.
    pub results: Vec<(DType, Dims)>,
    /// What fills them.
    pub kernel: Box<dyn Kernel>,
    /// Arithmetic operations that this takes, for reports; about.
    pub flops: u64,
    /// Bytes that this reads and writes, for reports, if not those of all operands and results.
    pub bytes: Option<u64>,
}

impl Compute {
    /// Results that take an operation for each element.
    pub fn new(results: Vec<(DType, Dims)>, kernel: impl Kernel + 'static) -> Compute {
        let sizes = |shape: &Dims| shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        let numels = results.iter().map(|(_, shape)| sizes(shape));
        Compute {
            flops: numels.fold(0, u64::saturating_add),
            bytes: None,
            results,
            kernel: Box::new(kernel),
        }
    }
}

/// A change to an operand's memory.
pub struct Update {
    /// Index among the tensor operands of the one that is changed. The kernel gets it as
    /// `outputs[0]`, with its contents; `inputs[of]` is an empty tensor in its place.
    pub of: usize,
    /// What changes it.
    pub kernel: Box<dyn Kernel>,
}

/// Finds a part of a tensor in any layout that the tensor may have.
pub type Part = Box<dyn Fn(&Layout) -> Result<Layout, OpError>>;

/// A copy of one operand into a part of another.
pub struct Assign {
    /// Index among the tensor operands of the one that is changed.
    pub of: usize,
    /// Finds the part in any layout of that operand.
    pub part: Part,
    /// Index of the operand that is copied; it is broadcast to the part and converted.
    pub from: usize,
}

impl Assign {
    /// The part in this layout of the changed operand, and the source broadcast to it.
    pub fn places(&self, target: &Layout, source: &Layout) -> Result<[Layout; 2], OpError> {
        let part = (self.part)(target)?;
        match source.expand(&part.shape) {
            Some(source) => Ok([part, source]),
            None => Err(OpError::new(format!(
                "the source of shape {:?} does not fit its place {:?}",
                &source.shape[..],
                &part.shape[..]
            ))),
        }
    }
}

impl Lowering {
    /// One view.
    pub fn view(of: &TensorArg, layout: Layout) -> Lowering {
        Lowering::Views(vec![View {
            of: of.index,
            layout,
        }])
    }

    /// A copy of an operand.
    pub fn copy(of: &TensorArg) -> Lowering {
        Lowering::copy_in_shape(of, of.layout.shape.clone())
    }

    /// A copy of an operand under another shape.
    pub fn copy_in_shape(of: &TensorArg, shape: Dims) -> Lowering {
        let view = View {
            of: of.index,
            layout: of.layout.clone(),
        };
        Lowering::Copy(ViewCopy { view, shape })
    }

    /// One computed result.
    pub fn compute(dtype: DType, shape: &[usize], kernel: impl Kernel + 'static) -> Lowering {
        Lowering::Compute(Compute::new(vec![(dtype, shape.into())], kernel))
    }

    /// The same, where it takes so many arithmetic operations.
    pub fn with_flops(mut self, flops: u64) -> Lowering {
        if let Lowering::Compute(compute) = &mut self {
            compute.flops = flops;
        }
        self
    }

    /// The same, where it reads and writes so many bytes.
    pub fn with_bytes(mut self, bytes: u64) -> Lowering {
        if let Lowering::Compute(compute) = &mut self {
            compute.bytes = Some(bytes);
        }
        self
    }

    /// An update of one operand.
    pub fn update(of: &TensorArg, kernel: impl Kernel + 'static) -> Lowering {
        Lowering::Update(Update {
            of: of.index,
            kernel: Box::new(kernel),
        })
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

/// Which kernels a lowering should choose where there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KernelSet {
    /// The fastest for this machine that compute in the types of the program.
    #[default]
    Fast,
    /// The fastest for this machine, where products may be computed in bf16 whatever their type:
    /// what a narrow precision allows.
    Narrow,
    /// Plain loops, as the oracle.
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
    /// The format that it is stored in, if not as it is typed: the kernel then gets its bytes.
    pub narrow: Option<WeightFormat>,
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

    /// A dimension counted from the end where negative, as a position. A tensor without
    /// dimensions takes 0 and -1, as PyTorch has it.
    pub fn dim(&self, dim: i64) -> Result<usize, OpError> {
        wrap_dim(dim, self.rank())
    }
}

/// `dim`, counted from the end where negative, as a position below `rank.max(1)`.
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

/// An argument with its value.
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
    /// Text.
    Str(String),
    /// An element type.
    DType(DType),
}

/// A call of an operator with everything known but the tensors' contents. Arguments are looked up
/// by the names that the schema gives them; a wrong type is an error of the file.
pub struct Call<'a> {
    /// The operator's schema.
    pub schema: &'a Schema,
    /// One entry for each argument of the schema.
    pub args: &'a [CallArg],
    /// Which kernels to choose.
    pub kernels: KernelSet,
    /// How many results the node of the call names, where that is known.
    pub results: Option<usize>,
}

/// The most results of a call that nobody has counted yet.
const MOST_RESULTS: usize = 1 << 16;

impl Call<'_> {
    /// A number of results that arguments ask for, if it is the one that the node names: a list is
    /// made of no other length.
    pub fn result_count(&self, count: usize) -> Result<usize, OpError> {
        match self.results {
            Some(named) if named != count => Err(OpError::new(format!(
                "the arguments ask for {count} results, the node names {named}"
            ))),
            None if count > MOST_RESULTS => Err(OpError::new(format!("{count} results"))),
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

    /// Whether plain loops are wanted.
    pub fn plain(&self) -> bool {
        self.kernels == KernelSet::Plain
    }

    /// Whether the operator writes an operand: `copy_` where `copy` has the same lowering.
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

    /// A truth value.
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

    /// A list of integers that are lengths: none may be negative.
    pub fn sizes(&self, name: &str) -> Result<Dims, OpError> {
        self.ints(name)?
            .into_iter()
            .map(|i| usize::try_from(i).map_err(|_| self.wrong(name, "a list of sizes")))
            .collect()
    }

    /// Text, or nothing.
    pub fn optional_str(&self, name: &str) -> Result<Option<&str>, OpError> {
        match self.arg(name)? {
            CallArg::Str(s) => Ok(Some(s)),
            CallArg::None => Ok(None),
            _ => Err(self.wrong(name, "text")),
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
