//! Random numbers.
//!
//! Operators of the catalogue are deterministic, and what they do to memory stands in their schemas. So the
//! generator is a tensor of state, and an operator that draws is written as two
//! ([`passes::random`](crate::passes::random)): one of them computes numbers from the generator, and the other
//! one changes the generator as if it had drawn them. Where a program draws inside of a branch or a loop, which do
//! not see the generator, it is refused here.

use crosslatch_kernels::random::{
    Distribution, Generator, STATE, fill_bernoulli, fill_permutation, fill_random,
    skip_permutation, skip_random,
};
use crosslatch_kernels::{DType, Dims, KernelError, Operands, TensorRef};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, OpError, TensorArg, check_shape};

pub(super) const OPERATORS: Table = &[
    op(
        "crosslatch::uniform(Tensor generator, SymInt[] size, float from, float to, ScalarType dtype) -> Tensor",
        |c| draw(c, uniform(c)?),
    ),
    op(
        "crosslatch::skip_uniform(Tensor(a!) generator, Tensor drawn, float from, float to) -> Tensor(a!)",
        |c| skip(c, uniform(c)?),
    ),
    op(
        "crosslatch::normal(Tensor generator, SymInt[] size, float mean, float std, ScalarType dtype) -> Tensor",
        |c| draw(c, normal(c)?),
    ),
    op(
        "crosslatch::skip_normal(Tensor(a!) generator, Tensor drawn, float mean, float std) -> Tensor(a!)",
        |c| skip(c, normal(c)?),
    ),
    op(
        "crosslatch::exponential(Tensor generator, SymInt[] size, float rate, ScalarType dtype) -> Tensor",
        |c| draw(c, exponential(c)?),
    ),
    op(
        "crosslatch::skip_exponential(Tensor(a!) generator, Tensor drawn, float rate) -> Tensor(a!)",
        |c| skip(c, exponential(c)?),
    ),
    op(
        "crosslatch::bernoulli(Tensor generator, SymInt[] size, float p, ScalarType dtype) -> Tensor",
        |c| draw(c, bernoulli(c)?),
    ),
    op(
        "crosslatch::skip_bernoulli(Tensor(a!) generator, Tensor drawn, float p) -> Tensor(a!)",
        |c| skip(c, bernoulli(c)?),
    ),
    op(
        "crosslatch::integers(Tensor generator, SymInt[] size, SymInt low, SymInt high, ScalarType dtype) -> Tensor",
        |c| draw(c, integers(c)?),
    ),
    op(
        "crosslatch::skip_integers(Tensor(a!) generator, Tensor drawn, SymInt low, SymInt high) -> Tensor(a!)",
        |c| skip(c, integers(c)?),
    ),
    op(
        "crosslatch::bernoulli.Tensor(Tensor generator, Tensor p) -> Tensor",
        draw_for_each,
    ),
    op(
        "crosslatch::permutation(Tensor generator, SymInt n) -> Tensor",
        permutation,
    ),
    op(
        "crosslatch::skip_permutation(Tensor(a!) generator, Tensor drawn) -> Tensor(a!)",
        |c| {
            let count = drawn(c)?.1;
            change(c, move |generator| skip_permutation(generator, count))
        },
    ),
    op(
        "aten::rand(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randn(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::rand_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randn_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        refuse,
    ),
    op_with_in_place(
        "aten::uniform(Tensor self, float from=0., float to=1., *, Generator? generator=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::normal_functional(Tensor self, float mean=0., float std=1., *, Generator? generator=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::normal_(Tensor(a!) self, float mean=0., float std=1., *, Generator? generator=None) -> Tensor(a!)",
        refuse,
    ),
    op_with_in_place(
        "aten::exponential(Tensor self, float lambd=1., *, Generator? generator=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::bernoulli.p(Tensor self, float p, *, Generator? generator=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)",
        refuse,
    ),
    op(
        "aten::randint.low(SymInt low, SymInt high, SymInt[] size, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randint_like(Tensor self, SymInt high, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randint_like.low_dtype(Tensor self, SymInt low, SymInt high, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randint(SymInt high, SymInt[] size, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::randperm(SymInt n, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
        refuse,
    ),
    op(
        "aten::multinomial(Tensor self, SymInt num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor",
        refuse,
    ),
];

fn uniform(call: &Call<'_>) -> Result<Distribution, OpError> {
    let (from, to) = (call.float("from")?, call.float("to")?);
    match from <= to {
        true => Ok(Distribution::Uniform { from, to }),
        false => Err(OpError::new(format!(
            "there is no number from {from} to {to}"
        ))),
    }
}

fn normal(call: &Call<'_>) -> Result<Distribution, OpError> {
    let (mean, std) = (call.float("mean")?, call.float("std")?);
    match std >= 0.0 {
        true => Ok(Distribution::Normal { mean, std }),
        false => Err(OpError::new(format!("{std} is no standard deviation"))),
    }
}

fn exponential(call: &Call<'_>) -> Result<Distribution, OpError> {
    let rate = call.float("rate")?;
    match rate > 0.0 {
        true => Ok(Distribution::Exponential { rate }),
        false => Err(OpError::new(format!("{rate} is not a rate"))),
    }
}

fn bernoulli(call: &Call<'_>) -> Result<Distribution, OpError> {
    let p = call.float("p")?;
    match (0.0..=1.0).contains(&p) {
        true => Ok(Distribution::Bernoulli { p }),
        false => Err(OpError::new(format!("{p} is not a probability"))),
    }
}

fn integers(call: &Call<'_>) -> Result<Distribution, OpError> {
    let (low, high) = (call.int("low")?, call.int("high")?);
    match low < high {
        true => Ok(Distribution::Integers {
            low,
            range: high.wrapping_sub(low) as u64,
        }),
        false => Err(OpError::new(format!(
            "there is no integer from {low} to below {high}"
        ))),
    }
}

/// The argument that is the generator.
fn generator<'c>(call: &'c Call<'_>) -> Result<&'c TensorArg, OpError> {
    let generator = call.tensor("generator")?;
    let is_state = generator.dtype == DType::I64 && generator.layout.is_contiguous();
    match is_state && generator.shape() == [STATE] {
        true => Ok(generator),
        false => Err(OpError::new("`generator` is not the state of a generator")),
    }
}

fn shape_and_dtype(call: &Call<'_>) -> Result<(Dims, DType), OpError> {
    let shape = call.sizes("size")?;
    check_shape(&shape)?;
    match call.optional_dtype("dtype")? {
        Some(dtype) if !dtype.is_complex() => Ok((shape, dtype)),
        _ => Err(OpError::unsupported("random numbers of this type")),
    }
}

fn draw(call: &Call<'_>, distribution: Distribution) -> Result<Lowering, OpError> {
    let generator = generator(call)?.index;
    let (shape, dtype) = shape_and_dtype(call)?;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let mut generator = read(&o.inputs[generator])?;
        fill_random(&mut o.outputs[0], &mut generator, distribution);
        Ok(())
    };
    Ok(Lowering::compute(dtype, &shape, kernel))
}

fn skip(call: &Call<'_>, distribution: Distribution) -> Result<Lowering, OpError> {
    let (dtype, count) = drawn(call)?;
    change(call, move |generator| {
        skip_random(generator, distribution, dtype, count);
    })
}

/// The type and the number of what was drawn. That it lies in memory bounds the work of drawing it again.
fn drawn(call: &Call<'_>) -> Result<(DType, usize), OpError> {
    let drawn = call.tensor("drawn")?;
    match drawn.layout.is_contiguous() {
        true => Ok((drawn.dtype, drawn.layout.numel())),
        false => Err(OpError::new("`drawn` is a view")),
    }
}

fn draw_for_each(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (generator, p) = (generator(call)?.index, call.tensor("p")?);
    if !p.dtype.is_float() {
        return Err(OpError::new(format!("{} are not probabilities", p.dtype)));
    }
    let (shape, dtype, p) = (p.layout.shape.clone(), p.dtype, p.index);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let mut generator = read(&o.inputs[generator])?;
        fill_bernoulli(&mut o.outputs[0], &mut generator, &o.inputs[p]);
        Ok(())
    };
    Ok(Lowering::compute(dtype, &shape, kernel))
}

fn permutation(call: &Call<'_>) -> Result<Lowering, OpError> {
    let generator = generator(call)?.index;
    let count = usize::try_from(call.int("n")?).map_err(|_| OpError::new("`n` is negative"))?;
    check_shape(&[count])?;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let mut generator = read(&o.inputs[generator])?;
        fill_permutation(o.outputs[0].data::<i64>(), &mut generator);
        Ok(())
    };
    Ok(Lowering::compute(DType::I64, &[count], kernel))
}

fn read(state: &TensorRef<'_>) -> Result<Generator, KernelError> {
    let state = state
        .data::<i64>()
        .get(..STATE)
        .and_then(Generator::of_state);
    state.ok_or_else(|| KernelError::Assertion("the state of a generator is too short".to_owned()))
}

/// Changes the generator.
fn change(
    call: &Call<'_>,
    skip: impl Fn(&mut Generator) + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let kernel = move |o: &mut Operands<'_, '_>| {
        let state = &mut o.outputs[0];
        let mut generator = read(&state.as_ref())?;
        skip(&mut generator);
        state.data::<i64>()[..STATE].copy_from_slice(&generator.state());
        Ok(())
    };
    Ok(Lowering::update(generator(call)?, kernel))
}

fn refuse(call: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::unsupported(format!(
        "`{}` draws random numbers here: that is supported outside of branches and loops, without a generator of \
         the program's own",
        call.schema.name
    )))
}
