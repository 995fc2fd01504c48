//! Matrix products: `linear`, `matmul` and their kin.
//!
//! All become one kernel, [`crosslatch_kernels::matmul`], with operands brought into the form
//! `[…, m, k]` times `[…, k, n]` by views: vectors get a dimension, weights are transposed, batch
//! dimensions broadcast.

use crosslatch_kernels::kernel::run_each;
use crosslatch_kernels::matmul::{MOST_ROWS, SharedSizes, with_shared_right};
use crosslatch_kernels::matmul::{Product, QuantizedLinear, matmul, quantized_linear};
use crosslatch_kernels::simd::Function;
use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{
    DType, Dims, Kernel, KernelError, Layout, Operands, QuantizedMatrix, Storage, TensorMut,
    TensorRef, Threads,
};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::operator::Reads;
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{layout_not_accepted, outside_memory, view, view_mut};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
        linear,
    )
    .quantized("weight", Reads::All),
    op(
        "aten::matmul(Tensor self, Tensor other) -> Tensor",
        any_matmul,
    ),
    op("aten::mm(Tensor self, Tensor mat2) -> Tensor", matrices),
    op("aten::bmm(Tensor self, Tensor mat2) -> Tensor", matrices),
    op("aten::mv(Tensor self, Tensor vec) -> Tensor", matrix_vector),
    op("aten::dot(Tensor self, Tensor tensor) -> Tensor", dot),
    op_with_in_place(
        "aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        add_product,
    ),
    op_with_in_place(
        "aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        add_product,
    ),
    op_with_in_place(
        "aten::addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        add_matrix_vector,
    ),
];

/// A product to be lowered: operands with the layouts that the kernel wants.
struct Form<'a> {
    a: (&'a TensorArg, Layout),
    b: (&'a TensorArg, Layout),
    bias: Option<(&'a TensorArg, Layout)>,
    /// Shape of the result.
    shape: Dims,
    alpha: f64,
    beta: f64,
}

impl Form<'_> {
    /// Broadcasts batch dimensions and checks that the rest fits.
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
            .ok_or_else(|| OpError::new("the batch dimensions do not fit"))?;
        let [m, k, n] = [a.shape[ra - 2], a.shape[ra - 1], b.shape[rb - 1]];
        let with = |rows, columns| {
            let mut shape = full.clone();
            shape.extend([rows, columns]);
            shape
        };
        let fits = || OpError::new("an operand does not broadcast to the result");
        let a = a.expand(&with(m, k)).ok_or_else(fits)?;
        let b = b.expand(&with(k, n)).ok_or_else(fits)?;
        full.extend([m, n]);
        let bias = match self.bias {
            None => None,
            Some((t, l)) => Some((t.index, l.expand(&full).ok_or_else(fits)?)),
        };
        let flops = 2 * (full.iter().product::<usize>() as u64) * k as u64;
        let kernel = Multiply {
            shape: full,
            a: (self.a.0.index, a),
            b: (self.b.0.index, b),
            bias,
            alpha: self.alpha,
            beta: self.beta,
            // The weight of `linear`, whose factors are 1.
            narrow: self.b.0.quantized,
            plain: call.plain(),
            is_f32: self.a.0.dtype == DType::F32,
            epilogue: None,
        };
        Ok(Lowering::compute(self.a.0.dtype, &self.shape, kernel).with_flops(flops))
    }
}

/// A product as a kernel: operands by number, with the layouts in which they are read.
#[derive(Clone)]
struct Multiply {
    /// `[…, m, n]`
    shape: Dims,
    a: (usize, Layout),
    b: (usize, Layout),
    bias: Option<(usize, Layout)>,
    alpha: f64,
    beta: f64,
    /// How the right side is stored, if it is narrower than its type.
    narrow: Option<WeightFormat>,
    plain: bool,
    is_f32: bool,
    /// What becomes of each element.
    epilogue: Option<Function>,
}

impl Multiply {
    /// `[m, k, n]`
    fn sizes(&self) -> [usize; 3] {
        let [a, b] = [&self.a.1.shape, &self.b.1.shape];
        [a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]]
    }

    /// Multiplies `a` by the right side among these inputs.
    fn multiply(
        &self,
        out: &mut TensorMut<'_>,
        a: TensorRef<'_>,
        inputs: &[TensorRef<'_>],
        bias: Option<&(usize, Layout)>,
        threads: &Threads,
    ) -> Result<(), KernelError> {
        let bias = bias.map(|(i, layout)| view(&inputs[*i], layout));
        let bias = bias.transpose()?;
        let (ib, b) = &self.b;
        match self.narrow {
            None => {
                let product = Product {
                    a,
                    b: view(&inputs[*ib], b)?,
                    bias,
                    alpha: self.alpha,
                    beta: self.beta,
                    epilogue: self.epilogue,
                };
                matmul(out, &product, self.plain, threads);
            }
            Some(format) => {
                let [_, k, n] = self.sizes();
                let weight = QuantizedMatrix::new(format, n, k, inputs[*ib].bytes());
                let linear = QuantizedLinear {
                    a,
                    weight: weight.map_err(outside_memory)?,
                    bias,
                    epilogue: self.epilogue,
                };
                quantized_linear(out, &linear, self.plain, threads);
            }
        }
        Ok(())
    }

    /// The bias of any number of rows, if these sessions have one right side and one bias for all
    /// of their rows.
    fn in_common(&self, many: &[Operands<'_, '_>], rows: usize) -> Option<Option<(usize, Layout)>> {
        let is_one = |i: usize| {
            let first = many[0].inputs[i].bytes();
            many.iter()
                .all(|o| std::ptr::eq(o.inputs[i].bytes(), first))
        };
        let is_matrix = self.shape.len() == 2 && is_one(self.b.0);
        if !is_matrix || !self.is_f32 || self.plain {
            return None;
        }
        let Some((i, layout)) = &self.bias else {
            return Some(None);
        };
        let fits = is_one(*i) && (layout.shape[0] == 1 || layout.strides[0] == 0);
        fits.then(|| {
            let mut layout = layout.clone();
            (layout.shape[0], layout.strides[0]) = (rows, 0);
            Some((*i, layout))
        })
    }
}

impl Kernel for Multiply {
    fn accepts(&self, layout: &Layout) -> bool {
        in_matrices(layout, &self.shape).is_some()
    }

    fn with_epilogue(&self, function: Function) -> Option<Box<dyn Kernel>> {
        let may = self.is_f32 && !self.plain && self.epilogue.is_none();
        may.then(|| -> Box<dyn Kernel> {
            Box::new(Multiply {
                epilogue: Some(function),
                ..self.clone()
            })
        })
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let out =
            in_matrices(o.outputs[0].layout(), &self.shape).ok_or_else(layout_not_accepted)?;
        let mut target = view_mut(&mut o.outputs[0], &out)?;
        let a = view(&o.inputs[self.a.0], &self.a.1)?;
        self.multiply(&mut target, a, o.inputs, self.bias.as_ref(), o.threads)
    }

    fn run_batched(
        &self,
        many: &mut [Operands<'_, '_>],
        memory: &mut Storage,
    ) -> Result<(), KernelError> {
        let [rows, depth, columns] = self.sizes();
        let at_once = MOST_ROWS / rows.max(1);
        for some in many.chunks_mut(at_once.max(1)) {
            let bias = self.in_common(some, rows * some.len());
            let Some(bias) = bias.filter(|_| some.len() > 1 && rows * depth * columns > 0) else {
                run_each(self, some)?;
                continue;
            };
            let (inputs, threads) = (some[0].inputs, some[0].threads);
            let outs = some.iter().map(|o| {
                in_matrices(o.outputs[0].layout(), &self.shape).ok_or_else(layout_not_accepted)
            });
            let outs: Vec<Layout> = outs.collect::<Result<_, _>>()?;
            let lefts = some.iter().map(|o| view(&o.inputs[self.a.0], &self.a.1));
            let lefts: Vec<TensorRef<'_>> = lefts.collect::<Result<_, _>>()?;
            let results = some
                .iter_mut()
                .zip(&outs)
                .map(|(o, out)| view_mut(&mut o.outputs[0], out));
            let mut results: Vec<TensorMut<'_>> = results.collect::<Result<_, _>>()?;
            let sizes = SharedSizes {
                rows,
                depth,
                columns,
            };
            let mut done = Ok(());
            with_shared_right(
                &mut results,
                &lefts,
                sizes,
                memory,
                threads,
                &mut |out, left| {
                    done = self.multiply(out, *left, inputs, bias.as_ref(), threads);
                },
            )
            .map_err(outside_memory)?;
            done?;
        }
        Ok(())
    }
}

/// The layout of a result as the kernel wants it, `[…, m, n]` as in `shape` or with the columns in
/// groups, `[…, m, groups, n / groups]`.
fn in_matrices(layout: &Layout, shape: &[usize]) -> Option<Layout> {
    if let Some(plain) = layout.reshape(shape) {
        return Some(plain);
    }
    let (n, outer) = shape.split_last()?;
    // The length of a group is that of the last dimension that has one.
    let group = layout.shape.iter().copied().rfind(|size| *size != 1)?;
    let mut grouped: Dims = outer.into();
    grouped.extend([n.checked_div(group)?, group]);
    layout.reshape(&grouped)
}

fn rank(t: &TensorArg, wanted: usize, name: &str) -> Result<(), OpError> {
    match t.rank() == wanted {
        true => Ok(()),
        false => Err(OpError::new(format!(
            "`{name}` must have {wanted} dimensions"
        ))),
    }
}

fn linear(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    if x.rank() == 0 || !(1..=2).contains(&w.rank()) {
        return Err(OpError::new(
            "`input` needs a dimension, `weight` one or two",
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
    // One matrix, where the rows of the input can be seen as one list.
    let rows: usize = x.shape()[..x.rank() - 1].iter().product();
    let a = match x.layout_from_start().reshape(&[rows, k]) {
        Some(a) => a,
        None if x.rank() >= 2 => x.layout_from_start(),
        None => x.layout_from_start().unsqueeze(0),
    };
    let form = Form {
        a: (x, a),
        b: (w, b),
        bias: bias.map(|t| (t, t.layout_from_start())),
        shape,
        alpha: 1.0,
        beta: 1.0,
    };
    form.lower(call)
}

fn any_matmul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(OpError::new("both operands need a dimension"));
    }
    let (mut la, mut lb) = (a.layout_from_start(), b.layout_from_start());
    if a.rank() == 1 {
        la = la.unsqueeze(0);
    }
    if b.rank() == 1 {
        lb = lb.unsqueeze(1);
    }
    let mut shape = broadcast_shapes(&[&la.shape[..la.rank() - 2], &lb.shape[..lb.rank() - 2]])
        .ok_or_else(|| OpError::new("the batch dimensions do not fit"))?;
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
) -> Form<'a> {
    Form {
        a: (a, la),
        b: (b, lb),
        bias: None,
        shape,
        alpha: 1.0,
        beta: 1.0,
    }
}

fn matrices(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("mat2")?);
    let wanted = if call.schema.name == "aten::mm" { 2 } else { 3 };
    rank(a, wanted, "self")?;
    rank(b, wanted, "mat2")?;
    let mut shape: Dims = a.shape()[..wanted - 1].into();
    shape.push(b.shape()[wanted - 1]);
    product(a, a.layout_from_start(), b, b.layout_from_start(), shape).lower(call)
}

fn matrix_vector(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("vec")?);
    rank(a, 2, "self")?;
    rank(b, 1, "vec")?;
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

fn dot(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("tensor")?);
    rank(a, 1, "self")?;
    rank(b, 1, "tensor")?;
    let (la, lb) = (
        a.layout_from_start().unsqueeze(0),
        b.layout_from_start().unsqueeze(1),
    );
    product(a, la, b, lb, Dims::new()).lower(call)
}

fn add_product(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b, wanted) = match call.has("mat1") {
        true => (call.tensor("mat1")?, call.tensor("mat2")?, 2),
        false => (call.tensor("batch1")?, call.tensor("batch2")?, 3),
    };
    rank(a, wanted, "the left operand")?;
    rank(b, wanted, "the right operand")?;
    let bias = call.tensor("self")?;
    let mut shape: Dims = a.shape()[..wanted - 1].into();
    shape.push(b.shape()[wanted - 1]);
    let form = Form {
        bias: Some((bias, bias.layout_from_start())),
        alpha: call.float("alpha")?,
        beta: call.float("beta")?,
        ..product(a, a.layout_from_start(), b, b.layout_from_start(), shape)
    };
    form.lower(call)
}

fn add_matrix_vector(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("mat")?, call.tensor("vec")?);
    rank(a, 2, "mat")?;
    rank(b, 1, "vec")?;
    let bias = call.tensor("self")?;
    let bias_layout = match bias.rank() {
        0 => bias.layout_from_start(),
        _ => bias.layout_from_start().unsqueeze(1),
    };
    let form = Form {
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
    form.lower(call)
}
