//! An exported speech model: `encoder` takes `input_features`.

use crosslatch::passes::alignment::Heads;
use crosslatch::{DType, Layout, Model, Options, TensorRef};

use super::alignment::Alignment;
use super::decoder::ExportedDecoder;
use super::{ExportedError, ExportedModel};
use crate::speech::whisper::alignment_heads;
use crate::speech::{SpeechModel, SpeechPipeline, TranscribeError};

const KIND: &str = "speech";

/// A session on an exported speech model.
pub type ExportedSpeechModel = ExportedModel<SpeechSource>;

/// The source of a speech model: the features of a window.
pub struct SpeechSource;

/// Reads the files beside a model's weights that turn sound into text.
///
/// # Errors
/// If a file is missing from the archive or malformed.
pub fn speech_pipeline(model: &Model) -> Result<SpeechPipeline, TranscribeError<ExportedError>> {
    let file = |name: &str| {
        let missing = || layout(format!("the archive has no `{name}`"));
        let file = model.extra_file(name);
        file.ok_or_else(|| TranscribeError::Model(missing()))
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
        Ok(ExportedModel {
            decoder: ExportedDecoder::new(model, options, KIND, heads(model))?,
            source: SpeechSource,
        })
    }

    /// Why a model cannot say when words are spoken; `None` if it can.
    pub fn without_words(model: &Model) -> Option<String> {
        let aligned = heads(model).and_then(|heads| {
            let aligned = Alignment::of(model, &heads);
            aligned.map_err(|e| e.to_string())
        });
        aligned.err()
    }
}

/// The heads by which words get their times: those that the model's files name, or else, as in
/// openai-whisper, all of the last half of the layers.
fn heads(model: &Model) -> Result<Heads, String> {
    let named = alignment_heads(model.extra_file("generation_config.json"));
    let named = named.map_err(|e| e.to_string())?;
    Ok(named.map_or(Heads::LastHalf, Heads::Named))
}

impl SpeechModel for ExportedSpeechModel {
    fn encode(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), ExportedError> {
        let shape = Layout::contiguous(&[1, mels, frames]);
        let features = TensorRef::new(DType::F32, &shape, bytemuck::cast_slice(features))
            .map_err(|e| layout(format!("features: {e}")))?;
        self.decoder.encode(&[("input_features", features.into())])
    }
}

fn layout(cause: String) -> ExportedError {
    ExportedError::Layout { kind: KIND, cause }
}
