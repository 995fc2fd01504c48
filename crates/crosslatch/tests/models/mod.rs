//! Models of programs whose sizes are known, with random contents.

use crosslatch::ir::{Program, SlotKind, ValueType};
use crosslatch::{DType, Model, Tensor};

use crate::random::Random;

/// An input of a program: its name, its type, its shape.
pub type InputType = (String, DType, Vec<usize>);

/// A model of a program, and what its inputs are. Weights and state are drawn, whole numbers among
/// them below `integers`.
pub fn model(
    program: Program,
    random: &mut Random,
    integers: u64,
) -> Result<(Model, Vec<InputType>), String> {
    let (mut contents, mut inputs) = (Vec::new(), Vec::new());
    for (slot, id) in program.slots.iter().zip(&program.graph.inputs) {
        let ValueType::Tensor(ty) = &program.graph.value(*id).ty else {
            continue;
        };
        let sizes = ty.sizes.iter().map(|s| s.constant().unwrap() as usize);
        let shape: Vec<usize> = sizes.collect();
        match slot.kind {
            SlotKind::Input => inputs.push((slot.name.clone(), ty.dtype, shape)),
            _ => contents.push((slot.name.clone(), random.tensor(ty.dtype, &shape, integers))),
        }
    }
    let contents = contents.iter().map(|(n, t)| (n.as_str(), t.clone()));
    let contents: Vec<(&str, Tensor)> = contents.collect();
    let model = Model::in_memory(program, &contents).map_err(|e| e.to_string())?;
    Ok((model, inputs))
}
