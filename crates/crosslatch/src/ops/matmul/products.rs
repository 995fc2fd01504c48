//! Matrix products: `linear`, `matmul` and their relatives.
//!
//! All become one kernel ([`ProductKernel`]). Views bring the operands into the form `[…, m, k]` times
//! `[…, k, n]`: vectors get a dimension, weights are transposed, batch dimensions are broadcast.

use crosslatch_kernels::tensor::{MAX_COLUMNS, WeightFormat, broadcast_shapes};
use crosslatch_kernels::{DType, Dims, Layout};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::operator::Reads;
use crate::ir::{Call, KernelSet, Lowering, OpError, StoredAs, TensorArg};
use crate::ops::matmul::kernel::ProductKernel;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
        linear,
    )
    .quantized("weight", Reads::All),
    op(
        "aten::matmul(Tensor self, Tensor other) -> Tensor",
        lower_matmul,
    ),
    op("aten::mm(Tensor self, Tensor mat2) -> Tensor", mm),
    op("aten::bmm(Tensor self, Tensor mat2) -> Tensor", mm),
    op("aten::mv(Tensor self, Tensor vec) -> Tensor", mv),
    op("aten::dot(Tensor self, Tensor tensor) -> Tensor", dot),
    op("aten::outer(Tensor self, Tensor vec2) -> Tensor", outer),
    op("aten::ger(Tensor self, Tensor vec2) -> Tensor", outer),
    op_with_in_place(
        "aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        addmm,
    ),
    op_with_in_place(
        "aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        addmm,
    ),
    op_with_in_place(
        "aten::addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        addmv,
    ),
];

/// A product to be lowered: its operands, viewed as the kernel wants them.
struct ProductCall<'a> {
    a: (&'a TensorArg, Layout),
    b: (&'a TensorArg, Layout),
    bias: Option<(&'a TensorArg, Layout)>,
    /// Shape of the result.
    shape: Dims,
    alpha: f64,
    beta: f64,
}

impl ProductCall<'_> {
    /// Broadcasts the batch dimensions and checks that all else fits.
    fn lower(self, call: &Call<'_>) -> Result<Lowering, OpError> {
        let (a, b) = (self.a.1, self.b.1);
        let [ra, rb] = [a.rank(), b.rank()];
        if a.shape[ra - 1] != b.shape[rb - 2] {
            return Err(OpError::new(format!(
                "matrices of shapes {:?} and {:?} cannot be multiplied",
                &a.shape[..],
                &b.shape[..]
            )));
        }
        if self.a.0.dtype != self.b.0.dtype
            || self
                .bias
                .as_ref()
                .is_some_and(|(t, _)| t.dtype != self.a.0.dtype)
        {
            return Err(OpError::new("the operands have different element types"));
        }
        let mut full = broadcast_shapes(&[&a.shape[..ra - 2], &b.shape[..rb - 2]])
            .ok_or_else(|| OpError::new("the batch dimensions do not broadcast"))?;
        let [m, k, n] = [a.shape[ra - 2], a.shape[ra - 1], b.shape[rb - 1]];
        let with = |rows, columns| {
            let mut shape = full.clone();
            shape.extend([rows, columns]);
            shape
        };
        let misfit = || OpError::new("an operand does not broadcast to the result");
        let a = a.expand(&with(m, k)).ok_or_else(misfit)?;
        let b = b.expand(&with(k, n)).ok_or_else(misfit)?;
        full.extend([m, n]);
        let bias = match self.bias {
            None => None,
            Some((t, l)) => Some((t.index, l.expand(&full).ok_or_else(misfit)?)),
        };
        let flops = 2 * (full.iter().product::<usize>() as u64) * k as u64;
        let kernel = ProductKernel {
            shape: full,
            a: (self.a.0.index, a),
            b: (self.b.0.index, b),
            bias,
            alpha: self.alpha,
            beta: self.beta,
            quantized: quantized(self.b.0, call.kernels),
            plain: call.plain(),
            is_f32: self.a.0.dtype == DType::F32,
            epilogue: None,
        };
        Ok(Lowering::compute(self.a.0.dtype, &self.shape, kernel).with_flops(flops))
    }
}

/// The format in which the weight of `linear` is multiplied; `None` for its own type. In a low
/// precision, weights that the file has in bf16 are quantized as they are.
fn quantized(weight: &TensorArg, kernels: KernelSet) -> Option<WeightFormat> {
    match weight.stored? {
        StoredAs::Quantized(format) => Some(format),
        StoredAs::Halves(DType::BF16) => {
            let is_matrix = weight.rank() == 2 && weight.layout.is_contiguous();
            let fits = is_matrix && weight.shape()[1] <= MAX_COLUMNS;
            (fits && kernels == KernelSet::LowPrecision).then_some(WeightFormat::Bf16)
        }
        StoredAs::Halves(_) => None,
    }
}

fn check_rank(t: &TensorArg, wanted: usize, name: &str) -> Result<(), OpError> {
    match t.rank() == wanted {
        true => Ok(()),
        false => Err(OpError::new(format!(
            "{name} must have {wanted} dimensions"
        ))),
    }
}

fn linear(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    if x.rank() == 0 || !(1..=2).contains(&w.rank()) {
        return Err(OpError::new(
            "`input` needs at least one dimension, `weight` one or two",
        ));
    }
    let k = x.shape()[x.rank() - 1];
    let mut shape: Dims = x.shape()[..x.rank() - 1].into();
    let wl = match w.rank() {
        1 => w.layout_from_start().unsqueeze(0),
        _ => {
            shape.push(w.shape()[0]);
            w.layout_from_start()
        }
    };
    let b = wl.transpose(0, 1);
    // The input as one matrix, if its rows can be viewed as one dimension.
    let rows: usize = x.shape()[..x.rank() - 1].iter().product();
    let a = match x.layout_from_start().reshape(&[rows, k]) {
        Some(a) => a,
        None if x.rank() >= 2 => x.layout_from_start(),
        None => x.layout_from_start().unsqueeze(0),
    };
    let product_call = ProductCall {
        a: (x, a),
        b: (w, b),
        bias: bias.map(|t| (t, t.layout_from_start())),
        shape,
        alpha: 1.0,
        beta: 1.0,
    };
    product_call.lower(call)
}

fn lower_matmul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(OpError::new("both operands need at least one dimension"));
    }
    let (mut la, mut lb) = (a.layout_from_start(), b.layout_from_start());
    if a.rank() == 1 {
        la = la.unsqueeze(0);
    }
    if b.rank() == 1 {
        lb = lb.unsqueeze(1);
    }
    let mut shape = broadcast_shapes(&[&la.shape[..la.rank() - 2], &lb.shape[..lb.rank() - 2]])
        .ok_or_else(|| OpError::new("the batch dimensions do not broadcast"))?;
    if a.rank() > 1 {
        shape.push(a.shape()[a.rank() - 2]);
    }
    if b.rank() > 1 {
        shape.push(b.shape()[b.rank() - 1]);
    }
    product(a, la, b, lb, shape).lower(call)
}

fn product<'a>(
    a: &'a TensorArg,
    la: Layout,
    b: &'a TensorArg,
    lb: Layout,
    shape: Dims,
) -> ProductCall<'a> {
    ProductCall {
        a: (a, la),
        b: (b, lb),
        bias: None,
        shape,
        alpha: 1.0,
        beta: 1.0,
    }
}

/// `mm` and `bmm`.
fn mm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("mat2")?);
    let wanted = if call.schema.name == "aten::mm" { 2 } else { 3 };
    check_rank(a, wanted, "`self`")?;
    check_rank(b, wanted, "`mat2`")?;
    let mut shape: Dims = a.shape()[..wanted - 1].into();
    shape.push(b.shape()[wanted - 1]);
    product(a, a.layout_from_start(), b, b.layout_from_start(), shape).lower(call)
}

fn mv(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("vec")?);
    check_rank(a, 2, "`self`")?;
    check_rank(b, 1, "`vec`")?;
    let shape = a.shape()[..1].into();
    product(
        a,
        a.layout_from_start(),
        b,
        b.layout_from_start().unsqueeze(1),
        shape,
    )
    .lower(call)
}

fn outer(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("vec2")?);
    check_rank(a, 1, "`self`")?;
    check_rank(b, 1, "`vec2`")?;
    let shape = Dims::from_slice(&[a.shape()[0], b.shape()[0]]);
    let (la, lb) = (
        a.layout_from_start().unsqueeze(1),
        b.layout_from_start().unsqueeze(0),
    );
    product(a, la, b, lb, shape).lower(call)
}

fn dot(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("tensor")?);
    check_rank(a, 1, "`self`")?;
    check_rank(b, 1, "`tensor`")?;
    let (la, lb) = (
        a.layout_from_start().unsqueeze(0),
        b.layout_from_start().unsqueeze(1),
    );
    product(a, la, b, lb, Dims::new()).lower(call)
}

/// `addmm` and `baddbmm`.
fn addmm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b, wanted) = match call.has("mat1") {
        true => (call.tensor("mat1")?, call.tensor("mat2")?, 2),
        false => (call.tensor("batch1")?, call.tensor("batch2")?, 3),
    };
    check_rank(a, wanted, "the left operand")?;
    check_rank(b, wanted, "the right operand")?;
    let bias = call.tensor("self")?;
    let mut shape: Dims = a.shape()[..wanted - 1].into();
    shape.push(b.shape()[wanted - 1]);
    let product_call = ProductCall {
        bias: Some((bias, bias.layout_from_start())),
        alpha: call.float("alpha")?,
        beta: call.float("beta")?,
        ..product(a, a.layout_from_start(), b, b.layout_from_start(), shape)
    };
    product_call.lower(call)
}

fn addmv(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("mat")?, call.tensor("vec")?);
    check_rank(a, 2, "`mat`")?;
    check_rank(b, 1, "`vec`")?;
    let bias = call.tensor("self")?;
    let bias_layout = match bias.rank() {
        0 => bias.layout_from_start(),
        _ => bias.layout_from_start().unsqueeze(1),
    };
    let product_call = ProductCall {
        bias: Some((bias, bias_layout)),
        alpha: call.float("alpha")?,
        beta: call.float("beta")?,
        ..product(
            a,
            a.layout_from_start(),
            b,
            b.layout_from_start().unsqueeze(1),
            a.shape()[..1].into(),
        )
    };
    product_call.lower(call)
}
