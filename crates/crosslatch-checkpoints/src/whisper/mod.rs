//! Whisper, in every size: its encoder and decoder as programs.
//!
//! The programs have the form that transformers' model has when PyTorch exports it with a
//! conditional cache: the same operators on the same operands in the same order, so that results
//! are those of an exported model.

mod config;
mod decoder;
mod encoder;
mod parts;

use crosslatch::Model;
use crosslatch::ir::Program;
use crosslatch::ir::build::BuildError;

use crate::checkpoint::{CONFIG, Checkpoint};
use crate::error::CheckpointError;
use crate::tensors::Tensors;
use config::Config;

/// Builds the model of a Whisper checkpoint.
///
/// # Errors
/// If the configuration is not supported or a weight is missing or has another shape.
pub fn model(mut checkpoint: Checkpoint) -> Result<Model, CheckpointError> {
    let config: Config = checkpoint.config()?;
    config
        .check(checkpoint.tensors.bytes())
        .map_err(|reason| checkpoint.refuse(CONFIG, reason))?;
    let path = checkpoint.path.clone();
    let build = |program: Result<Program, BuildError>| {
        program.map_err(|source| CheckpointError::Build {
            path: path.clone(),
            source,
        })
    };
    for program in [
        build(encoder::encoder(&config))?,
        build(decoder::decoder(&config))?,
    ] {
        add(&mut checkpoint, program)?;
    }
    Ok(checkpoint.model.finish())
}

/// Adds a program; its weights are named as transformers names those of the model.
fn add(checkpoint: &mut Checkpoint, program: Program) -> Result<(), CheckpointError> {
    let Checkpoint { model, tensors, .. } = checkpoint;
    let path = &checkpoint.path;
    model.method(program, |name, shape, files| {
        let stored = stored_name(tensors, name);
        let weight = tensors.weight(&stored, shape, files);
        weight.map_err(|problem| CheckpointError::File {
            path: path.clone(),
            reason: problem.to_string(),
        })
    })
}

/// The name of a weight in the file. The output projection shares the token embedding's weight
/// unless the file has its own.
fn stored_name(tensors: &Tensors, name: &str) -> String {
    let name = match name {
        "proj_out.weight" if !tensors.contains(name) => "decoder.embed_tokens.weight",
        name => name,
    };
    let prefixed = format!("model.{name}");
    match tensors.contains(&prefixed) {
        true => prefixed,
        false => name.to_owned(),
    }
}
