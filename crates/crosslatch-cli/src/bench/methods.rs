//! The measurement of any model: each method, for the smallest inputs that it takes.

use std::time::Instant;

use crosslatch::inputs::{fed_slots, types_for};
use crosslatch::ir::graph::SlotKind;
use crosslatch::{DType, Input, Model, Options, Precision, Session, Tensor};
use serde_json::{Value, json};

use super::measure::{milliseconds, noise, quartiles, smallest};
use crate::CommandError;

/// Seconds for which a method is repeated.
const SECONDS: f64 = 1.0;

/// Measures each method in each precision.
pub fn measure(
    model: &Model,
    precisions: &[Precision],
    options: &dyn Fn(Precision) -> Options,
) -> Result<Vec<Value>, CommandError> {
    let mut rows = Vec::new();
    for method in model.methods() {
        let program = &method.program;
        let name = program.name.as_str();
        let types = types_for(program, smallest).ok_or_else(|| {
            format!(
                "method `{name}` has sizes that cannot be chosen for it; \
                 measure it with `crosslatch run`"
            )
        })?;
        let tensors: Vec<(&str, Tensor)> = fed_slots(program)
            .zip(&types)
            .filter(|((i, _), _)| program.slots[*i].kind == SlotKind::Input)
            .filter_map(|((_, slot), (dtype, layout))| Some((slot, input(*dtype, &layout.shape)?)))
            .collect();
        for &precision in precisions {
            let mut session = Session::new(model, options(precision))?;
            let [always, _] = session.plan(name, &types)?.work();
            let mut times = Vec::new();
            let begin = Instant::now();
            while times.len() < 4 || begin.elapsed().as_secs_f64() < SECONDS {
                // A latched method is measured with its latched values at hand. The method that computes
                // them has a row of its own.
                if method.latch.is_none() {
                    session.reset();
                }
                let inputs: Vec<(&str, Input<'_>)> =
                    tensors.iter().map(|(n, t)| (*n, t.view().into())).collect();
                let start = Instant::now();
                session.run(name, &inputs).map_err(|e| {
                    format!("{e}\nno measurement: the method does not run on made-up inputs")
                })?;
                times.push(milliseconds(start));
            }
            // The first run reads the weights into memory, so it is not counted.
            let [low, median, high] = quartiles(&mut times[1..]);
            rows.push(json!({
                "method": name,
                "precision": precision.name(),
                "input_shapes": types.iter().map(|(_, l)| l.shape.to_vec()).collect::<Vec<_>>(),
                "ms": median,
                "quartiles_ms": [low, high],
                "flops": always.flops,
                "bytes": always.bytes,
            }));
        }
    }
    Ok(rows)
}

/// A made-up input: noise for f32, zeros for all other types, since zero is always a valid index.
fn input(dtype: DType, shape: &[usize]) -> Option<Tensor> {
    match dtype {
        DType::F32 => Tensor::from_slice(shape, &noise(shape.iter().product())).ok(),
        _ => Tensor::zeros(dtype, shape).ok(),
    }
}
