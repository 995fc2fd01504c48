//! Where the weights of a text model come from: the file, under the names that it has, or a formula.

use crosslatch::Tensor;
use crosslatch::ir::Program;
use crosslatch::model::WeightContents;

use super::architecture::{Architecture, COUNTED_ROWS, Embeddings, Positions};
use super::stack::{COUNTED_TABLE, TABLE};
use crate::checkpoint::Checkpoint;
use crate::error::CheckpointError;
use crate::layers::{counted_sines, halved_sines};
use crate::tensors::Tensors;

const ENCODER: &str = "encoder.embed_tokens.weight";
const DECODER: &str = "decoder.embed_tokens.weight";
const SHARED: &str = "shared.weight";
const OUTPUT: &str = "lm_head.weight";

/// Which of the embeddings and the output projection are one weight unless the file has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// All.
    All,
    /// The embeddings.
    Embeddings,
    /// The decoder's embedding and the output projection.
    Decoder,
    /// None.
    None,
}

/// The names of embeddings and output projection. A file has a shared weight once, under the name of
/// any that share it.
pub fn embeddings(tensors: &Tensors, ties: Ties) -> Embeddings {
    let groups: [&[&str]; 3] = match ties {
        Ties::All => [&[SHARED, ENCODER, DECODER, OUTPUT]; 3],
        Ties::Embeddings => {
            let embeddings = &[SHARED, ENCODER, DECODER][..];
            [embeddings, embeddings, &[OUTPUT]]
        }
        Ties::Decoder => [&[ENCODER], &[DECODER, OUTPUT], &[DECODER, OUTPUT]],
        Ties::None => [&[ENCODER], &[DECODER], &[OUTPUT]],
    };
    let has = |name: &str| tensors.contains(&stored_name(tensors, name));
    let find = |own: &str, group: &[&str]| {
        let others = group.iter().copied();
        let mut candidates = std::iter::once(own).chain(others);
        let found = candidates.find(|name| has(name));
        found.unwrap_or(group[0]).to_owned()
    };
    Embeddings {
        encoder: find(ENCODER, groups[0]),
        decoder: find(DECODER, groups[1]),
        output: find(OUTPUT, groups[2]),
    }
}

/// The name of a weight in the file, which may have the whole model's name in front.
pub fn stored_name(tensors: &Tensors, name: &str) -> String {
    let prefixed = format!("model.{name}");
    match tensors.contains(&prefixed) {
        true => prefixed,
        false => name.to_owned(),
    }
}

/// Adds a program to the model of a checkpoint.
///
/// # Errors
/// If a weight is missing or has another shape.
pub fn add(
    checkpoint: &mut Checkpoint,
    architecture: &Architecture,
    program: Program,
) -> Result<(), CheckpointError> {
    let Checkpoint { model, tensors, .. } = checkpoint;
    let path = &checkpoint.path;
    model.method(program, |name, shape, files| {
        let refuse = |reason: String| CheckpointError::File {
            path: path.clone(),
            reason,
        };
        let stored = stored_name(tensors, name);
        if let Some(table) = computed(architecture, tensors, name, &stored) {
            let tensor = Tensor::from_slice(shape, &table);
            let tensor = tensor.map_err(|error| refuse(format!("`{name}`: {error}")))?;
            return Ok(WeightContents::Tensor(tensor));
        }
        let weight = tensors.weight(&stored, shape, files);
        weight.map_err(|problem| refuse(problem.to_string()))
    })
}

/// The table of positions of this name, if it is computed.
fn computed(
    architecture: &Architecture,
    tensors: &Tensors,
    name: &str,
    stored: &str,
) -> Option<Vec<f32>> {
    let (longest, width) = (architecture.longest, architecture.width);
    match architecture.positions {
        Positions::Table {
            skipped,
            is_computed: true,
        } if name.ends_with(TABLE) && !tensors.contains(stored) => {
            Some(halved_sines(longest + skipped, width))
        }
        Positions::Counted { padding } if name.ends_with(COUNTED_TABLE) => {
            Some(counted_sines(longest + COUNTED_ROWS, width, padding))
        }
        _ => None,
    }
}
