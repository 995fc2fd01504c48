//! An exported text model: `encoder` takes `input_ids` and, as a rule, `attention_mask`.
//!
//! A program that was exported for texts of a least length, or of one length only, is given
//! padding, which the mask hides.

use crosslatch::ir::Size;
use crosslatch::ir::graph::{Program, ValueType};
use crosslatch::{DType, Layout, Model, Options};

use super::decoder::ExportedDecoder;
use super::step::integers;
use super::{ExportedError, ExportedModel};
use crate::text::{GenerateError, TextLimits, TextModel, TextPipeline};
use crate::tokenizer::TextTokenizer;

const KIND: &str = "text";
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const DECODER_MASK: &str = "encoder_attention_mask";

/// A session on an exported text model.
pub type ExportedTextModel = ExportedModel<TextSource>;

/// The source of a text model: tokens and, as a rule, their mask.
pub struct TextSource {
    encoder_is_masked: bool,
    decoder_is_masked: bool,
    /// Least number of tokens that the encoder takes.
    least: usize,
    ids: Vec<i64>,
    mask: Vec<i64>,
}

/// Reads the files beside a model's weights that turn text into text.
///
/// # Errors
/// If a file is missing from the archive or malformed, or the archive is not laid out as a text
/// model.
pub fn text_pipeline(model: &Model) -> Result<TextPipeline, GenerateError<ExportedError>> {
    let programs = Programs::of(model).map_err(GenerateError::Model)?;
    let limits = TextLimits {
        source: programs.source.1,
        positions: programs.positions,
    };
    let tokenizer = TextTokenizer::from_files(|name| model.extra_file(name))?;
    let config = model.extra_file("config.json").ok_or_else(|| {
        let cause =
            "the archive has no `config.json`; export the model together with its tokenizer";
        GenerateError::Model(layout(cause.to_owned()))
    })?;
    let generation = model.extra_file("generation_config.json");
    Ok(TextPipeline::new(tokenizer, generation, config, limits)?)
}

/// What the two programs take.
struct Programs {
    encoder_is_masked: bool,
    decoder_is_masked: bool,
    /// Least and greatest number of tokens of a source.
    source: (usize, Option<usize>),
    /// Greatest number of tokens that the decoder can be fed.
    positions: Option<usize>,
}

impl Programs {
    fn of(model: &Model) -> Result<Self, ExportedError> {
        let program = |name: &str| -> Result<&Program, ExportedError> {
            Ok(&model.methods()[model.method_index(name)?].program)
        };
        let (encoder, decoder) = (program("encoder")?, program("decoder")?);
        check_inputs(encoder, &[IDS], &[MASK])?;
        let needed = [IDS, "cache_position", "encoder_hidden_states"];
        check_inputs(decoder, &needed, &[DECODER_MASK])?;
        let has = |program, name| inputs(program).any(|(_, input)| input == name);
        Ok(Programs {
            encoder_is_masked: has(encoder, MASK),
            decoder_is_masked: has(decoder, DECODER_MASK),
            source: lengths(encoder),
            positions: lengths(decoder).1,
        })
    }
}

impl ExportedTextModel {
    /// A fresh session on a model.
    ///
    /// # Errors
    /// If the archive is not laid out as a text model.
    pub fn new(model: &Model, options: Options) -> Result<Self, ExportedError> {
        let programs = Programs::of(model)?;
        Ok(ExportedModel {
            decoder: ExportedDecoder::new(model, options, KIND)?,
            source: TextSource {
                encoder_is_masked: programs.encoder_is_masked,
                decoder_is_masked: programs.decoder_is_masked,
                least: programs.source.0,
                ids: Vec::new(),
                mask: Vec::new(),
            },
        })
    }
}

impl TextModel for ExportedTextModel {
    fn encode(&mut self, tokens: &[i64]) -> Result<(), ExportedError> {
        let TextSource {
            encoder_is_masked,
            decoder_is_masked,
            least,
            ids,
            mask,
        } = &mut self.source;
        let length = tokens.len().max(*least);
        if length > tokens.len() && !(*encoder_is_masked && *decoder_is_masked) {
            return Err(layout(format!(
                "a text of {} tokens would have to be padded to {length}, and there is no mask",
                tokens.len()
            )));
        }
        ids.clear();
        ids.extend_from_slice(tokens);
        // Padding that is masked may be any token.
        ids.resize(length, 0);
        mask.clear();
        mask.resize(tokens.len(), 1);
        mask.resize(length, 0);
        if *decoder_is_masked {
            self.decoder.set_source_mask(DECODER_MASK, mask);
        }
        let shape = Layout::contiguous(&[1, length]);
        let ids = (IDS, integers(&shape, ids).map_err(layout)?.into());
        let mask = (MASK, integers(&shape, mask).map_err(layout)?.into());
        match encoder_is_masked {
            true => self.decoder.encode(&[ids, mask]),
            false => self.decoder.encode(&[ids]),
        }
    }
}

/// The inputs that a run has to be given, each as slot and name.
fn inputs(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    crosslatch::inputs::input_slots(program)
}

/// Refuses a program that lacks a needed input or takes one that is not possible.
fn check_inputs(
    program: &Program,
    needed: &[&str],
    possible: &[&str],
) -> Result<(), ExportedError> {
    let name = &program.name;
    for (slot, input) in inputs(program) {
        if !needed.contains(&input) && !possible.contains(&input) {
            return Err(layout(format!("`{name}` takes `{input}`")));
        }
        let ValueType::Tensor(ty) = &program.graph.value(program.graph.inputs[slot]).ty else {
            continue;
        };
        if ty.dtype != DType::I64 && input != "encoder_hidden_states" {
            let dtype = ty.dtype;
            return Err(layout(format!(
                "`{name}` takes `{input}` as {dtype}, not i64"
            )));
        }
    }
    for needed in needed {
        if !inputs(program).any(|(_, input)| input == *needed) {
            return Err(layout(format!("`{name}` does not take `{needed}`")));
        }
    }
    Ok(())
}

/// Least and greatest number of tokens that a program takes.
fn lengths(program: &Program) -> (usize, Option<usize>) {
    let slot = inputs(program).find(|(_, name)| *name == IDS);
    let ty = slot.map(|(slot, _)| &program.graph.value(program.graph.inputs[slot]).ty);
    let Some(ValueType::Tensor(ty)) = ty else {
        return (1, None);
    };
    let count = |n: i64| usize::try_from(n).ok();
    match ty.sizes.get(1) {
        Some(Size::Const(n)) => (count(*n).unwrap_or(1), count(*n)),
        Some(Size::Symbol(name)) => {
            let symbol = program.symbols.iter().find(|s| s.name == *name);
            let most = symbol.and_then(|s| s.max).and_then(count);
            (symbol.and_then(|s| count(s.min)).unwrap_or(1), most)
        }
        _ => (1, None),
    }
}

fn layout(cause: String) -> ExportedError {
    ExportedError::Layout { kind: KIND, cause }
}
