//! Exported models behind the decoding loops: the engine's sessions as [`SpeechModel`] and
//! [`TextModel`].
//!
//! The archive holds two methods. `encoder` takes the source: `input_features`, or `input_ids` with
//! `attention_mask`. `decoder` takes `input_ids`, `cache_position`, `encoder_hidden_states` and,
//! for text, `encoder_attention_mask`, and keeps its caches as state. The decoder reads what the
//! encoder returned where it lies. A new source is a new input: the session's state is reset, so
//! that nothing of the last source can take part in the next.
//!
//! Both kinds of model decode in the same way, with a session for each sequence (`decoder`), and
//! share one [`ExportedModel`]; they differ in what their encoders take (`speech`, `text`). Models
//! that decode at the same time can take their steps together, by a [`StepBatcher`]. Texts can also
//! be rows of one session (`rows`), if the programs were exported for several at a time.
//!
//! [`SpeechModel`]: crate::SpeechModel
//! [`TextModel`]: crate::TextModel

mod alignment;
mod decoder;
mod rows;
mod speech;
mod step;
mod step_batching;
#[cfg(test)]
mod tests;
mod text;
mod text_programs;

use std::sync::Arc;

pub use speech::{ExportedSpeechModel, SpeechSource, speech_pipeline};
pub use step_batching::{BatchError, StepBatcher};
pub use text::{ExportedTextModel, text_pipeline};

use crate::search::{Decoder, Feed, HeadWeights};
use decoder::ExportedDecoder;

/// A session on an exported model. `Source` is what its encoder takes, such as [`SpeechSource`].
pub struct ExportedModel<Source> {
    decoder: ExportedDecoder,
    source: Source,
}

impl<Source> ExportedModel<Source> {
    /// This model, with its decoder steps taken together with those of other models that share the
    /// batcher. All of them decode at the same time, each in a thread of its own.
    #[must_use]
    pub fn batched_by(self, batcher: &Arc<StepBatcher>) -> Self {
        ExportedModel {
            decoder: self.decoder.batched_by(batcher),
            source: self.source,
        }
    }
}

impl<Source> Decoder for ExportedModel<Source> {
    type Error = ExportedError;

    fn sequences(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        Ok(wanted.max(1))
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, ExportedError> {
        self.decoder.branch(from, to)?;
        Ok(true)
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], ExportedError> {
        self.decoder.decode(Feed {
            sequence,
            tokens,
            position,
        })
    }

    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        self.decoder.decode_all(feeds, take)
    }

    fn unaligned(&self) -> Option<&str> {
        self.decoder.unaligned()
    }

    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        self.decoder.align(feed, take)
    }

    fn pause(&mut self) {
        self.decoder.pause();
    }
}

/// Why an archive cannot be used as a model of some kind, or a step of it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportedError {
    /// The engine's own error.
    #[error(transparent)]
    Engine(#[from] crosslatch::Error),
    /// The archive is not laid out as such a model.
    #[error("not a {kind} model: {cause}")]
    Layout {
        /// `speech` or `text`.
        kind: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A step that was taken together with those of other models failed.
    #[error("a step that was taken together with other windows failed: {0}")]
    Batch(#[source] BatchError),
    /// The sequences were lost in a step that failed; they come back with the next source.
    #[error(
        "what was decoded so far is lost, because a step that was taken together with other windows failed"
    )]
    Lost,
}
