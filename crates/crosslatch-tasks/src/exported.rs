//! An exported speech model as [`SpeechModel`]: the engine's session behind the decoding loop.
//!
//! The archive holds two methods. `encoder` takes `input_features`; `decoder` takes `input_ids`,
//! `cache_position` and `encoder_hidden_states`, and keeps its caches as state. What the encoder
//! returned is read by the decoder where it lies. A new window is a new input: the session's state
//! is put back, so that nothing of the last window can take part in the next.

use crosslatch::error::Error;
use crosslatch::{DType, Input, Layout, Model, Options, Session, TensorRef};

use crate::speech::{SpeechModel, SpeechPipeline, TranscribeError};

/// A session on a speech model.
pub struct ExportedSpeechModel {
    session: Session,
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
            positions: Vec::new(),
            logits: Vec::new(),
        })
    }
}

impl SpeechModel for ExportedSpeechModel {
    type Error = ExportedError;

    fn encode(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), ExportedError> {
        self.session.reset();
        let layout = Layout::contiguous(&[1, mels, frames]);
        let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(features))
            .map_err(|e| ExportedError::Layout(format!("features: {e}")))?;
        self.session
            .run("encoder", &[("input_features", features.into())])?;
        Ok(())
    }

    fn decode(&mut self, tokens: &[i64], position: usize) -> Result<&[f32], ExportedError> {
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
        let outputs = self.session.run(
            "decoder",
            &[
                ("input_ids", ids.into()),
                ("cache_position", positions.into()),
                (
                    "encoder_hidden_states",
                    Input::Output {
                        method: "encoder",
                        name: &self.encoder_output,
                    },
                ),
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
