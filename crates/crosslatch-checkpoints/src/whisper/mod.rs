//! Whisper, in every size: its encoder and decoder as programs.
//!
//! The programs have the form that transformers' model has when PyTorch exports it with a conditional
//! cache: the same operators on the same operands in the same order, so that results are those of an
//! exported model.

mod config;
mod decoder;
mod encoder;
mod layers;

use crosslatch::Model;
use crosslatch::ir::Program;
use crosslatch::ir::build::BuildError;
use crosslatch::model::WeightContents;

use crate::error::CheckpointError;
use crate::folder::{CONFIG, Folder};
use config::Config;

/// Builds the model of a Whisper checkpoint.
///
/// # Errors
/// If the configuration is not supported or a weight is missing or has another shape.
pub fn model(mut folder: Folder) -> Result<Model, CheckpointError> {
    let config: Config = folder.config()?;
    config
        .check(folder.tensors.bytes())
        .map_err(|reason| folder.refuse(CONFIG, reason))?;
    let path = folder.path().to_owned();
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
        add(&mut folder, program)?;
    }
    Ok(folder.model.finish())
}

/// Adds a program; its weights are named as transformers names those of the model.
fn add(folder: &mut Folder, program: Program) -> Result<(), CheckpointError> {
    let mut contents: Vec<(String, WeightContents)> = Vec::new();
    for (name, shape) in layers::weights(&program) {
        let stored = stored_name(folder, &name);
        let bytes = |file| folder.model.bytes(file);
        let weight = folder.tensors.weight(&stored, &shape, bytes);
        let weight = weight.map_err(|problem| folder.refuse("", problem.to_string()))?;
        contents.push((name, weight));
    }
    let mut contents = contents.into_iter();
    folder.model.method(program, |name| match contents.next() {
        Some((next, weight)) if next == name => Ok(weight),
        _ => unreachable!("weights are asked for in the order of the slots"),
    })
}

/// The name of a weight in the file. The output projection shares the token embedding's weight unless
/// the file has its own.
fn stored_name(folder: &Folder, name: &str) -> String {
    let name = match name {
        "proj_out.weight" if !folder.tensors.contains(name) => "decoder.embed_tokens.weight",
        name => name,
    };
    let prefixed = format!("model.{name}");
    match folder.tensors.contains(&prefixed) {
        true => prefixed,
        false => name.to_owned(),
    }
}
