//! Complex numbers: made of real ones and back, and the elementwise operators of them.
//!
//! Elementwise operators of real numbers name the function here that lowers them for complex ones
//! ([`Row::complex`](crate::ir::catalogue::Row::complex)). PyTorch's conjugates are views with a
//! mark; here they are computed. Views of the parts of complex numbers are copied, because views do
//! not change the element type here.

use crosslatch_kernels::complex::{Complex, Source, apply};
use crosslatch_kernels::{DType, Dims, Layout, Operands, TensorRef};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::elements::pointwise::{
    Operand, Pointwise, binary_operands, broadcast_shape, common_float_type,
};
use crate::ops::operands::layouts::{layout_not_accepted, view};
use crate::ops::operands::promotion;

pub(super) const OPERATORS: Table = &[
    op("aten::complex(Tensor real, Tensor imag) -> Tensor", |c| {
        of_parts(c, ["real", "imag"], |[re, im]| Complex {
            re: re.re,
            im: im.re,
        })
    })
    .takes_complex(),
    op("aten::polar(Tensor abs, Tensor angle) -> Tensor", |c| {
        of_parts(c, ["abs", "angle"], |[abs, angle]| {
            Complex::polar(abs.re, angle.re)
        })
    })
    .takes_complex(),
    op(
        "aten::view_as_complex(Tensor(a) self) -> Tensor(a)",
        view_as_complex,
    )
    .takes_complex(),
    op(
        "aten::view_as_complex_copy(Tensor self) -> Tensor",
        view_as_complex,
    )
    .takes_complex(),
    op(
        "aten::view_as_real(Tensor(a) self) -> Tensor(a)",
        view_as_real,
    )
    .takes_complex(),
    op(
        "aten::view_as_real_copy(Tensor self) -> Tensor",
        view_as_real,
    )
    .takes_complex(),
    op("aten::real(Tensor(a) self) -> Tensor(a)", identity).complex(real),
    op("aten::imag(Tensor(a) self) -> Tensor(a)", imag).complex(imag),
    op("aten::conj(Tensor(a) self) -> Tensor(a)", identity).complex(conj),
    op("aten::_conj(Tensor(a) self) -> Tensor(a)", identity).complex(conj),
    op("aten::_conj_copy(Tensor self) -> Tensor", copied).complex(conj),
    op_with_in_place("aten::conj_physical(Tensor self) -> Tensor", copied).complex(conj),
    op("aten::_conj_physical(Tensor self) -> Tensor", copied).complex(conj),
    op("aten::angle(Tensor self) -> Tensor", angle_of_real).complex(angle),
];

/// Lowers to a result of this type and of the shape that the operands are broadcast to.
fn lower<const N: usize>(
    operands: [Operand<'_>; N],
    dtype: DType,
    f: impl Fn([Complex; N]) -> Complex + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let shape = broadcast_shape(&operands)?;
    let operands = operands.map(|operand| match operand {
        Operand::Tensor(t) => Bound::Input(t.index),
        Operand::Number(n) => Bound::Number(Complex::real(n.to_f64())),
    });
    let kernel = move |o: &mut Operands<'_, '_>| {
        let shape = o.outputs[0].shape();
        let mut layouts: [Option<Layout>; N] = [const { None }; N];
        for (layout, operand) in layouts.iter_mut().zip(&operands) {
            if let Bound::Input(index) = operand {
                let expanded = o.inputs[*index].layout().expand(shape);
                *layout = Some(expanded.ok_or_else(layout_not_accepted)?);
            }
        }
        let mut tensors: [Option<TensorRef<'_>>; N] = [None; N];
        for ((tensor, layout), operand) in tensors.iter_mut().zip(&layouts).zip(&operands) {
            if let (Bound::Input(index), Some(layout)) = (operand, layout) {
                *tensor = Some(view(&o.inputs[*index], layout)?);
            }
        }
        let mut sources = [Source::Number(Complex::real(0.0)); N];
        for ((source, tensor), operand) in sources.iter_mut().zip(&tensors).zip(&operands) {
            *source = match (tensor, operand) {
                (Some(tensor), _) => Source::Tensor(tensor),
                (None, Bound::Number(number)) => Source::Number(*number),
                (None, Bound::Input(_)) => return Err(layout_not_accepted()),
            };
        }
        apply(&mut o.outputs[0], sources, o.threads, &f);
        Ok(())
    };
    Ok(Lowering::compute(dtype, &shape, kernel))
}

/// An operand as a kernel keeps it.
enum Bound {
    Input(usize),
    Number(Complex),
}

/// The complex type that operands meet in: its parts are of the type that theirs meet in.
fn complex_type(operands: &[Operand<'_>]) -> Result<DType, OpError> {
    let parts = promotion::common_type(operands.iter().map(|operand| {
        let (standing, dtype) = operand.standing();
        let part = match dtype.of_parts() {
            part if part.is_float() => part,
            _ => DType::F32,
        };
        // A number or an integer does not widen the parts.
        match operand.is_number() || !(dtype.is_float() || dtype.is_complex()) {
            true => (promotion::Standing::Number, part),
            false => (standing, part),
        }
    }));
    parts.of_pairs().ok_or_else(|| {
        OpError::unsupported(format!(
            "complex numbers with parts of {parts} are not supported"
        ))
    })
}

/// The complex type that an operand has, or becomes.
fn own<'c>(call: &'c Call<'_>) -> Result<(Operand<'c>, DType), OpError> {
    let this = Operand::of(call, "self")?;
    let dtype = complex_type(&[this])?;
    Ok((this, dtype))
}

/// Complex numbers of two real tensors.
fn of_parts(
    call: &Call<'_>,
    names: [&str; 2],
    f: fn([Complex; 2]) -> Complex,
) -> Result<Lowering, OpError> {
    let [a, b] = names.map(|name| call.tensor(name));
    let (a, b) = (a?, b?);
    match (a.dtype == b.dtype).then(|| a.dtype.of_pairs()).flatten() {
        Some(dtype) => lower([Operand::Tensor(a), Operand::Tensor(b)], dtype, f),
        None => Err(OpError::new(format!(
            "complex numbers are not made of {} and {}",
            a.dtype, b.dtype
        ))),
    }
}

/// Pairs along the last dimension as complex numbers.
fn view_as_complex(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let last = this.rank().checked_sub(1).filter(|d| this.shape()[*d] == 2);
    let (Some(last), Some(dtype)) = (last, this.dtype.of_pairs()) else {
        return Err(OpError::new(format!(
            "{}{:?} are no pairs of real and imaginary parts",
            this.dtype,
            this.shape()
        )));
    };
    let index = this.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let both = o.inputs[index].layout().clone();
        let parts = [0, 1].map(|i| both.select(last, i));
        let re = view(&o.inputs[index], &parts[0])?;
        let im = view(&o.inputs[index], &parts[1])?;
        let sources = [Source::Tensor(&re), Source::Tensor(&im)];
        apply(&mut o.outputs[0], sources, o.threads, &|[re, im]| Complex {
            re: re.re,
            im: im.re,
        });
        Ok(())
    };
    Ok(Lowering::compute(dtype, &this.shape()[..last], kernel))
}

/// Complex numbers as pairs along a new last dimension.
fn view_as_real(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    if !this.dtype.is_complex() {
        return Err(OpError::new(format!(
            "{} has no imaginary part",
            this.dtype
        )));
    }
    let mut shape: Dims = this.shape().into();
    shape.push(2);
    let index = this.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (both, x) = (o.outputs[0].layout().clone(), o.inputs[index]);
        let last = both.rank() - 1;
        for (i, f) in [real_part, imaginary_part].into_iter().enumerate() {
            let part = both.select(last, i);
            let mut part = o.outputs[0].with_layout(&part)?;
            apply(&mut part, [Source::Tensor(&x)], o.threads, &f);
        }
        Ok(())
    };
    Ok(Lowering::compute(this.dtype.of_parts(), &shape, kernel))
}

fn real_part([x]: [Complex; 1]) -> Complex {
    Complex::real(x.re)
}

fn imaginary_part([x]: [Complex; 1]) -> Complex {
    Complex::real(x.im)
}

fn identity(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    Ok(Lowering::view(this, this.layout.clone()))
}

fn copied(call: &Call<'_>) -> Result<Lowering, OpError> {
    Ok(Lowering::copy(call.tensor("self")?))
}

fn real(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, dtype) = own(call)?;
    lower([this], dtype.of_parts(), real_part)
}

fn imag(call: &Call<'_>) -> Result<Lowering, OpError> {
    match call.tensor("self")?.dtype.is_complex() {
        true => {
            let (this, dtype) = own(call)?;
            lower([this], dtype.of_parts(), imaginary_part)
        }
        false => Err(OpError::new("real numbers have no imaginary part")),
    }
}

fn conj(call: &Call<'_>) -> Result<Lowering, OpError> {
    unary(call, Complex::conj)
}

/// The angle of real numbers: that of negative ones is a half turn.
fn angle_of_real(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = Operand::of(call, "self")?;
    let dtype = common_float_type(&[this]);
    let of = |x: f64| match x {
        x if x.is_nan() => x,
        x if x < 0.0 => std::f64::consts::PI,
        _ => 0.0,
    };
    Ok(Pointwise::new([this], dtype)?.lower_floats(
        dtype,
        move |[x]| of(f64::from(x)) as f32,
        move |[x]| of(x),
    ))
}

fn angle(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, dtype) = own(call)?;
    lower([this], dtype.of_parts(), |[x]| Complex::real(x.angle()))
}

pub(super) fn abs(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, dtype) = own(call)?;
    lower([this], dtype.of_parts(), |[x]| Complex::real(x.abs()))
}

/// A function of one complex number.
pub(super) fn unary(call: &Call<'_>, f: fn(Complex) -> Complex) -> Result<Lowering, OpError> {
    let (this, dtype) = own(call)?;
    lower([this], dtype, move |[x]| f(x))
}

/// A function of two complex numbers, the second of which is multiplied by `alpha`, if there is
/// one.
pub(super) fn binary(
    call: &Call<'_>,
    f: fn(Complex, Complex) -> Complex,
) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    let dtype = complex_type(&operands)?;
    let alpha = match call.has("alpha") {
        true => call.number("alpha")?.to_f64(),
        false => 1.0,
    };
    if call.has("rounding_mode") && call.optional_str("rounding_mode")?.is_some() {
        return Err(OpError::new("quotients of complex numbers are not rounded"));
    }
    lower(operands, dtype, move |[x, y]| match alpha == 1.0 {
        true => f(x, y),
        false => f(x, y * Complex::real(alpha)),
    })
}

/// `other - alpha * self`
pub(super) fn rsub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [x, y] = binary_operands(call)?;
    let dtype = complex_type(&[x, y])?;
    let alpha = call.number("alpha")?.to_f64();
    lower([x, y], dtype, move |[x, y]| y - x * Complex::real(alpha))
}

/// Whether two complex numbers are equal, or whether they are not.
pub(super) fn equal(call: &Call<'_>, wanted: bool) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    lower(operands, DType::Bool, move |[x, y]| {
        Complex::real(f64::from(u8::from((x == y) == wanted)))
    })
}
