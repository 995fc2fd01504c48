//! An exported speech model: `encoder` takes `input_features`.

use std::sync::Arc;

use crosslatch::{DType, Layout, Model, Options, TensorRef};

use super::ExportedError;
use super::circle::Circle;
use super::lanes::Lanes;
use crate::search::{Decoder, Feed};
use crate::speech::{SpeechModel, SpeechPipeline, TranscribeError};

const KIND: &str = "speech";

/// A session on a speech model.
pub struct ExportedSpeechModel {
    lanes: Lanes,
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
                source: layout(format!("the archive has no `{name}`")),
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
        Ok(ExportedSpeechModel {
            lanes: Lanes::new(model, options, KIND)?,
        })
    }

    /// This model, with its steps taken together with those of others in a circle. All that are in
    /// one circle decode at the same time, each in a thread of its own.
    #[must_use]
    pub fn in_circle(self, circle: &Arc<Circle>) -> Self {
        let lanes = self.lanes.in_circle(circle);
        ExportedSpeechModel { lanes }
    }
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
        self.lanes.encode(&[("input_features", features.into())])
    }
}

impl Decoder for ExportedSpeechModel {
    type Error = ExportedError;

    fn lanes(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        Ok(wanted.max(1))
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, ExportedError> {
        self.lanes.branch(from, to)?;
        Ok(true)
    }

    fn decode(
        &mut self,
        lane: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], ExportedError> {
        let feed = Feed {
            lane,
            tokens,
            position,
        };
        self.lanes.decode(feed, None)
    }

    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        self.lanes.decode_all(feeds, None, take)
    }

    fn rest(&mut self) {
        self.lanes.rest();
    }
}

fn layout(cause: String) -> ExportedError {
    ExportedError::Layout { kind: KIND, cause }
}
