//! Exported models behind the decoding loops: the engine's sessions as [`SpeechModel`] and
//! [`TextModel`].
//!
//! The archive holds two methods. `encoder` takes the source: `input_features`, or `input_ids` with
//! `attention_mask`. `decoder` takes `input_ids`, `cache_position`, `encoder_hidden_states` and, for
//! text, `encoder_attention_mask`, and keeps its caches as state. What the encoder returned is read
//! by the decoder where it lies. A new source is a new input: the session's state is put back, so
//! that nothing of the last one can take part in the next.
//!
//! What the two kinds of model share, above all that a lane is a session, is in `lanes`. Models that
//! are decoded at the same time meet in a [`Circle`].
//!
//! [`SpeechModel`]: crate::SpeechModel
//! [`TextModel`]: crate::TextModel

mod circle;
mod lanes;
mod speech;
mod step;
#[cfg(test)]
mod tests;
mod text;

pub use circle::Circle;
pub use speech::{ExportedSpeechModel, pipeline};
pub use text::{ExportedTextModel, text_pipeline};

/// Why an archive cannot be used as a model of some kind, or a step of it failed.
#[derive(Debug, thiserror::Error)]
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
    /// A step that was taken together with other models' failed.
    #[error("a step that was taken together with other windows failed: {0}")]
    Together(String),
}
