//! Text to text: Marian, BART, mBART, Pegasus, M2M100 with NLLB, and T5 with its versions.
//!
//! A family's configuration becomes an [`Architecture`], and the two programs are built from that. They
//! have the form that transformers' model has when `crosslatch-export` exports it, so results are
//! those of an exported model. The lengths of source and text vary.

mod architecture;
mod bart;
mod decoder;
mod encoder;
mod stack;
mod t5;
mod weights;

use crosslatch::Model;

use crate::checkpoint::{CONFIG, Checkpoint};
use crate::error::CheckpointError;
use architecture::Architecture;
use weights::Ties;

/// A family of text models.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    Bart(bart::Kind),
    T5(t5::Kind),
}

impl Family {
    /// The family that configurations call by this name.
    pub fn named(model_type: &str) -> Option<Family> {
        Some(match model_type {
            "bart" => Family::Bart(bart::Kind::Bart),
            "mbart" => Family::Bart(bart::Kind::MBart),
            "marian" => Family::Bart(bart::Kind::Marian),
            "pegasus" => Family::Bart(bart::Kind::Pegasus),
            "m2m_100" => Family::Bart(bart::Kind::M2M100),
            "t5" => Family::T5(t5::Kind::T5),
            "mt5" => Family::T5(t5::Kind::MT5),
            _ => return None,
        })
    }
}

/// Builds the model of a checkpoint.
///
/// # Errors
/// If the configuration is not supported or a weight is missing or has another shape.
pub fn model(mut checkpoint: Checkpoint, family: Family) -> Result<Model, CheckpointError> {
    let architecture = architecture(&checkpoint, family)?;
    for program in [
        encoder::encoder(&architecture),
        decoder::decoder(&architecture),
    ] {
        let program = program.map_err(|source| CheckpointError::Build {
            path: checkpoint.path.clone(),
            source,
        })?;
        weights::add(&mut checkpoint, &architecture, program)?;
    }
    Ok(checkpoint.model.finish())
}

fn architecture(checkpoint: &Checkpoint, family: Family) -> Result<Architecture, CheckpointError> {
    let tensors = &checkpoint.tensors;
    let architecture = match family {
        Family::Bart(kind) => {
            let config: bart::Config = checkpoint.config()?;
            let embeddings = weights::embeddings(tensors, config.ties(kind));
            let has_bias = tensors.contains("final_logits_bias");
            config.architecture(kind, embeddings, has_bias, tensors.bytes())
        }
        Family::T5(kind) => {
            let config: t5::Config = checkpoint.config()?;
            let embeddings = weights::embeddings(tensors, Ties::All);
            config.architecture(kind, embeddings, tensors.bytes())
        }
    };
    architecture.map_err(|reason| checkpoint.refuse(CONFIG, reason))
}
