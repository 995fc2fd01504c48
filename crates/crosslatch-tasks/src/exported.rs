//! An exported speech model as [`SpeechModel`]: the engine's session behind the decoding loop.
//!
//! The archive holds two methods. `encoder` takes `input_features`; `decoder` takes `input_ids`,
//! `cache_position` and `encoder_hidden_states`, and keeps its caches as state. What the encoder
//! returned is read by the decoder where it lies. A new window is a new input: the session's state
//! is put back, so that nothing of the last window can take part in the next.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each lane
//! after the first is a session of its own, made when it is first asked for. All read the encoder's
//! output where the first session has it, without a copy. Each computes and keeps its own
//! cross-attention keys and values: for them to be shared, a session would have to lend a part of
//! its state (the slots that are written only where `cache_position[0]` is 0) to others for reading,
//! and a plan to accept a state slot that lies in another session's memory.

use crosslatch::error::Error;
use crosslatch::{DType, Input, Layout, Model, Options, Session, TensorRef};

use crate::search::Decoder;
use crate::speech::{SpeechModel, SpeechPipeline, TranscribeError};

/// A session on a speech model.
pub struct ExportedSpeechModel {
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

/// Why an archive cannot be used as a speech model, or a step of it failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportedError {
    /// The engine's own error.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The archive is not laid out as a speech model.
    #[error("not a speech model: {0}")]
    Layout(String),
}

/// Reads the files beside the weights that turn sound into text.
///
/// # Errors
/// If a file is missing from the archive or malformed.
pub fn pipeline(model: &Model) -> Result<SpeechPipeline, TranscribeError<ExportedError>> {
    let file = |name: &str| {
        model
            .extra_file(name)
            .ok_or_else(|| TranscribeError::Encoder {
                seconds: 0.0,
                source: ExportedError::Layout(format!("the archive has no `{name}`")),
            })
    };
    SpeechPipeline::from_json(
        file("preprocessor_config.json")?,
        file("tokenizer.json")?,
        model.extra_file("generation_config.json"),
        file("config.json")?,
    )
}

impl ExportedSpeechModel {
    /// A fresh session on a model.
    ///
    /// # Errors
    /// If the model lacks one of the two methods, or one of them has no output.
    pub fn new(model: &Model, options: Options) -> Result<Self, ExportedError> {
        let first_output = |method: &str| -> Result<String, ExportedError> {
            let program = &model.methods()[model.method_index(method)?].program;
            let mut names = program.outputs.iter().filter_map(|o| match o {
                crosslatch::ir::Output::User(name) => Some(name.clone()),
                crosslatch::ir::Output::Mutation { .. } => None,
            });
            names
                .next()
                .ok_or_else(|| ExportedError::Layout(format!("`{method}` returns nothing")))
        };
        Ok(ExportedSpeechModel {
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
}

impl SpeechModel for ExportedSpeechModel {
    fn encode(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), ExportedError> {
        self.session.reset();
        self.others.iter_mut().for_each(Session::reset);
        let layout = Layout::contiguous(&[1, mels, frames]);
        let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(features))
            .map_err(|e| ExportedError::Layout(format!("features: {e}")))?;
        self.session
            .run("encoder", &[("input_features", features.into())])?;
        Ok(())
    }
}

impl Decoder for ExportedSpeechModel {
    type Error = ExportedError;

    fn lanes(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        while self.others.len() + 1 < wanted {
            self.others.push(Session::new(&self.model, self.options));
        }
        Ok(wanted.max(1))
    }

    fn decode(
        &mut self,
        lane: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], ExportedError> {
        let wrong = |e| ExportedError::Layout(format!("tokens: {e}"));
        self.positions.clear();
        self.positions
            .extend((position..position + tokens.len()).map(|p| p as i64));
        let ids_layout = Layout::contiguous(&[1, tokens.len()]);
        let positions_layout = Layout::contiguous(&[tokens.len()]);
        let ids =
            TensorRef::new(DType::I64, &ids_layout, bytemuck::cast_slice(tokens)).map_err(wrong)?;
        let positions = TensorRef::new(
            DType::I64,
            &positions_layout,
            bytemuck::cast_slice(&self.positions),
        )
        .map_err(wrong)?;
        let (session, states) = match lane.checked_sub(1) {
            None => {
                let (method, name) = ("encoder", self.encoder_output.as_str());
                (&mut self.session, Input::Output { method, name })
            }
            Some(other) => {
                let states = self.session.outputs("encoder")?.get(&self.encoder_output);
                let states =
                    states.ok_or_else(|| ExportedError::Layout("nothing was encoded".into()))?;
                let session = self.others.get_mut(other);
                let session = session
                    .ok_or_else(|| ExportedError::Layout(format!("there is no lane {lane}")))?;
                (session, Input::Tensor(states))
            }
        };
        let outputs = session.run(
            "decoder",
            &[
                ("input_ids", ids.into()),
                ("cache_position", positions.into()),
                ("encoder_hidden_states", states),
            ],
        )?;
        let logits = outputs
            .get(&self.decoder_output)
            .filter(|t| t.dtype() == DType::F32 && t.shape().len() == 3)
            .ok_or_else(|| ExportedError::Layout("`decoder` returns no f32 logits".into()))?;
        let vocabulary = logits.shape()[2];
        let all = logits
            .contiguous::<f32>()
            .filter(|all| all.len() >= vocabulary)
            .ok_or_else(|| ExportedError::Layout("`decoder` returns strided logits".into()))?;
        // Copied, so that the session is free again.
        self.logits.clear();
        self.logits
            .extend_from_slice(&all[all.len() - vocabulary..]);
        Ok(&self.logits)
    }
}
