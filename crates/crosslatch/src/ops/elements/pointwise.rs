//! What all pointwise operators have in common: operands, their common type, broadcasting.
//!
//! A family that declares pointwise operators collects an operator's operands into a
//! [`Pointwise`], and gives it the function of numbers, once for each type that kernels compute
//! in. Everything else is the same for all of them.

use crosslatch_kernels::elements::blocks::Compute;
use crosslatch_kernels::elements::elementwise::{Blockwise, Class, Source, apply, blockwise};
use crosslatch_kernels::kernel::Kernel;
use crosslatch_kernels::simd::functions::Function;
use crosslatch_kernels::tensor::layout::broadcast_shapes;
use crosslatch_kernels::{
    DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef, Threads,
};

use crate::ir::{Call, CallArg, Lowering, Number, OpError, TensorArg};
use crate::ops::operands::layouts::{layout_not_accepted, view};
use crate::ops::operands::promotion::{self, Standing};
use crate::ops::operands::shapes::checked_shape;

/// An operand: a tensor or a number.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Operand<'a> {
    Tensor(&'a TensorArg),
    Number(Number),
}

impl<'a> Operand<'a> {
    /// The argument with this name.
    pub(in crate::ops) fn of(call: &'a Call<'_>, name: &str) -> Result<Operand<'a>, OpError> {
        Operand::optional(call, name)?
            .ok_or_else(|| OpError::new(format!("argument `{name}` is not given")))
    }

    /// The argument with this name; nothing where it is not given.
    pub(in crate::ops) fn optional(
        call: &'a Call<'_>,
        name: &str,
    ) -> Result<Option<Operand<'a>>, OpError> {
        let position = call.schema.position(name);
        match position.and_then(|i| call.args.get(i)) {
            Some(CallArg::Tensor(t)) => Ok(Some(Operand::Tensor(t))),
            Some(CallArg::Number(n)) => Ok(Some(Operand::Number(*n))),
            Some(CallArg::None) => Ok(None),
            _ => Err(OpError::new(format!(
                "argument `{name}` is no tensor and no number"
            ))),
        }
    }

    pub(in crate::ops) fn shape(&self) -> &'a [usize] {
        match self {
            Operand::Tensor(t) => t.shape(),
            Operand::Number(_) => &[],
        }
    }

    fn standing(&self) -> (Standing, DType) {
        match self {
            Operand::Tensor(t) if t.rank() > 0 => (Standing::Tensor, t.dtype),
            Operand::Tensor(t) => (Standing::Single, t.dtype),
            Operand::Number(n) => (Standing::Number, promotion::number_type(*n)),
        }
    }

    /// Whether it is one number, be it a tensor's.
    pub(in crate::ops) fn is_one(&self) -> bool {
        match self {
            Operand::Tensor(t) => t.layout.numel() == 1,
            Operand::Number(_) => true,
        }
    }

    pub(in crate::ops) fn is_number(&self) -> bool {
        matches!(self, Operand::Number(_))
    }

    fn slot(&self) -> Slot {
        match self {
            Operand::Tensor(t) => Slot::Input(t.index),
            Operand::Number(n) => Slot::Number(*n),
        }
    }
}

/// The type that operands are converted to before they are computed with.
pub(in crate::ops) fn common_type(operands: &[Operand<'_>]) -> DType {
    promotion::common_type(operands.iter().map(Operand::standing))
}

/// The common type, or the float type that integers become where only floats make sense.
pub(in crate::ops) fn common_float(operands: &[Operand<'_>]) -> DType {
    float_type(common_type(operands))
}

/// A float type itself; `f32` for others.
pub(in crate::ops) fn float_type(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::F32 }
}

/// The type that elements of this type are computed in; integers in their own.
pub(in crate::ops) fn computed_in(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

/// The shape that operands are broadcast to.
pub(in crate::ops) fn joint_shape(operands: &[Operand<'_>]) -> Result<Dims, OpError> {
    let shapes: Vec<&[usize]> = operands.iter().map(Operand::shape).collect();
    broadcast_shapes(&shapes)
        .ok_or_else(|| OpError::new(format!("shapes {shapes:?} do not broadcast")))
        .and_then(checked_shape)
}

/// Where a kernel finds an operand when it runs.
#[derive(Clone, Copy)]
enum Slot {
    Input(usize),
    Number(Number),
}

/// A pointwise operator of `N` operands, but for what it computes.
pub(in crate::ops) struct Pointwise<const N: usize> {
    slots: [Slot; N],
    /// Layouts of the operands that are tensors.
    layouts: [Option<Layout>; N],
    shape: Dims,
    /// The type that each operand is converted to; all are computed with in one.
    through: [DType; N],
}

impl<const N: usize> Pointwise<N> {
    /// Operands that are converted to `through` and broadcast to one shape.
    pub(in crate::ops) fn new(operands: [Operand<'_>; N], through: DType) -> Result<Self, OpError> {
        Pointwise::each(operands, [through; N])
    }

    /// The same, where each operand has a type of its own that it is converted to. All of them are
    /// computed with in the same type.
    pub(in crate::ops) fn each(
        operands: [Operand<'_>; N],
        through: [DType; N],
    ) -> Result<Self, OpError> {
        Ok(Pointwise {
            slots: operands.map(|o| o.slot()),
            layouts: operands.map(|o| match o {
                Operand::Tensor(t) => Some(t.layout.clone()),
                Operand::Number(_) => None,
            }),
            shape: joint_shape(&operands)?,
            through,
        })
    }

    /// The operator with results of type `result`, given what it computes in each class of types.
    pub(in crate::ops) fn lower(
        self,
        result: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
        i64s: impl Fn([i64; N]) -> i64 + Send + Sync + 'static,
    ) -> Lowering {
        let function = match Class::of(self.through[0]) {
            Class::F32 => Computation::F32(blockwise(f32s)),
            Class::F64 => Computation::F64(blockwise(f64s)),
            Class::I64 => Computation::I64(blockwise(i64s)),
        };
        self.computing(result, function)
    }

    /// The same for an operator of floats; `through` is a float type.
    pub(in crate::ops) fn floats(
        self,
        result: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
    ) -> Lowering {
        let function = Computation::floats(self.through[0], f32s, f64s);
        self.computing(result, function)
    }

    /// The same for an operator of integers and truth values.
    pub(in crate::ops) fn integers(
        self,
        result: DType,
        i64s: impl Fn([i64; N]) -> i64 + Send + Sync + 'static,
    ) -> Lowering {
        self.computing(result, Computation::I64(blockwise(i64s)))
    }

    /// The operator with results of type `dtype` and this computation, in the class of `through`.
    pub(in crate::ops) fn computing(self, dtype: DType, function: Computation<N>) -> Lowering {
        let shape = self.shape.clone();
        let of = self;
        let known = None;
        Lowering::compute(
            dtype,
            &shape,
            Computing {
                of,
                function,
                known,
            },
        )
    }

    /// An operand, broadcast to the result, in dimensions that are finer than the result's.
    fn divided(&self, operand: &Layout, finer: &[usize]) -> Option<Layout> {
        operand.expand(&self.shape)?.reshape(finer)
    }

    fn run<C: Compute>(
        &self,
        o: &mut Operands<'_, '_>,
        f: &Blockwise<C, N>,
    ) -> Result<(), KernelError> {
        let out = &mut o.outputs[0];
        let mut divided: [Option<Layout>; N] = [const { None }; N];
        if out.shape() != &self.shape[..] {
            for (layout, slot) in divided.iter_mut().zip(&self.slots) {
                if let Slot::Input(i) = slot {
                    let operand = self.divided(o.inputs[*i].layout(), out.shape());
                    *layout = Some(operand.ok_or_else(layout_not_accepted)?);
                }
            }
        }
        let mut tensors: [Option<TensorRef<'_>>; N] = [None; N];
        for i in 0..N {
            if let Slot::Input(k) = self.slots[i] {
                tensors[i] = Some(match &divided[i] {
                    Some(layout) => view(&o.inputs[k], layout)?,
                    None => o.inputs[k],
                });
            }
        }
        let mut sources = [Source::Number(C::default()); N];
        for (i, source) in sources.iter_mut().enumerate() {
            *source = match (self.slots[i], &tensors[i]) {
                (_, Some(tensor)) => Source::Tensor(tensor),
                (Slot::Number(number), None) => Source::Number(number_in(number, self.through[i])),
                (Slot::Input(_), None) => return Err(layout_not_accepted()),
            };
        }
        apply(out, sources, self.through, o.threads, f);
        Ok(())
    }
}

/// What a pointwise operator computes, in the type that it computes in.
pub(in crate::ops) enum Computation<const N: usize> {
    F32(Blockwise<f32, N>),
    F64(Blockwise<f64, N>),
    I64(Blockwise<i64, N>),
}

impl<const N: usize> Computation<N> {
    /// A computation on floats of this type.
    pub(in crate::ops) fn floats(
        dtype: DType,
        f32s: impl Fn([f32; N]) -> f32 + Send + Sync + 'static,
        f64s: impl Fn([f64; N]) -> f64 + Send + Sync + 'static,
    ) -> Self {
        match Class::of(dtype) {
            Class::F64 => Computation::F64(blockwise(f64s)),
            _ => Computation::F32(blockwise(f32s)),
        }
    }

    /// `out` from these tensors, which fit its shape and are taken through this type.
    pub(in crate::ops) fn apply(
        &self,
        out: &mut TensorMut<'_>,
        tensors: [&TensorRef<'_>; N],
        through: DType,
        threads: &Threads,
    ) {
        let through = [through; N];
        match self {
            Computation::F32(f) => apply(out, tensors.map(Source::Tensor), through, threads, f),
            Computation::F64(f) => apply(out, tensors.map(Source::Tensor), through, threads, f),
            Computation::I64(f) => apply(out, tensors.map(Source::Tensor), through, threads, f),
        }
    }
}

impl Pointwise<1> {
    /// The operator that maps a tensor of type `dtype` by a function in `f32`.
    pub(in crate::ops) fn mapping(self, dtype: DType, function: Function) -> Lowering {
        let (shape, [through]) = (self.shape.clone(), self.through);
        let kernel = Computing {
            known: [dtype, through]
                .iter()
                .all(|t| *t == DType::F32)
                .then_some(function),
            function: Computation::F32(Box::new(move |[x], y| {
                y.copy_from_slice(x);
                function.map(y);
            })),
            of: self,
        };
        Lowering::compute(through, &shape, kernel)
    }
}

/// The kernel of a pointwise operator.
struct Computing<const N: usize> {
    of: Pointwise<N>,
    function: Computation<N>,
    /// The function of `f32` that it is, if it is one.
    known: Option<Function>,
}

impl<const N: usize> Kernel for Computing<N> {
    /// A result may lie anywhere: pointwise kernels take any strides, and dimensions that are finer
    /// than the result's wherever those of the operands can be divided likewise.
    fn accepts(&self, layout: &Layout) -> bool {
        let mut layouts = self.of.layouts.iter().flatten();
        layouts.all(|operand| self.of.divided(operand, &layout.shape).is_some())
    }

    fn function(&self) -> Option<Function> {
        self.known
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        match &self.function {
            Computation::F32(f) => self.of.run(o, f),
            Computation::F64(f) => self.of.run(o, f),
            Computation::I64(f) => self.of.run(o, f),
        }
    }
}

/// A number in a type that kernels compute in.
pub(in crate::ops) fn number_as<C: Compute>(number: Number) -> C {
    match number {
        Number::Float(x) => C::load(x),
        Number::Int(i) => C::load(i),
        Number::Bool(b) => C::load(b as i64),
    }
}

/// A number in a type that kernels compute in, as an element of type `dtype` has it.
pub(in crate::ops) fn number_in<C: Compute>(number: Number, dtype: DType) -> C {
    number_as::<C>(number).through(dtype)
}

/// An operator on the type of its operands: one function for floats of both widths, and one for
/// integers.
macro_rules! lower_in_own_type {
    ($pointwise:expr, $result:expr, [$($x:ident),*], $float:expr, $int:expr) => {
        $pointwise.lower($result, move |[$($x),*]| $float, move |[$($x),*]| $float, move |[$($x),*]| $int)
    };
}
pub(in crate::ops) use lower_in_own_type;
