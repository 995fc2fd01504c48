//! Recurrent layers, as PyTorch keeps them before they are decomposed, and single steps of them.
//!
//! All are one kernel. A cell is a layer with one step; packed sequences have a number of entries
//! for each step.

use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::recurrent::{Cell, Recurrence, Results, Tensors};
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)",
        |c| layers(c, Cell::Lstm),
    ),
    op(
        "aten::lstm.data(Tensor data, Tensor batch_sizes, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor, Tensor)",
        |c| layers(c, Cell::Lstm),
    ),
    op(
        "aten::gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Gru),
    ),
    op(
        "aten::gru.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Gru),
    ),
    op(
        "aten::rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Tanh),
    ),
    op(
        "aten::rnn_tanh.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Tanh),
    ),
    op(
        "aten::rnn_relu.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Relu),
    ),
    op(
        "aten::rnn_relu.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)",
        |c| layers(c, Cell::Relu),
    ),
    op(
        "aten::lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> (Tensor, Tensor)",
        |c| cell(c, Cell::Lstm),
    ),
    op(
        "aten::gru_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> Tensor",
        |c| cell(c, Cell::Gru),
    ),
    op(
        "aten::rnn_tanh_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> Tensor",
        |c| cell(c, Cell::Tanh),
    ),
    op(
        "aten::rnn_relu_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> Tensor",
        |c| cell(c, Cell::Relu),
    ),
];

/// The operands of a call. States have a dimension for layers and directions in front.
struct Operand<'c> {
    /// `[steps, batch, input]` or, packed, `[rows, input]`.
    x: (&'c TensorArg, Layout),
    packed: Option<&'c TensorArg>,
    state: (&'c TensorArg, Layout),
    contents: Option<(&'c TensorArg, Layout)>,
    weights: Vec<&'c TensorArg>,
}

fn misfit(reason: impl std::fmt::Display) -> OpError {
    OpError::new(format!(
        "the operands of recurrent layers do not fit: {reason}"
    ))
}

/// The first states, and the first contents of an LSTM.
fn states<'c>(
    call: &'c Call<'_>,
    cell: Cell,
) -> Result<(&'c TensorArg, Option<&'c TensorArg>), OpError> {
    if cell != Cell::Lstm {
        return Ok((call.tensor("hx")?, None));
    }
    match call.tensors("hx")?[..] {
        [state, contents] => Ok((state, Some(contents))),
        ref others => Err(misfit(format!("{} states instead of 2", others.len()))),
    }
}

fn layers(call: &Call<'_>, cell: Cell) -> Result<Lowering, OpError> {
    if call.bool("train")? && call.float("dropout")? != 0.0 {
        return Err(OpError::unsupported(
            "the program was exported in training mode; call .eval() on the model first",
        ));
    }
    let (state, contents) = states(call, cell)?;
    let weights = call.tensors("params")?;
    let is_packed = call.has("batch_sizes");
    let x = call.tensor(if is_packed { "data" } else { "input" })?;
    let batch_first = !is_packed && call.bool("batch_first")?;
    let (bidirectional, has_biases) = (call.bool("bidirectional")?, call.bool("has_biases")?);
    let layers = length(call.int("num_layers")?, "the number of layers")?;
    if x.rank() != if is_packed { 2 } else { 3 } || state.rank() != 3 {
        return Err(misfit(format!(
            "an input {:?} and states {:?}",
            x.shape(),
            state.shape()
        )));
    }
    let packed = is_packed.then(|| call.tensor("batch_sizes")).transpose()?;
    if packed.is_some_and(|p| p.rank() != 1 || !p.dtype.is_int()) {
        return Err(misfit("`batch_sizes` is no list of integers"));
    }
    let time_major = |layout: Layout| match batch_first {
        true => layout.transpose(0, 1),
        false => layout,
    };
    let operand = Operand {
        x: (x, time_major(x.layout_from_start())),
        packed,
        state: (state, state.layout_from_start()),
        contents: contents.map(|c| (c, c.layout_from_start())),
        weights,
    };
    let recurrence = recurrence(call, cell, &operand, [bidirectional, has_biases], layers)?;
    let mut shape: Dims = operand.x.1.shape.clone();
    if let Some(last) = shape.last_mut() {
        *last = recurrence.directions() * recurrence.state;
    }
    let shape = checked_shape(time_major(Layout::contiguous(&shape)).shape)?;
    let result = time_major(Layout::contiguous(&shape));
    lower(
        &operand,
        recurrence,
        Some((shape, result)),
        [state.shape(), contents.map_or(&[], |c| c.shape())],
    )
}

/// One step of one layer.
fn cell(call: &Call<'_>, cell: Cell) -> Result<Lowering, OpError> {
    let (state, contents) = states(call, cell)?;
    let x = call.tensor("input")?;
    let mut weights = vec![call.tensor("w_ih")?, call.tensor("w_hh")?];
    let biases = [call.optional_tensor("b_ih")?, call.optional_tensor("b_hh")?];
    let has_biases = match biases {
        [None, None] => false,
        [Some(a), Some(b)] => {
            weights.extend([a, b]);
            true
        }
        _ => return Err(OpError::unsupported("a cell with one bias instead of two")),
    };
    if x.rank() != 2 || state.rank() != 2 || contents.is_some_and(|c| c.rank() != 2) {
        return Err(misfit(format!(
            "an input {:?} and states {:?}",
            x.shape(),
            state.shape()
        )));
    }
    let layered = |t: &TensorArg| t.layout_from_start().unsqueeze(0);
    let operand = Operand {
        x: (x, layered(x)),
        packed: None,
        state: (state, layered(state)),
        contents: contents.map(|c| (c, layered(c))),
        weights,
    };
    let recurrence = recurrence(call, cell, &operand, [false, has_biases], 1)?;
    lower(
        &operand,
        recurrence,
        None,
        [state.shape(), contents.map_or(&[], |c| c.shape())],
    )
}

/// The sizes of the operands, if they fit.
fn recurrence(
    call: &Call<'_>,
    cell: Cell,
    operand: &Operand<'_>,
    [bidirectional, has_biases]: [bool; 2],
    layers: usize,
) -> Result<Recurrence, OpError> {
    let (x, state) = (&operand.x.1.shape, &operand.state.1.shape);
    let width = operand
        .contents
        .as_ref()
        .map_or(state[2], |(_, c)| c.shape[2]);
    let (steps, rows) = match operand.packed {
        Some(packed) => (packed.shape()[0], x[0]),
        None => (x[0], x[0].saturating_mul(x[1])),
    };
    let recurrence = Recurrence {
        cell,
        layers,
        bidirectional,
        has_biases,
        steps,
        batch: state[1],
        rows,
        input: x[x.len() - 1],
        width,
        state: state[2],
        is_projected: width != state[2],
        plain: call.plain(),
    };
    let (directions, each) = (recurrence.directions(), recurrence.weights_each());
    let total = layers.saturating_mul(directions);
    let contents_fit = operand
        .contents
        .as_ref()
        .is_none_or(|(_, c)| c.shape[..] == [total, state[1], width]);
    if total == 0
        || state[0] != total
        || !contents_fit
        || (operand.packed.is_none() && x[1] != state[1])
    {
        return Err(misfit(format!(
            "an input {x:?}, {layers} layers and states {state:?}"
        )));
    }
    if state[2] == 0 || recurrence.input == 0 {
        return Err(misfit("a width is 0"));
    }
    if operand.weights.len() != total.saturating_mul(each) {
        return Err(misfit(format!(
            "{} weights for {layers} layers",
            operand.weights.len()
        )));
    }
    let gates = cell
        .gates()
        .checked_mul(width)
        .ok_or_else(|| misfit("the sizes overflow"))?;
    for (i, weight) in operand.weights.iter().enumerate() {
        let input = if i / each < directions {
            recurrence.input
        } else {
            directions * state[2]
        };
        let expected: &[usize] = match (i % each, has_biases) {
            (0, _) => &[gates, input],
            (1, _) => &[gates, state[2]],
            (2 | 3, true) => &[gates],
            _ => &[state[2], width],
        };
        if weight.shape() != expected {
            return Err(misfit(format!(
                "weight {i} is {:?} instead of {expected:?}",
                weight.shape()
            )));
        }
    }
    let dtype = operand.x.0.dtype;
    let states = [
        Some(operand.state.0),
        operand.contents.as_ref().map(|c| c.0),
    ];
    let mut all = operand
        .weights
        .iter()
        .copied()
        .chain(states.into_iter().flatten());
    if !dtype.is_float() || all.any(|t| t.dtype != dtype) {
        return Err(misfit("they are not of one type of floats"));
    }
    Ok(recurrence)
}

/// The computation: of the states of all steps, if there is a shape and layout for them, and of the
/// last states and contents, which have these shapes.
fn lower(
    operand: &Operand<'_>,
    recurrence: Recurrence,
    states: Option<(Dims, Layout)>,
    last: [&[usize]; 2],
) -> Result<Lowering, OpError> {
    let dtype = operand.x.0.dtype;
    let bytes = recurrence.scratch_bytes(dtype);
    let bytes = bytes.ok_or_else(|| misfit("the sizes overflow"))?;
    let with_index = |(t, layout): &(&TensorArg, Layout)| (t.index, layout.clone());
    let (x, state) = (with_index(&operand.x), with_index(&operand.state));
    let contents = operand.contents.as_ref().map(with_index);
    let packed = operand.packed.map(|p| p.index);
    // They are the operands of one list, or neighbours: their indices follow each other.
    let first = operand.weights.first().map_or(0, |w| w.index);
    let weights = first..first + operand.weights.len();
    let mut results: Vec<(DType, Dims)> = Vec::new();
    let all_states = states.map(|(shape, layout)| {
        results.push((dtype, shape));
        layout
    });
    results.push((dtype, last[0].into()));
    if contents.is_some() {
        results.push((dtype, last[1].into()));
    }
    let to_state = Layout::contiguous(&state.1.shape);
    let to_contents = contents.as_ref().map(|c| Layout::contiguous(&c.1.shape));
    let run = move |o: &mut Operands<'_, '_>| {
        let contents = contents
            .as_ref()
            .map(|(i, layout)| view(&o.inputs[*i], layout));
        let tensors = Tensors {
            x: view(&o.inputs[x.0], &x.1)?,
            packed: packed.map(|i| o.inputs[i]),
            state: view(&o.inputs[state.0], &state.1)?,
            contents: contents.transpose()?,
            weights: &o.inputs[weights.clone()],
        };
        let mut outputs = o.outputs.iter_mut();
        let states = match &all_states {
            Some(layout) => outputs.next().map(|t| view_mut(t, layout)).transpose()?,
            None => None,
        };
        let last = outputs.next().map(|t| view_mut(t, &to_state));
        let Some(last) = last.transpose()? else {
            return Ok(());
        };
        let last_contents = match &to_contents {
            Some(layout) => outputs.next().map(|t| view_mut(t, layout)).transpose()?,
            None => None,
        };
        let mut results = Results {
            states,
            last,
            last_contents,
        };
        recurrence.run(&mut results, &tensors, o.scratch, o.threads)
    };
    let compute = Compute::new(results, WithScratch { bytes, run });
    Ok(Lowering::Compute(compute).with_flops(flops(&recurrence)))
}

/// Operations of the products.
fn flops(recurrence: &Recurrence) -> u64 {
    let Recurrence {
        rows,
        width,
        state,
        input,
        layers,
        ..
    } = *recurrence;
    let directions = recurrence.directions();
    let inputs = [input].into_iter().chain(std::iter::repeat_n(
        directions * state,
        layers.saturating_sub(1),
    ));
    let widths: usize = inputs
        .map(|input| input.saturating_add(state))
        .fold(0, usize::saturating_add);
    let gates = recurrence.cell.gates() * width * directions;
    (2 * rows as u64).saturating_mul((gates as u64).saturating_mul(widths as u64))
}
