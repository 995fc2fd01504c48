//! Lanes as sessions.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each lane
//! after the first is a session of its own, made when it is first asked for. All read the encoder's
//! output where the first session has it, without a copy. Each computes and keeps its own
//! cross-attention keys and values: for them to be shared, a session would have to lend a part of
//! its state (the slots that are written only where `cache_position[0]` is 0) to others for reading,
//! and a plan to accept a state slot that lies in another session's memory.

use crosslatch::{DType, Input, Layout, Model, Options, Session, TensorRef};

use super::ExportedError;

/// The sessions of one source.
pub(super) struct Lanes {
    kind: &'static str,
    model: Model,
    options: Options,
    /// The first lane, and what the encoder returned.
    session: Session,
    others: Vec<Session>,
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
            session: Session::new(model, options),
            others: Vec::new(),
            model: model.clone(),
            options,
            positions: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// Encodes a new source; no lane holds anything of the last one.
    pub fn encode(&mut self, source: &[(&str, Input<'_>)]) -> Result<(), ExportedError> {
        self.session.reset();
        self.others.iter_mut().for_each(Session::reset);
        self.session.run("encoder", source)?;
        Ok(())
    }

    /// Makes lanes until there are as many as wanted; returns how many there are.
    pub fn grow(&mut self, wanted: usize) -> usize {
        while self.others.len() + 1 < wanted {
            self.others.push(Session::new(&self.model, self.options));
        }
        wanted.max(1)
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
        self.positions.clear();
        self.positions
            .extend((position..position + tokens.len()).map(|p| p as i64));
        let ids_layout = Layout::contiguous(&[1, tokens.len()]);
        let positions_layout = Layout::contiguous(&[tokens.len()]);
        let ids = integers(&ids_layout, tokens).map_err(wrong)?;
        let positions = integers(&positions_layout, &self.positions).map_err(wrong)?;
        let (session, states) = match lane.checked_sub(1) {
            None => {
                let (method, name) = ("encoder", self.encoder_output.as_str());
                (&mut self.session, Input::Output { method, name })
            }
            Some(other) => {
                let states = self.session.outputs("encoder")?.get(&self.encoder_output);
                let states = states.ok_or_else(|| wrong("nothing was encoded".into()))?;
                let session = self.others.get_mut(other);
                let session = session.ok_or_else(|| wrong(format!("there is no lane {lane}")))?;
                (session, Input::Tensor(states))
            }
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
