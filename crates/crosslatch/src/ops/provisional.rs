//! First versions of the operators that a Whisper needs.

use crosslatch_kernels::provisional as k;
use crosslatch_kernels::{Bool, DType, Operands, layout::broadcast_shapes};

use super::Table;
use crate::ir::operator::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    ("aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor", linear),
    ("aten::conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] dilation=1, SymInt groups=1) -> Tensor", conv1d),
    ("aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor", layer_norm),
    ("aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor", embedding),
    ("aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor", attention),
    ("aten::gelu(Tensor self, *, str approximate='none') -> Tensor", gelu),
    ("aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor", add),
    ("aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor", sub),
    ("aten::mul.Tensor(Tensor self, Tensor other) -> Tensor", mul),
    ("aten::mul.Scalar(Tensor self, Scalar other) -> Tensor", mul_scalar),
    ("aten::le.Tensor(Tensor self, Tensor other) -> Tensor", le),
    ("aten::gt.Scalar(Tensor self, Scalar other) -> Tensor", gt),
    ("aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor", sum),
];

fn sum(call: &Call<'_>) -> Result<Lowering, OpError> {
    Ok(Lowering::compute(DType::F32, &[], |o: &mut Operands<'_, '_>| {
        let s: f32 = o.inputs[0].to_vec::<f32>().iter().sum();
        o.outputs[0].data::<f32>()[0] = s;
        let _ = call_unused();
        Ok(())
    }))
    .inspect(|_| {
        let _ = call;
    })
}

fn call_unused() {}

fn linear(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?.map(|b| b.index);
    let mut shape = x.layout.shape.clone();
    *shape.last_mut().ok_or(OpError::new("no dimension"))? = w.shape()[0];
    Ok(Lowering::compute(x.dtype, &shape, move |o: &mut Operands<'_, '_>| {
        k::linear(o, bias);
        Ok(())
    }))
}

fn conv1d(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let (s, p) = (call.sizes("stride")?[0], call.sizes("padding")?[0]);
    let t = (x.shape()[2] + 2 * p - w.shape()[2]) / s + 1;
    Ok(Lowering::compute(x.dtype, &[x.shape()[0], w.shape()[0], t], move |o: &mut Operands<'_, '_>| {
        k::conv1d(o, s, p);
        Ok(())
    }))
}

fn layer_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let eps = call.float("eps")?;
    Ok(Lowering::compute(x.dtype, x.shape(), move |o: &mut Operands<'_, '_>| {
        k::layer_norm(o, eps);
        Ok(())
    }))
}

fn embedding(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (w, i) = (call.tensor("weight")?, call.tensor("indices")?);
    let mut shape = i.layout.shape.clone();
    shape.push(w.shape()[1]);
    Ok(Lowering::compute(w.dtype, &shape, |o: &mut Operands<'_, '_>| k::embedding(o)))
}

fn attention(call: &Call<'_>) -> Result<Lowering, OpError> {
    let q = call.tensor("query")?;
    let mask = call.optional_tensor("attn_mask")?.map(|m| m.index);
    let d = q.shape()[3];
    let scale = call.optional_float("scale")?.unwrap_or(1.0 / (d as f64).sqrt()) as f32;
    Ok(Lowering::compute(q.dtype, q.shape(), move |o: &mut Operands<'_, '_>| {
        k::attention(o, mask, scale);
        Ok(())
    }))
}

/// Error function, Abramowitz and Stegun 7.1.26 refined by one series for small arguments.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let y = 1.0
        - t * (-x * x - 1.26551223
            + t * (1.00002368
                + t * (0.37409196
                    + t * (0.09678418
                        + t * (-0.18628806
                            + t * (0.27886807
                                + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))))
            .exp();
    if x >= 0.0 { y } else { -y }
}

fn gelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    Ok(Lowering::compute(x.dtype, x.shape(), |o: &mut Operands<'_, '_>| {
        let x = o.inputs[0];
        k::binary::<f32, f32>(&mut o.outputs[0], &x, &x, o.threads, |a, _| {
            (0.5 * a as f64 * (1.0 + erf(a as f64 * std::f64::consts::FRAC_1_SQRT_2))) as f32
        });
        Ok(())
    }))
}

macro_rules! pair {
    ($name:ident, $f32:expr, $i64:expr) => {
        fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let (a, b) = (call.tensor("self")?, call.tensor("other")?);
            let shape = broadcast_shapes(&[a.shape(), b.shape()]).ok_or(OpError::new("shapes"))?;
            let dtype = a.dtype;
            Ok(Lowering::compute(dtype, &shape, move |o: &mut Operands<'_, '_>| {
                let (a, b) = (o.inputs[0], o.inputs[1]);
                match dtype {
                    DType::F32 => k::binary::<f32, f32>(&mut o.outputs[0], &a, &b, o.threads, $f32),
                    _ => k::binary::<i64, i64>(&mut o.outputs[0], &a, &b, o.threads, $i64),
                }
                Ok(())
            }))
        }
    };
}
pair!(add, |a, b| a + b, |a, b| a + b);
pair!(sub, |a, b| a - b, |a, b| a - b);
pair!(mul, |a, b| a * b, |a, b| a * b);

fn mul_scalar(call: &Call<'_>) -> Result<Lowering, OpError> {
    let a = call.tensor("self")?;
    let s = call.float("other")? as f32;
    Ok(Lowering::compute(a.dtype, a.shape(), move |o: &mut Operands<'_, '_>| {
        let a = o.inputs[0];
        k::binary::<f32, f32>(&mut o.outputs[0], &a, &a, o.threads, |a, _| a * s);
        Ok(())
    }))
}

fn le(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let shape = broadcast_shapes(&[a.shape(), b.shape()]).ok_or(OpError::new("shapes"))?;
    Ok(Lowering::compute(DType::Bool, &shape, |o: &mut Operands<'_, '_>| {
        let (a, b) = (o.inputs[0], o.inputs[1]);
        k::binary::<i64, Bool>(&mut o.outputs[0], &a, &b, o.threads, |a, b| Bool::new(a <= b));
        Ok(())
    }))
}

fn gt(call: &Call<'_>) -> Result<Lowering, OpError> {
    let a = call.tensor("self")?;
    let s = call.int("other")?;
    Ok(Lowering::compute(DType::Bool, a.shape(), move |o: &mut Operands<'_, '_>| {
        let a = o.inputs[0];
        k::binary::<i64, Bool>(&mut o.outputs[0], &a, &a, o.threads, |a, _| Bool::new(a > s));
        Ok(())
    }))
}
