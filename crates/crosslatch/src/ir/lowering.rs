//! What a call comes down to once all sizes are known.
//!
//! A [`Lowering`] is an operator's answer to one call: a view (no work at run time, only another
//! layout of an operand's memory), a copy, a computation into fresh memory, a change of an
//! operand's memory by a kernel or by a copy into a part of it, numbers that are known now, or
//! nothing at all. The shape rule and the kernel are thus one answer. The reference interpreter and
//! the planner both act on it; they differ only in what they do about memory.

use crosslatch_kernels::tensor::{MAX_RANK, is_addressable};
use crosslatch_kernels::{DType, Dims, Kernel, Layout};

use super::call::{Number, OpError, TensorArg};

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
    /// The view to copy.
    pub view: View,
    /// Shape of the result; it has as many elements as the view.
    pub shape: Dims,
}

/// Results in fresh, contiguous memory.
pub struct Compute {
    /// Type and shape of each result.
    pub results: Vec<(DType, Dims)>,
    /// The kernel that fills them.
    pub kernel: Box<dyn Kernel>,
    /// Approximate number of arithmetic operations, for reports.
    pub flops: u64,
    /// Bytes read and written, for reports, where that is not all operands and results.
    pub bytes: Option<u64>,
}

impl Compute {
    /// Results that take one operation an element.
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

/// A change of an operand's memory by a kernel.
pub struct Update {
    /// Index among the tensor operands of the one that is changed. The kernel gets it as
    /// `outputs[0]`, with its contents; `inputs[of]` is an empty tensor in its place.
    pub of: usize,
    /// The kernel that changes it.
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
    /// The part of a destination with this layout, and the source broadcast to it.
    pub fn places(&self, destination: &Layout, source: &Layout) -> Result<[Layout; 2], OpError> {
        let part = (self.part)(destination)?;
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

    /// An update of one operand.
    pub fn update(of: &TensorArg, kernel: impl Kernel + 'static) -> Lowering {
        Lowering::Update(Update {
            of: of.index,
            kernel: Box::new(kernel),
        })
    }

    /// Sets the number of arithmetic operations of a computation.
    pub fn with_flops(mut self, flops: u64) -> Lowering {
        if let Lowering::Compute(compute) = &mut self {
            compute.flops = flops;
        }
        self
    }

    /// Sets the number of bytes that a computation reads and writes.
    pub fn with_bytes(mut self, bytes: u64) -> Lowering {
        if let Lowering::Compute(compute) = &mut self {
            compute.bytes = Some(bytes);
        }
        self
    }

    /// This lowering, if all its results can exist: their numbers of elements and of bytes do not
    /// overflow.
    pub(super) fn checked(self) -> Result<Lowering, OpError> {
        match &self {
            Lowering::Views(views) => views.iter().try_for_each(|v| check_view(&v.layout))?,
            Lowering::Copy(copy) => {
                check_view(&copy.view.layout)?;
                check_shape(&copy.shape)?;
            }
            Lowering::Compute(compute) => {
                let mut shapes = compute.results.iter().map(|(_, shape)| shape);
                shapes.try_for_each(|shape| check_shape(shape))?;
            }
            Lowering::Update(_)
            | Lowering::Assign(_)
            | Lowering::Numbers(_)
            | Lowering::Nothing => {}
        }
        Ok(self)
    }
}

fn check_view(layout: &Layout) -> Result<(), OpError> {
    check_shape(&layout.shape)?;
    match layout.end().is_some() && layout.strides.len() == layout.rank() {
        true => Ok(()),
        false => Err(OpError::new("the offsets of a view overflow")),
    }
}

/// Fails if no tensor of this shape can exist.
pub fn check_shape(shape: &[usize]) -> Result<(), OpError> {
    match shape.len() {
        rank if rank > MAX_RANK => Err(OpError::unsupported(format!(
            "a tensor with {rank} dimensions; {MAX_RANK} is the most"
        ))),
        _ if is_addressable(shape) => Ok(()),
        _ => Err(OpError::new(format!(
            "a tensor of shape {shape:?} is too large"
        ))),
    }
}
