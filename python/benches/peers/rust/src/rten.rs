//! RTen: the ONNX files that ONNX Runtime has, too.
//!
//! The caches of self-attention are given away to each step and come back longer. They are made with
//! room for all tokens, so that `Concat` appends to them in place, as RTen's own generator has it.

use std::path::Path;

use rten::{DataType, Dimension, Model, ModelOptions, NodeId, Value, ValueOrView, ValueType};
use rten_tensor::{NdTensor, Tensor};

use crate::{Input, Peer, Result};

/// Tokens that the caches have room for.
const ROOM: usize = 448;

/// Encoder, cross-attention keys and values, step.
pub struct Onnx {
    encoder: Model,
    cross: Model,
    step: Model,
    /// Of the step: its caches before and after it.
    past: Vec<NodeId>,
    present: Vec<NodeId>,
    held: Vec<Value>,
    /// Of the step: what stays the same for all tokens.
    given: Vec<(NodeId, Value)>,
    states: Option<Value>,
}

impl Onnx {
    pub fn load(folder: &Path) -> Result<Onnx> {
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let load = |name: &str| options.load_file(folder.join(name).with_extension("onnx"));
        let step = load("step")?;
        let named = |ids: &[NodeId], prefix: &str| -> Vec<NodeId> {
            let is = |id: &NodeId| name(&step, *id).starts_with(prefix);
            ids.iter().copied().filter(is).collect()
        };
        let past = named(step.input_ids(), "past_");
        let present = named(step.output_ids(), "present_");
        Ok(Onnx {
            encoder: load("encoder")?,
            cross: load("cross")?,
            step,
            past,
            present,
            held: Vec::new(),
            given: Vec::new(),
            states: None,
        })
    }

    /// Caches without tokens.
    fn empty(&self) -> Result<Vec<Value>> {
        let empty = |&id: &NodeId| {
            let shape = self.step.node_info(id).and_then(|info| info.shape());
            match shape.as_deref() {
                Some(
                    [
                        Dimension::Fixed(lanes),
                        Dimension::Fixed(heads),
                        _,
                        Dimension::Fixed(size),
                    ],
                ) => {
                    let shape = [*lanes, *heads, ROOM, *size];
                    Ok(NdTensor::<f32, 4>::with_capacity(shape, 2).into())
                }
                _ => Err(format!("a cache of shape {shape:?}").into()),
            }
        };
        self.past.iter().map(empty).collect()
    }
}

impl Peer for Onnx {
    fn encode(&mut self, input: &Input) -> Result<()> {
        let id = self.encoder.input_ids()[0];
        let dtype = self.encoder.node_info(id).and_then(|info| info.dtype());
        let value: Value = match dtype {
            Some(ValueType::Tensor(DataType::Float)) => {
                Tensor::from_data(&input.shape, input.floats()).into()
            }
            _ => Tensor::from_data(&input.shape, input.integers()).into(),
        };
        self.states = Some(self.encoder.run_one(value.into(), None)?);
        Ok(())
    }

    fn step(&mut self, token: i32, position: usize) -> Result<Vec<f32>> {
        if position == 0 {
            let states = self.states.take().ok_or("nothing is encoded")?;
            let inputs = vec![(self.cross.input_ids()[0], states.into())];
            let outputs = self.cross.output_ids();
            let values = self.cross.run(inputs, outputs, None)?;
            let fed = outputs
                .iter()
                .map(|&id| self.step.node_id(name(&self.cross, id)));
            let fed: Vec<NodeId> = fed.collect::<std::result::Result<_, _>>()?;
            self.given = fed.into_iter().zip(values).collect();
            self.held = self.empty()?;
        }
        let id = |name: &str| self.step.node_id(name);
        let token = NdTensor::from([[token]]);
        let position = NdTensor::from([position as i32]);
        let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = vec![
            (id("input_ids")?, ValueOrView::Value(token.into())),
            (id("position")?, ValueOrView::Value(position.into())),
        ];
        let held = self.held.drain(..);
        inputs.extend(self.past.iter().copied().zip(held.map(ValueOrView::Value)));
        inputs.extend(self.given.iter().map(|(id, value)| (*id, value.into())));
        let outputs: Vec<NodeId> = [id("logits")?]
            .into_iter()
            .chain(self.present.iter().copied())
            .collect();
        let mut values = self.step.run(inputs, &outputs, None)?;
        self.held = values.split_off(1);
        let logits: Tensor<f32> = values.remove(0).try_into()?;
        Ok(logits.into_data())
    }
}

fn name(model: &Model, id: NodeId) -> &str {
    let info = model.node_info(id);
    info.and_then(|info| info.name()).unwrap_or_default()
}
