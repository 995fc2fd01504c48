//! What all elementwise operators share: operands, the type that they meet in, broadcasting.
//!
//! An operator collects its operands into a [`Pointwise`] and gives it the function of numbers,
//! once for each type that kernels compute in ([`Class`]): `f32`, `f64` and `i64`. Everything else
//! is the same for all of them.

use crosslatch_kernels::elements::{Blockwise, Class, Compute, Source, apply, blockwise};
use crosslatch_kernels::kernel::Kernel;
use crosslatch_kernels::simd::Function;
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{
    DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef, Threads,
};

use crate::ir::{Call, CallArg, Lowering, Number, OpError, TensorArg};
use crate::ops::operands::layouts::{layout_not_accepted, view};
use crate::ops::operands::promotion::{self, Standing};
use crate::ops::operands::shapes::checked_shape;

/// An operand: a tensor or a number.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    Tensor(&'a TensorArg),
    Number(Number),
}

impl<'a> Operand<'a> {
    /// The argument with this name.
    pub(super) fn of(call: &'a Call<'_>, name: &str) -> Result<Operand<'a>, OpError> {
        Operand::optional(call, name)?
            .ok_or_else(|| OpError::new(format!("argument `{name}` is not given")))
    }

    /// The argument with this name, or `None` if it is not given.
    pub(super) fn optional(call: &'a Call<'_>, name: &str) -> Result<Option<Operand<'a>>, OpError> {
        let position = call.schema.position(name);
        match position.and_then(|i| call.args.get(i)) {
            Some(CallArg::Tensor(t)) => Ok(Some(Operand::Tensor(t))),
            Some(CallArg::Number(n)) => Ok(Some(Operand::Number(*n))),
            Some(CallArg::None) => Ok(None),
            _ => Err(OpError::new(format!(
                "argument `{name}` is neither a tensor nor a number"
            ))),
        }
    }

    pub(super) fn shape(&self) -> &'a [usize] {
        match self {
            Operand::Tensor(t) => t.shape(),
            Operand::Number(_) => &[],
        }
    }

    /// What it counts when the common type is found.
    pub(super) fn standing(&self) -> (Standing, DType) {
        match self {
            Operand::Tensor(t) if t.rank() > 0 => (Standing::Tensor, t.dtype),
            Operand::Tensor(t) => (Standing::Scalar, t.dtype),
            Operand::Number(n) => (Standing::Number, promotion::number_type(*n)),
        }
    }

    /// Whether it is a single number, perhaps in a tensor.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Operand::Tensor(t) => t.layout.numel() == 1,
            Operand::Number(_) => true,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Operand::Number(_))
    }
}

/// The two operands of a binary operator, whatever the second is called.
pub(super) fn binary_operands<'c>(call: &'c Call<'_>) -> Result<[Operand<'c>; 2], OpError> {
    let second = ["other", "exponent", "values"]
        .into_iter()
        .find(|name| call.has(name));
    Ok([
        Operand::of(call, "self")?,
        Operand::of(call, second.unwrap_or("other"))?,
    ])
}

/// The type that operands are converted to before they are computed with.
pub(super) fn common_type(operands: &[Operand<'_>]) -> DType {
    promotion::common_type(operands.iter().map(Operand::standing))
}

/// The common type, or the type that integers become where the operator is defined for floats only.
pub(super) fn common_float_type(operands: &[Operand<'_>]) -> DType {
    float_type(common_type(operands))
}

/// A float type itself; `f32` for others.
pub(in crate::ops) fn float_type(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::F32 }
}

/// The type in which elements of this type are computed; integers in their own.
pub(super) fn compute_type(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

/// The shape that operands are broadcast to.
pub(super) fn broadcast_shape(operands: &[Operand<'_>]) -> Result<Dims, OpError> {
    let shapes: Vec<&[usize]> = operands.iter().map(Operand::shape).collect();
    broadcast_shapes(&shapes)
        .ok_or_else(|| OpError::new(format!("shapes {shapes:?} do not broadcast")))
        .and_then(checked_shape)
}

/// An elementwise operator of `N` operands, except for what it computes.
pub(super) struct Pointwise<const N: usize> {
    operands: [Bound; N],
    shape: Dims,
    /// The type that each operand is converted to, in which a 16-bit type rounds it.
    operand_types: [DType; N],
}

/// An operand as a kernel keeps it.
#[derive(Clone)]
enum Bound {
    Input { index: usize, planned: Layout },
    Number(Number),
}

impl<const N: usize> Pointwise<N> {
    /// Operands that are converted to one type and broadcast to one shape.
    pub(super) fn new(operands: [Operand<'_>; N], dtype: DType) -> Result<Self, OpError> {
        Pointwise::with_types(operands, [dtype; N])
    }

    /// Operands that are each converted to a type of their own and broadcast to one shape. The
    /// types must be of one class: the class is what is computed in.
    pub(super) fn with_types(
        operands: [Operand<'_>; N],
        operand_types: [DType; N],
    ) -> Result<Self, OpError> {
        Ok(Pointwise {
            operands: operands.map(|o| match o {
                Operand::Tensor(t) => Bound::Input {
                    index: t.index,
                    planned: t.layout.clone(),
                },
                Operand::Number(n) => Bound::Number(n),
            }),
            shape: broadcast_shape(&operands)?,
            operand_types,
        })
    }

    /// The operator with results of type `result`, given its function for each class of types.
    pub(super) fn lower(
        self,
        result: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
        i64s: impl Fn([i64; N]) -> i64 + Send + Sync + 'static,
    ) -> Lowering {
        let function = match Class::of(self.operand_types[0]) {
            Class::F32 => Computation::F32(blockwise(f32s)),
            Class::F64 => Computation::F64(blockwise(f64s)),
            Class::I64 => Computation::I64(blockwise(i64s)),
        };
        self.lower_with(result, function)
    }

    /// The operator, whose operands are converted to floats.
    pub(super) fn lower_floats(
        self,
        result: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
    ) -> Lowering {
        let function = Computation::floats(self.operand_types[0], f32s, f64s);
        self.lower_with(result, function)
    }

    /// The operator, whose operands are converted to integers or bools.
    pub(super) fn lower_integers(
        self,
        result: DType,
        i64s: impl Fn([i64; N]) -> i64 + Send + Sync + 'static,
    ) -> Lowering {
        self.lower_with(result, Computation::I64(blockwise(i64s)))
    }

    /// The operator with this computation, which is in the class of its operands' types.
    pub(super) fn lower_with(self, result: DType, function: Computation<N>) -> Lowering {
        let shape = self.shape.clone();
        let kernel = PointwiseKernel {
            operator: self,
            computation: function,
            function: None,
        };
        Lowering::compute(result, &shape, kernel)
    }

    /// An operand broadcast to the result, whose dimensions are split to this shape.
    fn expand_to(&self, operand: &Layout, shape: &[usize]) -> Option<Layout> {
        operand.expand(&self.shape)?.reshape(shape)
    }

    fn run<C: Compute>(
        &self,
        o: &mut Operands<'_, '_>,
        f: &Blockwise<C, N>,
    ) -> Result<(), KernelError> {
        let out = &mut o.outputs[0];
        let mut expanded: [Option<Layout>; N] = [const { None }; N];
        if out.shape() != &self.shape[..] {
            for (layout, operand) in expanded.iter_mut().zip(&self.operands) {
                if let Bound::Input { index, .. } = operand {
                    let operand = self.expand_to(o.inputs[*index].layout(), out.shape());
                    *layout = Some(operand.ok_or_else(layout_not_accepted)?);
                }
            }
        }
        let mut tensors: [Option<TensorRef<'_>>; N] = [None; N];
        for i in 0..N {
            if let Bound::Input { index, .. } = self.operands[i] {
                tensors[i] = Some(match &expanded[i] {
                    Some(layout) => view(&o.inputs[index], layout)?,
                    None => o.inputs[index],
                });
            }
        }
        let mut sources = [Source::Number(C::default()); N];
        for (i, source) in sources.iter_mut().enumerate() {
            *source = match (&self.operands[i], &tensors[i]) {
                (_, Some(tensor)) => Source::Tensor(tensor),
                (Bound::Number(number), None) => {
                    Source::Number(number_in(*number, self.operand_types[i]))
                }
                (Bound::Input { .. }, None) => return Err(layout_not_accepted()),
            };
        }
        apply(out, sources, self.operand_types, o.threads, f);
        Ok(())
    }
}

/// What an elementwise operator computes, in the class of types that it computes in.
pub(super) enum Computation<const N: usize> {
    F32(Blockwise<f32, N>),
    F64(Blockwise<f64, N>),
    I64(Blockwise<i64, N>),
}

impl<const N: usize> Computation<N> {
    /// A computation on floats of this type.
    pub(super) fn floats(
        dtype: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
    ) -> Self {
        match Class::of(dtype) {
            Class::F64 => Computation::F64(blockwise(f64s)),
            _ => Computation::F32(blockwise(f32s)),
        }
    }

    /// Computes `out` from tensors of its shape, which are converted to this type.
    pub(super) fn apply(
        &self,
        out: &mut TensorMut<'_>,
        tensors: [&TensorRef<'_>; N],
        dtype: DType,
        threads: &Threads,
    ) {
        let types = [dtype; N];
        match self {
            Computation::F32(f) => apply(out, tensors.map(Source::Tensor), types, threads, f),
            Computation::F64(f) => apply(out, tensors.map(Source::Tensor), types, threads, f),
            Computation::I64(f) => apply(out, tensors.map(Source::Tensor), types, threads, f),
        }
    }
}

impl Pointwise<1> {
    /// The operator that applies a function of the kernels, in `f32`, to a tensor of type `dtype`.
    pub(super) fn lower_function(self, dtype: DType, function: Function) -> Lowering {
        let (shape, [result]) = (self.shape.clone(), self.operand_types);
        let is_f32 = [dtype, result].iter().all(|t| *t == DType::F32);
        let kernel = PointwiseKernel {
            function: is_f32.then_some(function),
            computation: Computation::F32(Box::new(move |[x], y| {
                y.copy_from_slice(x);
                function.map(y);
            })),
            operator: self,
        };
        Lowering::compute(result, &shape, kernel)
    }
}

/// The kernel of an elementwise operator.
struct PointwiseKernel<const N: usize> {
    operator: Pointwise<N>,
    computation: Computation<N>,
    /// The elementwise function of `f32`, if that is all this kernel does.
    function: Option<Function>,
}

impl<const N: usize> Kernel for PointwiseKernel<N> {
    /// Elementwise kernels write any strides. The result's dimensions may also be split, wherever
    /// those of the operands can be split likewise.
    fn accepts(&self, layout: &Layout) -> bool {
        let mut operands = self.operator.operands.iter();
        operands.all(|operand| match operand {
            Bound::Input { planned, .. } => {
                self.operator.expand_to(planned, &layout.shape).is_some()
            }
            Bound::Number(_) => true,
        })
    }

    fn elementwise_function(&self) -> Option<Function> {
        self.function
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        match &self.computation {
            Computation::F32(f) => self.operator.run(o, f),
            Computation::F64(f) => self.operator.run(o, f),
            Computation::I64(f) => self.operator.run(o, f),
        }
    }
}

/// A number in a type that kernels compute in.
pub(super) fn number_as<C: Compute>(number: Number) -> C {
    match number {
        Number::Float(x) => C::load(x),
        Number::Int(i) => C::load(i),
        Number::Bool(b) => C::load(b as i64),
    }
}

/// A number in a type that kernels compute in, rounded or wrapped as an element of type `dtype`.
pub(in crate::ops) fn number_in<C: Compute>(number: Number, dtype: DType) -> C {
    number_as::<C>(number).through(dtype)
}

/// A float rounded to 16 bits, if `dtype` has so few: PyTorch rounds some intermediate results.
pub(super) fn round_to<C: Compute>(x: C, dtype: DType) -> C {
    match dtype {
        DType::F16 | DType::BF16 => x.through(dtype),
        _ => x,
    }
}

/// Lowers an operator that computes in the type of its operands: one expression for floats of both
/// widths, and one for integers.
macro_rules! lower_in_own_type {
    ($pointwise:expr, $result:expr, [$($x:ident),*], $float:expr, $int:expr) => {
        $pointwise.lower($result, move |[$($x),*]| $float, move |[$($x),*]| $float, move |[$($x),*]| $int)
    };
}
pub(super) use lower_in_own_type;
