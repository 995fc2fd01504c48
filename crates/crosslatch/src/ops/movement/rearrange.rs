//! Padding, flipping and rolling: operators that read each dimension of a tensor in another order.
//!
//! They share one kernel ([`crosslatch_kernels::movement::rearrange`]), which follows a map of
//! indices for each dimension; the maps are made here. `tril` and `triu`, which zero the elements on
//! one side of a diagonal, are here as well.

use crosslatch_kernels::movement::{DimMap, OUTSIDE, Scalar, Triangle, rearrange, triangle};
use crosslatch_kernels::{Dims, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::operands::layouts::view;
use crate::ops::operands::range::value_of;
use crate::ops::operands::shapes::checked_shape;
use crate::ops::views::dims::distinct_dims;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor",
        roll,
    )
    .takes_complex(),
    op("aten::flip(Tensor self, int[] dims) -> Tensor", |c| {
        let this = c.tensor("self")?;
        flip(this, &distinct_dims(&c.ints("dims")?, this.rank())?)
    })
    .takes_complex(),
    op("aten::fliplr(Tensor self) -> Tensor", |c| flip_at(c, 1)).takes_complex(),
    op("aten::flipud(Tensor self) -> Tensor", |c| flip_at(c, 0)).takes_complex(),
    op(
        "aten::rot90(Tensor self, int k=1, int[] dims=[0,1]) -> Tensor",
        rot90,
    )
    .takes_complex(),
    op(
        "aten::constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor",
        |c| pad(c, "pad", Mode::Constant, c.number("value")?),
    )
    .takes_complex(),
    op(
        "aten::pad(Tensor self, SymInt[] pad, str mode=\"constant\", float? value=None) -> Tensor",
        |c| {
            let value = Number::Float(c.optional_float("value")?.unwrap_or(0.0));
            pad(
                c,
                "pad",
                Mode::named(c.optional_str("mode")?.unwrap_or("constant"))?,
                value,
            )
        },
    )
    .takes_complex(),
    op(
        "aten::reflection_pad1d(Tensor self, SymInt[2] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Reflect),
    )
    .takes_complex(),
    op(
        "aten::reflection_pad2d(Tensor self, SymInt[4] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Reflect),
    )
    .takes_complex(),
    op(
        "aten::reflection_pad3d(Tensor self, SymInt[6] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Reflect),
    )
    .takes_complex(),
    op(
        "aten::replication_pad1d(Tensor self, SymInt[2] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Replicate),
    )
    .takes_complex(),
    op(
        "aten::replication_pad2d(Tensor self, SymInt[4] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Replicate),
    )
    .takes_complex(),
    op(
        "aten::replication_pad3d(Tensor self, SymInt[6] padding) -> Tensor",
        |c| pad_last_dims(c, Mode::Replicate),
    )
    .takes_complex(),
    op_with_in_place(
        "aten::tril(Tensor self, SymInt diagonal=0) -> Tensor",
        |c| lower_triangle(c, Triangle::Lower),
    ),
    op_with_in_place(
        "aten::triu(Tensor self, SymInt diagonal=0) -> Tensor",
        |c| lower_triangle(c, Triangle::Upper),
    ),
];

/// The longest map: a longer one would cost more than the operator itself.
const MAX_MAP: usize = 1 << 28;

/// Lowers an operator whose maps are given as a function: dimension `d` of the result has length
/// `shape[d]` and takes index `i` from `map(d, i)`. Only the dimensions in `mapped` have a map; before
/// they are read, the two in `transposed` are transposed.
fn rearrange_by(
    this: &TensorArg,
    shape: Dims,
    mapped: &[usize],
    map: impl Fn(usize, usize) -> usize,
    outside: Scalar,
    transposed: Option<(usize, usize)>,
) -> Result<Lowering, OpError> {
    let shape = checked_shape(shape)?;
    let of = this.index;
    let mut maps: Vec<DimMap> = vec![None; shape.len()];
    if !shape.contains(&0) {
        for &d in mapped {
            if shape[d] > MAX_MAP {
                return Err(OpError::unsupported(format!(
                    "a dimension of length {} is too long",
                    shape[d]
                )));
            }
            maps[d] = Some((0..shape[d]).map(|i| map(d, i)).collect());
        }
    }
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let mut layout = o.inputs[of].layout().clone();
            if let Some((a, b)) = transposed {
                layout = layout.transpose(a, b);
            }
            let from = view(&o.inputs[of], &layout)?;
            rearrange(&mut o.outputs[0], &from, &maps, outside, o.threads);
            Ok(())
        },
    ))
}

/// `shift` modulo `len`, and 0 if that is 0.
fn modulo(shift: i64, len: usize) -> usize {
    match len {
        0 => 0,
        _ => shift.rem_euclid(len as i64) as usize,
    }
}

fn roll(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let (shifts, dims) = (call.ints("shifts")?, call.ints("dims")?);
    if dims.is_empty() && shifts.len() == 1 {
        return roll_flat(this, shifts[0]);
    }
    if dims.len() != shifts.len() {
        return Err(OpError::new("`shifts` and `dims` differ in length"));
    }
    // A dimension may be rolled twice; the shifts add up.
    let mut total = Dims::from_elem(0, this.rank());
    let mut mapped = Dims::new();
    for (&shift, &dim) in shifts.iter().zip(&dims) {
        let d = this.dim(dim)?;
        if this.rank() == 0 {
            continue;
        }
        let len = this.shape()[d];
        total[d] = modulo((total[d] + modulo(shift, len)) as i64, len);
        if !mapped.contains(&d) {
            mapped.push(d);
        }
    }
    let shape = this.layout.shape.clone();
    let from = |d: usize, i: usize| (i + this.shape()[d] - total[d]) % this.shape()[d];
    rearrange_by(this, shape, &mapped, from, Scalar::Int(0), None)
}

/// A roll of all elements in row-major order.
fn roll_flat(this: &TensorArg, shift: i64) -> Result<Lowering, OpError> {
    let of = this.index;
    let numel = this.layout.numel();
    let first = modulo(numel as i64 - modulo(shift, numel) as i64, numel);
    Ok(Lowering::compute(
        this.dtype,
        this.shape(),
        move |o: &mut Operands<'_, '_>| {
            let (from, to) = (&o.inputs[of], &mut o.outputs[0]);
            let to_layout = to.layout().clone();
            let places = from.layout().positions().skip(first);
            let places = places.chain(from.layout().positions().take(first));
            let size = from.dtype().size();
            let (target, source) = (to.bytes_mut(), from.bytes());
            for (a, b) in to_layout.positions().zip(places) {
                target[a * size..][..size].copy_from_slice(&source[b * size..][..size]);
            }
            Ok(())
        },
    ))
}

fn flip(this: &TensorArg, dims: &[usize]) -> Result<Lowering, OpError> {
    let dims: Dims = dims.iter().copied().filter(|&d| d < this.rank()).collect();
    let shape = this.layout.shape.clone();
    rearrange_by(
        this,
        shape,
        &dims,
        |d, i| this.shape()[d] - 1 - i,
        Scalar::Int(0),
        None,
    )
}

fn flip_at(call: &Call<'_>, dim: usize) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    if this.rank() <= dim {
        return Err(OpError::new(format!(
            "a tensor of rank {} has too few dimensions",
            this.rank()
        )));
    }
    flip(this, &[dim])
}

fn rot90(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dims = distinct_dims(&call.ints("dims")?, this.rank())?;
    let &[a, b] = dims.as_slice() else {
        return Err(OpError::new("`dims` are not two dimensions"));
    };
    if this.rank() < 2 {
        return Err(OpError::new(
            "a tensor with fewer than two dimensions cannot be rotated",
        ));
    }
    let k = modulo(call.int("k")?, 4);
    if k.is_multiple_of(2) {
        return flip(this, if k == 0 { &[] } else { &dims });
    }
    // A rotation by 90 degrees exchanges the dimensions and flips one of them.
    let mut shape = this.layout.shape.clone();
    shape.swap(a, b);
    let flipped = if k == 1 { a } else { b };
    let last = shape[flipped].wrapping_sub(1);
    rearrange_by(
        this,
        shape,
        &[flipped],
        |_, i| last - i,
        Scalar::Int(0),
        Some((a, b)),
    )
}

/// How the padding is filled.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Constant,
    Reflect,
    Replicate,
    Circular,
}

impl Mode {
    fn named(name: &str) -> Result<Mode, OpError> {
        Ok(match name {
            "constant" => Mode::Constant,
            "reflect" => Mode::Reflect,
            "replicate" => Mode::Replicate,
            "circular" => Mode::Circular,
            _ => {
                return Err(OpError::unsupported(format!(
                    "padding mode `{name}` is not supported"
                )));
            }
        })
    }

    /// The index that `i`, which may lie outside of `0..len`, is read from.
    fn source(self, i: i64, len: i64) -> usize {
        let inside = match self {
            Mode::Constant => i,
            Mode::Reflect if i < 0 => -i,
            Mode::Reflect if i >= len => 2 * (len - 1) - i,
            Mode::Reflect => i,
            Mode::Replicate => i.clamp(0, len - 1),
            Mode::Circular => i.rem_euclid(len),
        };
        if (0..len).contains(&inside) {
            inside as usize
        } else {
            OUTSIDE
        }
    }

    /// The widest padding that this mode can fill.
    fn max_width(self, len: i64) -> i64 {
        match self {
            Mode::Constant => i64::MAX,
            Mode::Reflect => len - 1,
            Mode::Replicate if len == 0 => 0,
            Mode::Replicate => i64::MAX,
            Mode::Circular => len,
        }
    }
}

/// The pads are pairs of (before, after), the last dimension first; negative ones crop.
fn pad(call: &Call<'_>, name: &str, mode: Mode, value: Number) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let pads = call.ints(name)?;
    if pads.len() % 2 != 0 || pads.len() / 2 > this.rank() {
        return Err(OpError::new(format!(
            "padding {pads:?} does not fit a tensor of rank {}",
            this.rank()
        )));
    }
    let mut shape = this.layout.shape.clone();
    let mut before = vec![0i64; shape.len()];
    // How much is cropped in front, and how much is left.
    let mut kept: Vec<(i64, i64)> = shape.iter().map(|&len| (0, len as i64)).collect();
    let mut mapped = Dims::new();
    for (i, pair) in pads.chunks(2).enumerate() {
        let d = this.rank() - 1 - i;
        let len = shape[d] as i64;
        let (left, right) = (pair[0], pair[1]);
        if left == 0 && right == 0 {
            continue;
        }
        let padded = len.checked_add(left).and_then(|n| n.checked_add(right));
        let padded = padded.and_then(|n| usize::try_from(n).ok());
        let cut = [left, right].map(|n| if n < 0 { n.saturating_neg() } else { 0 });
        let left_over = len.saturating_sub(cut[0]).saturating_sub(cut[1]);
        // Circular padding repeats what is left.
        let room = if mode == Mode::Circular {
            left_over
        } else {
            len
        };
        match padded {
            // Cropping may not exceed the tensor, even where padding would make up for it.
            Some(n) if left.max(right) <= mode.max_width(room) && left.min(right) >= -len => {
                shape[d] = n;
            }
            _ => {
                return Err(OpError::new(format!(
                    "padding by {left} and {right} does not fit a dimension of length {len}"
                )));
            }
        }
        before[d] = left;
        kept[d] = (cut[0], left_over);
        mapped.push(d);
    }
    let outside = value_of(value);
    let source = |d: usize, i: usize| {
        let i = i as i64 - before[d];
        match (mode, kept[d]) {
            (Mode::Circular, (cut, len)) => mode.source(i - cut, len) + cut as usize,
            _ => mode.source(i, this.shape()[d] as i64),
        }
    };
    rearrange_by(this, shape, &mapped, source, outside, None)
}

/// Pads the last dimensions, as many as the operator's name says.
fn pad_last_dims(call: &Call<'_>, mode: Mode) -> Result<Lowering, OpError> {
    pad(call, "padding", mode, Number::Int(0))
}

fn lower_triangle(call: &Call<'_>, which: Triangle) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    if this.rank() < 2 {
        return Err(OpError::new(format!(
            "a tensor of rank {} is not a matrix",
            this.rank()
        )));
    }
    let (of, diagonal) = (this.index, call.int("diagonal")?);
    Ok(Lowering::compute(
        this.dtype,
        this.shape(),
        move |o: &mut Operands<'_, '_>| {
            triangle(&mut o.outputs[0], &o.inputs[of], which, diagonal);
            Ok(())
        },
    ))
}
