//! Models for programs, with random weights, state and inputs.

use std::collections::HashMap;

use crosslatch::ir::{Program, SlotKind, ValueType};
use crosslatch::{DType, Model, Tensor};

use crate::random::Random;

/// A slot of a program with all its sizes known.
pub struct SizedSlot {
    pub name: String,
    pub kind: SlotKind,
    pub dtype: DType,
    pub shape: Vec<usize>,
}

/// Tensors by the names of their slots or outputs.
pub type Named = Vec<(String, Tensor)>;

/// The slots of a program, for these sizes of its symbols.
pub fn slots(program: &Program, sizes: &HashMap<String, i64>) -> Vec<SizedSlot> {
    let slots = program.slots.iter().zip(&program.graph.inputs);
    let slots = slots.map(|(slot, id)| {
        let ValueType::Tensor(ty) = &program.graph.value(*id).ty else {
            panic!("the slots of these programs are tensors");
        };
        let (dtype, layout) = ty.with_sizes(&|name| sizes.get(name).copied()).unwrap();
        SizedSlot {
            name: slot.name.clone(),
            kind: slot.kind,
            dtype,
            shape: layout.shape.to_vec(),
        }
    });
    slots.collect()
}

/// Random tensors for these slots; integers are below `integers`.
pub fn draw<'s>(
    slots: impl IntoIterator<Item = &'s SizedSlot>,
    random: &mut Random,
    integers: u64,
) -> Named {
    let slots = slots.into_iter();
    slots
        .map(|s| (s.name.clone(), random.tensor(s.dtype, &s.shape, integers)))
        .collect()
}

/// A model for a program without symbols, with random weights and state, and its inputs.
pub fn model(
    program: Program,
    random: &mut Random,
    integers: u64,
) -> Result<(Model, Vec<SizedSlot>), String> {
    let slots = slots(&program, &HashMap::new());
    let (inputs, others): (Vec<_>, Vec<_>) =
        (slots.into_iter()).partition(|slot| slot.kind == SlotKind::Input);
    let contents = draw(&others, random, integers);
    let contents: Vec<_> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    let model = Model::in_memory(program, &contents).map_err(|e| e.to_string())?;
    Ok((model, inputs))
}
