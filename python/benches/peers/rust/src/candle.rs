//! candle: the models of candle-transformers, used as candle's own examples use them.
//!
//! Its Whisper keeps the keys and values of cross-attention and nothing else: all tokens so far are fed
//! in every step. Its T5 keeps those of self-attention, and computes those of cross-attention in every
//! step; its scores are wrong, because its decoder sorts distances into buckets as an encoder does.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{t5, whisper};
use serde_json::{Map, Value};

use crate::{Input, Peer, Result};

const DEVICE: Device = Device::Cpu;

/// The model in a folder that transformers wrote.
pub fn load(folder: &Path) -> Result<Box<dyn Peer>> {
    let config = fs::read_to_string(folder.join("config.json"))?;
    let mut config: Map<String, Value> = serde_json::from_str(&config)?;
    // Transformers writes null where candle wants nothing.
    config.retain(|_, value| !value.is_null());
    let kind = config.get("model_type").and_then(Value::as_str);
    let kind = kind.map(String::from);
    let config = Value::from(config);
    let files = [folder.join("model.safetensors")];
    // SAFETY: the file is complete, and nobody writes it again.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&files, DType::F32, &DEVICE)? };
    match kind.as_deref() {
        Some("whisper") => Ok(Box::new(Whisper {
            model: whisper::model::Whisper::load(&weights, serde_json::from_value(config)?)?,
            states: None,
            tokens: Vec::new(),
        })),
        Some("t5") => Ok(Box::new(T5 {
            model: t5::T5ForConditionalGeneration::load(weights, &serde_json::from_value(config)?)?,
            states: None,
        })),
        other => Err(format!("no model of type {other:?}").into()),
    }
}

struct Whisper {
    model: whisper::model::Whisper,
    states: Option<Tensor>,
    tokens: Vec<u32>,
}

impl Peer for Whisper {
    fn encode(&mut self, input: &Input) -> Result<()> {
        let features = Tensor::from_vec(input.floats(), input.shape.as_slice(), &DEVICE)?;
        self.states = Some(self.model.encoder.forward(&features, true)?);
        self.tokens.clear();
        Ok(())
    }

    fn step(&mut self, token: i32, position: usize) -> Result<Vec<f32>> {
        self.tokens.push(u32::try_from(token)?);
        let states = self.states.as_ref().ok_or("nothing is encoded")?;
        let tokens = Tensor::new(self.tokens.as_slice(), &DEVICE)?.unsqueeze(0)?;
        let decoder = &mut self.model.decoder;
        let hidden = decoder.forward(&tokens, states, position == 0)?;
        let logits = decoder.final_linear(&hidden.i((..1, position..))?)?;
        Ok(logits.i((0, 0))?.to_vec1()?)
    }
}

struct T5 {
    model: t5::T5ForConditionalGeneration,
    states: Option<Tensor>,
}

impl Peer for T5 {
    fn encode(&mut self, input: &Input) -> Result<()> {
        let ids = Tensor::from_vec(input.integers(), input.shape.as_slice(), &DEVICE)?;
        let ids = ids.to_dtype(DType::U32)?;
        self.model.clear_kv_cache();
        self.states = Some(self.model.encode(&ids)?);
        Ok(())
    }

    fn step(&mut self, token: i32, _: usize) -> Result<Vec<f32>> {
        let states = self.states.as_ref().ok_or("nothing is encoded")?;
        let token = Tensor::new(&[[u32::try_from(token)?]], &DEVICE)?;
        Ok(self.model.decode(&token, states)?.i(0)?.to_vec1()?)
    }
}
