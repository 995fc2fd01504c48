//! Reductions: sums, means, extremes, truth of many, and running sums.

use crosslatch_kernels::elementwise::Compute as Number;
use crosslatch_kernels::reduction::{reduce, scan};
use crosslatch_kernels::{DType, Dims, Layout, Operands, TensorMut, TensorRef, Threads};

use super::Table;
use super::matrices::internal;
use crate::ir::operator::{Call, Compute, Lowering, OpError, TensorArg};

macro_rules! rows {
    ($($text:literal => $lower:ident,)*) => { &[$(($text, $lower)),*] };
}

pub(super) const OPERATORS: Table = rows! {
    "aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor" => sum,
    "aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor" => sum,
    "aten::mean(Tensor self, *, ScalarType? dtype=None) -> Tensor" => mean,
    "aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor" => mean,
    "aten::prod(Tensor self, *, ScalarType? dtype=None) -> Tensor" => prod,
    "aten::prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor" => prod,
    "aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor" => largest,
    "aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor" => smallest,
    "aten::max(Tensor self) -> Tensor" => largest,
    "aten::min(Tensor self) -> Tensor" => smallest,
    "aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor, Tensor)" => largest_and_where,
    "aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor, Tensor)" => smallest_and_where,
    "aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor" => argmax,
    "aten::argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor" => argmin,
    "aten::any(Tensor self) -> Tensor" => any,
    "aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor" => any,
    "aten::any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor" => any,
    "aten::all(Tensor self) -> Tensor" => all,
    "aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor" => all,
    "aten::all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor" => all,
    "aten::var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor" => variance,
    "aten::cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor" => cumsum,
    "aten::cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor" => cumprod,
};

/// Which dimensions go, and what is left of the shape.
struct Reduced {
    dims: Dims,
    /// Shape of the result, with dimensions of 1 where they are kept.
    shape: Dims,
    /// Shape without the reduced dimensions, which kernels fill.
    kept: Layout,
    /// Elements that become one.
    count: usize,
}

impl Reduced {
    fn of(call: &Call<'_>, x: &TensorArg) -> Result<Reduced, OpError> {
        let given = match call.has("dim") {
            true => call.optional_ints("dim")?.unwrap_or_default(),
            false => Vec::new(),
        };
        // No dimension named means all of them; `dim` of `cumsum` never comes here.
        let mut dims = Dims::new();
        for dim in &given {
            let dim = x.dim(*dim)?;
            if x.rank() > 0 {
                if dims.contains(&dim) {
                    return Err(OpError::new(format!("dimension {dim} is named twice")));
                }
                dims.push(dim);
            }
        }
        if given.is_empty() {
            dims = (0..x.rank()).collect();
        }
        let keep = call.has("keepdim") && call.bool("keepdim")?;
        let mut shape = Dims::new();
        let mut kept = Dims::new();
        let mut count = 1;
        for (d, &size) in x.shape().iter().enumerate() {
            if !dims.contains(&d) {
                shape.push(size);
                kept.push(size);
            } else {
                count *= size;
                if keep {
                    shape.push(1);
                }
            }
        }
        Ok(Reduced {
            dims,
            shape,
            kept: Layout::contiguous(&kept),
            count,
        })
    }

    fn lower(
        self,
        dtype: DType,
        kernel: impl Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static,
    ) -> Lowering {
        let (dims, kept) = (self.dims, self.kept);
        Lowering::compute(dtype, &self.shape, move |o: &mut Operands<'_, '_>| {
            let mut out = o.outputs[0].with_layout(&kept).map_err(internal)?;
            kernel(&mut out, &o.inputs[0], &dims, o.threads);
            Ok(())
        })
    }

    /// Extremes of nothing do not exist.
    fn not_empty(&self) -> Result<(), OpError> {
        match self.count == 0 && self.kept.numel() > 0 {
            true => Err(OpError::new("the extreme of no elements is not defined")),
            false => Ok(()),
        }
    }
}

/// The type of sums: the one asked for, or 64 bits for integers.
fn sum_type(call: &Call<'_>, x: &TensorArg) -> Result<DType, OpError> {
    let asked = call.optional_dtype("dtype")?;
    Ok(asked.unwrap_or(if x.dtype.is_float() {
        x.dtype
    } else {
        DType::I64
    }))
}

fn sum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = sum_type(call, x)?;
    let floats = x.dtype.is_float() || dtype.is_float();
    Ok(
        Reduced::of(call, x)?.lower(dtype, move |out, x, dims, threads| match floats {
            true => reduce(out, x, dims, threads, 0.0, |a, x: f64, _| a + x, |a: f64| a),
            false => reduce(
                out,
                x,
                dims,
                threads,
                0i64,
                |a, x: i64, _| a.wrapping_add(x),
                |a: i64| a,
            ),
        }),
    )
}

fn mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = call.optional_dtype("dtype")?.unwrap_or(x.dtype);
    if !dtype.is_float() {
        return Err(OpError::new("the mean is defined for floats"));
    }
    let reduced = Reduced::of(call, x)?;
    let count = reduced.count as f64;
    Ok(reduced.lower(dtype, move |out, x, dims, threads| {
        reduce(
            out,
            x,
            dims,
            threads,
            0.0,
            |a, x: f64, _| a + x,
            |a: f64| a / count,
        );
    }))
}

fn prod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = sum_type(call, x)?;
    let floats = x.dtype.is_float() || dtype.is_float();
    Ok(
        Reduced::of(call, x)?.lower(dtype, move |out, x, dims, threads| match floats {
            true => reduce(out, x, dims, threads, 1.0, |a, x: f64, _| a * x, |a: f64| a),
            false => reduce(
                out,
                x,
                dims,
                threads,
                1i64,
                |a, x: i64, _| a.wrapping_mul(x),
                |a: i64| a,
            ),
        }),
    )
}

/// The better of what is known so far and a new element, with its number. NaN beats everything,
/// the first of equals stays.
fn better<C: Number + PartialOrd>(
    best: Option<(C, usize)>,
    x: C,
    i: usize,
    max: bool,
) -> Option<(C, usize)> {
    #[allow(clippy::eq_op)]
    let is_nan = |v: C| v.partial_cmp(&v).is_none();
    match best {
        None => Some((x, i)),
        Some((b, _)) if is_nan(b) => best,
        Some((b, _)) if is_nan(x) || (max && x > b) || (!max && x < b) => Some((x, i)),
        _ => best,
    }
}

fn extreme(call: &Call<'_>, max: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduced = Reduced::of(call, x)?;
    reduced.not_empty()?;
    let floats = x.dtype.is_float();
    Ok(
        reduced.lower(x.dtype, move |out, x, dims, threads| match floats {
            true => best_values::<f64>(out, x, dims, threads, max),
            false => best_values::<i64>(out, x, dims, threads, max),
        }),
    )
}

fn best_values<C: Number + PartialOrd>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    max: bool,
) {
    let fold = |best, x: C, i| better(best, x, i, max);
    reduce(out, x, dims, threads, None, fold, |best| {
        best.map_or(C::default(), |(v, _)| v)
    });
}

fn best_places<C: Number + PartialOrd>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    max: bool,
) {
    let fold = |best, x: C, i| better(best, x, i, max);
    reduce(
        out,
        x,
        dims,
        threads,
        None,
        fold,
        |best: Option<(C, usize)>| best.map_or(0, |(_, i)| i as i64),
    );
}

fn largest(call: &Call<'_>) -> Result<Lowering, OpError> {
    extreme(call, true)
}

fn smallest(call: &Call<'_>) -> Result<Lowering, OpError> {
    extreme(call, false)
}

fn place(call: &Call<'_>, max: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduced = Reduced::of(call, x)?;
    reduced.not_empty()?;
    let floats = x.dtype.is_float();
    Ok(
        reduced.lower(DType::I64, move |out, x, dims, threads| match floats {
            true => best_places::<f64>(out, x, dims, threads, max),
            false => best_places::<i64>(out, x, dims, threads, max),
        }),
    )
}

fn argmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    place(call, true)
}

fn argmin(call: &Call<'_>) -> Result<Lowering, OpError> {
    place(call, false)
}

fn extreme_and_where(call: &Call<'_>, max: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let Reduced {
        dims,
        shape,
        kept,
        count,
    } = Reduced::of(call, x)?;
    if count == 0 && kept.numel() > 0 {
        return Err(OpError::new("the extreme of no elements is not defined"));
    }
    let floats = x.dtype.is_float();
    let kernel = move |o: &mut Operands<'_, '_>| {
        let x = &o.inputs[0];
        let mut values = o.outputs[0].with_layout(&kept).map_err(internal)?;
        match floats {
            true => best_values::<f64>(&mut values, x, &dims, o.threads, max),
            false => best_values::<i64>(&mut values, x, &dims, o.threads, max),
        }
        let mut places = o.outputs[1].with_layout(&kept).map_err(internal)?;
        match floats {
            true => best_places::<f64>(&mut places, x, &dims, o.threads, max),
            false => best_places::<i64>(&mut places, x, &dims, o.threads, max),
        }
        Ok(())
    };
    Ok(Lowering::Compute(Compute {
        results: vec![(x.dtype, shape.clone()), (DType::I64, shape)],
        kernel: Box::new(kernel),
    }))
}

fn largest_and_where(call: &Call<'_>) -> Result<Lowering, OpError> {
    extreme_and_where(call, true)
}

fn smallest_and_where(call: &Call<'_>) -> Result<Lowering, OpError> {
    extreme_and_where(call, false)
}

/// Truth of many; for `u8` the result is `u8`, as PyTorch has it.
fn truth(call: &Call<'_>, all: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = if x.dtype == DType::U8 {
        DType::U8
    } else {
        DType::Bool
    };
    Ok(
        Reduced::of(call, x)?.lower(dtype, move |out, x, dims, threads| {
            let fold = |a: bool, x: f64, _| if all { a && x != 0.0 } else { a || x != 0.0 };
            reduce(out, x, dims, threads, all, fold, |a| a as i64);
        }),
    )
}

fn any(call: &Call<'_>) -> Result<Lowering, OpError> {
    truth(call, false)
}

fn all(call: &Call<'_>) -> Result<Lowering, OpError> {
    truth(call, true)
}

/// Variance by Welford's update, which does not lose digits when the mean is large.
fn variance(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    if !x.dtype.is_float() {
        return Err(OpError::new("the variance is defined for floats"));
    }
    let correction = call.optional_float("correction")?.unwrap_or(1.0);
    let reduced = Reduced::of(call, x)?;
    let divisor = (reduced.count as f64 - correction).max(0.0);
    Ok(reduced.lower(x.dtype, move |out, x, dims, threads| {
        let fold = |(mean, squares): (f64, f64), x: f64, i: usize| {
            let delta = x - mean;
            let mean = mean + delta / (i + 1) as f64;
            (mean, squares + delta * (x - mean))
        };
        reduce(out, x, dims, threads, (0.0, 0.0), fold, |(_, squares)| {
            squares / divisor
        });
    }))
}

/// A running fold along one dimension.
fn running(call: &Call<'_>, product: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    let dtype = sum_type(call, x)?;
    let floats = x.dtype.is_float() || dtype.is_float();
    let single = x.rank() == 0;
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let (out, x) = (&mut o.outputs[0], &o.inputs[0]);
            if single {
                crosslatch_kernels::copy::copy(out, x, o.threads);
                return Ok(());
            }
            match (floats, product) {
                (true, false) => scan(out, x, dim, 0.0, |a: f64, x| a + x),
                (true, true) => scan(out, x, dim, 1.0, |a: f64, x| a * x),
                (false, false) => scan(out, x, dim, 0, |a: i64, x| a.wrapping_add(x)),
                (false, true) => scan(out, x, dim, 1, |a: i64, x| a.wrapping_mul(x)),
            }
            Ok(())
        },
    ))
}

fn cumsum(call: &Call<'_>) -> Result<Lowering, OpError> {
    running(call, false)
}

fn cumprod(call: &Call<'_>) -> Result<Lowering, OpError> {
    running(call, true)
}
