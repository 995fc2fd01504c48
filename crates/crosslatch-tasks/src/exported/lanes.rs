//! Lanes as sessions.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each lane
//! is a session of its own. A lane comes into being as a fork of another one: it reads the encoder's
//! output and the cross-attention keys and values where the first lane has them, and copies what it
//! writes, which is its self-attention cache.

use crosslatch::{DType, Input, Layout, Model, Options, Session, TensorRef};

use super::ExportedError;

/// The sessions of one source.
pub(super) struct Lanes {
    kind: &'static str,
    /// The first lane holds what the encoder returned; the others are forks of it, or of one another.
    sessions: Vec<Session>,
    encoder_output: String,
    decoder_output: String,
    positions: Vec<i64>,
    logits: Vec<f32>,
}

impl Lanes {
    /// One lane on a model; `kind` is what messages call it.
    ///
    /// # Errors
    /// If the model lacks one of the two methods, or one of them has no output.
    pub fn new(model: &Model, options: Options, kind: &'static str) -> Result<Self, ExportedError> {
        let first_output = |method: &str| -> Result<String, ExportedError> {
            let program = &model.methods()[model.method_index(method)?].program;
            let mut names = program.outputs.iter().filter_map(|o| match o {
                crosslatch::ir::Output::User(name) => Some(name.clone()),
                crosslatch::ir::Output::Mutation { .. } => None,
            });
            names.next().ok_or_else(|| ExportedError::Layout {
                kind,
                cause: format!("`{method}` returns nothing"),
            })
        };
        Ok(Lanes {
            kind,
            encoder_output: first_output("encoder")?,
            decoder_output: first_output("decoder")?,
            sessions: vec![Session::new(model, options)],
            positions: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// Encodes a new source; no lane holds anything of the last one.
    pub fn encode(&mut self, source: &[(&str, Input<'_>)]) -> Result<(), ExportedError> {
        self.sessions.truncate(1);
        self.sessions[0].reset();
        self.sessions[0].run("encoder", source)?;
        Ok(())
    }

    /// Makes lane `to` go on from where lane `from` is.
    pub fn branch(&mut self, from: usize, to: usize) {
        self.grow(from.max(to));
        self.sessions[to] = self.sessions[from].fork();
    }

    /// Makes lanes up to this one.
    fn grow(&mut self, lane: usize) {
        while self.sessions.len() <= lane {
            let fork = self.sessions[0].fork();
            self.sessions.push(fork);
        }
    }

    /// Bytes of the decoder's state that a lane reads where another one has it.
    #[cfg(test)]
    pub fn shared_bytes(&self, lane: usize) -> usize {
        self.sessions[lane]
            .shared_state_bytes("decoder")
            .unwrap_or(0)
    }

    /// Feeds tokens to a lane and returns the scores of the token after the last, `[vocab]`. `more`
    /// is what this decoder takes beside tokens, positions and the encoder's output.
    pub fn decode(
        &mut self,
        lane: usize,
        tokens: &[i64],
        position: usize,
        more: Option<(&str, TensorRef<'_>)>,
    ) -> Result<&[f32], ExportedError> {
        let kind = self.kind;
        let wrong = |cause: String| ExportedError::Layout { kind, cause };
        self.grow(lane);
        self.positions.clear();
        self.positions
            .extend((position..position + tokens.len()).map(|p| p as i64));
        let ids_layout = Layout::contiguous(&[1, tokens.len()]);
        let positions_layout = Layout::contiguous(&[tokens.len()]);
        let ids = integers(&ids_layout, tokens).map_err(wrong)?;
        let positions = integers(&positions_layout, &self.positions).map_err(wrong)?;
        let session = &mut self.sessions[lane];
        let states = Input::Output {
            method: "encoder",
            name: &self.encoder_output,
        };
        let ids = ("input_ids", ids.into());
        let positions = ("cache_position", positions.into());
        let states = ("encoder_hidden_states", states);
        let outputs = match more {
            None => session.run("decoder", &[ids, positions, states])?,
            Some((name, tensor)) => {
                session.run("decoder", &[ids, positions, states, (name, tensor.into())])?
            }
        };
        let logits = outputs
            .get(&self.decoder_output)
            .filter(|t| t.dtype() == DType::F32 && t.shape().len() == 3)
            .ok_or_else(|| wrong("`decoder` returns no f32 logits".into()))?;
        let vocabulary = logits.shape()[2];
        let all = logits
            .contiguous::<f32>()
            .filter(|all| all.len() >= vocabulary)
            .ok_or_else(|| wrong("`decoder` returns strided logits".into()))?;
        // Copied, so that the session is free again.
        self.logits.clear();
        self.logits
            .extend_from_slice(&all[all.len() - vocabulary..]);
        Ok(&self.logits)
    }
}

/// Integers as a tensor.
pub(super) fn integers<'t>(layout: &'t Layout, values: &'t [i64]) -> Result<TensorRef<'t>, String> {
    TensorRef::new(DType::I64, layout, bytemuck::cast_slice(values)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosslatch::ir::SlotKind;

    #[test]
    fn lanes_share_cross_attention_and_go_their_own_ways() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
        let model = Model::open(std::path::Path::new(path)).unwrap();
        let features: Vec<f32> = (0..80 * 600)
            .map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0)
            .collect();
        let layout = Layout::contiguous(&[1, 80, 600]);
        let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&features));
        let source = [("input_features", Input::from(features.unwrap()))];
        let fresh = || {
            let mut lanes = Lanes::new(&model, Options::default(), "speech").unwrap();
            lanes.encode(&source).unwrap();
            lanes
        };
        let alone = |tokens: &[i64]| fresh().decode(0, tokens, 0, None).unwrap().to_vec();

        let mut lanes = fresh();
        lanes.decode(0, &[1, 2, 3], 0, None).unwrap();
        lanes.branch(0, 1);
        lanes.branch(1, 2);
        for (lane, token) in [(0, 4), (1, 5), (2, 6), (0, 7)] {
            // The last one takes the first one's token back.
            let scores = lanes.decode(lane, &[token], 3, None).unwrap();
            assert_eq!(scores, alone(&[1, 2, 3, token]), "lane {lane}");
        }
        let decoder = &model.methods()[model.method_index("decoder").unwrap()];
        let slots = decoder.program.slots.iter().zip(&decoder.bindings);
        let state = slots.filter(|(slot, _)| slot.kind == SlotKind::State);
        let cross = state.filter(|(slot, _)| slot.name.contains("cross"));
        let cross: usize = cross
            .filter_map(|(_, binding)| binding.as_ref())
            .map(|weight| weight.layout.numel() * weight.dtype.size())
            .sum();
        assert!(cross > 0);
        for lane in 0..3 {
            assert_eq!(lanes.shared_bytes(lane), cross, "lane {lane}");
        }
    }
}
