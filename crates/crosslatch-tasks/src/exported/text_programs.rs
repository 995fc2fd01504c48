//! What the programs of a text model take: which inputs, how many texts, how many tokens.

use crosslatch::ir::Size;
use crosslatch::ir::graph::{Program, ValueType};
use crosslatch::{DType, Model};

use super::ExportedError;

pub(super) const KIND: &str = "text";
pub(super) const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";
pub(super) const DECODER_MASK: &str = "encoder_attention_mask";

/// What the programs take: an encoder and a decoder, or the one of a model of one stack.
#[derive(Clone, Copy)]
pub(super) struct Programs {
    /// Whether there is no encoder: the model goes on with a text.
    pub one_stack: bool,
    pub encoder_is_masked: bool,
    pub decoder_is_masked: bool,
    /// Least and greatest number of texts at a time.
    pub rows: (usize, Option<usize>),
    /// Least and greatest number of tokens of a source.
    pub source: (usize, Option<usize>),
    /// Greatest number of tokens that the decoder can be fed.
    pub positions: Option<usize>,
}

impl Programs {
    pub fn of(model: &Model) -> Result<Self, ExportedError> {
        let program = |name: &str| -> Result<&Program, ExportedError> {
            Ok(&model.methods()[model.method_index(name)?].program)
        };
        let decoder = program("decoder")?;
        if model.method_index("encoder").is_err() {
            check_inputs(decoder, &[IDS, "cache_position"], &[])?;
            return Self::of_one_stack(decoder);
        }
        let encoder = program("encoder")?;
        check_inputs(encoder, &[IDS], &[MASK])?;
        let needed = [IDS, "cache_position", "encoder_hidden_states"];
        check_inputs(decoder, &needed, &[DECODER_MASK])?;
        let has = |program, name| inputs(program).any(|(_, input)| input == name);
        Ok(Programs {
            one_stack: false,
            encoder_is_masked: has(encoder, MASK),
            decoder_is_masked: has(decoder, DECODER_MASK),
            rows: range(encoder, 0),
            source: range(encoder, 1),
            positions: range(decoder, 1).1,
        })
    }

    fn of_one_stack(decoder: &Program) -> Result<Self, ExportedError> {
        let rows = range(decoder, 0);
        if rows.0 > 1 {
            return Err(layout(format!(
                "`decoder` goes on with {} texts at a time; export it for one",
                rows.0
            )));
        }
        let positions = range(decoder, 1).1;
        Ok(Programs {
            one_stack: true,
            encoder_is_masked: false,
            decoder_is_masked: false,
            rows: (1, Some(1)),
            source: (1, positions),
            positions,
        })
    }

    /// Greatest number of texts in one session, at most 64 where the programs set no limit.
    pub fn most_rows(&self) -> usize {
        self.rows.1.unwrap_or(64).max(1)
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

/// Least and greatest length of a dimension of the tokens that a program takes.
fn range(program: &Program, dimension: usize) -> (usize, Option<usize>) {
    let slot = inputs(program).find(|(_, name)| *name == IDS);
    let ty = slot.map(|(slot, _)| &program.graph.value(program.graph.inputs[slot]).ty);
    let Some(ValueType::Tensor(ty)) = ty else {
        return (1, None);
    };
    let count = |n: i64| usize::try_from(n).ok();
    match ty.sizes.get(dimension) {
        Some(Size::Const(n)) => (count(*n).unwrap_or(1), count(*n)),
        Some(Size::Symbol(name)) => {
            let symbol = program.symbols.iter().find(|s| s.name == *name);
            let most = symbol.and_then(|s| s.max).and_then(count);
            (symbol.and_then(|s| count(s.min)).unwrap_or(1), most)
        }
        _ => (1, None),
    }
}

pub(super) fn layout(cause: String) -> ExportedError {
    ExportedError::Layout { kind: KIND, cause }
}
