//! The text form of the IR: parsed, verified, printed, parsed again, planned and run.

use crosslatch::ir::graph::{Program, SlotKind, ValueType};
use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ops::Catalogue;
use crosslatch::{Model, Precision, Tensor};

use super::{Target, kind_of, running, seeds};
use crate::mutation::program;

pub const TARGET: Target = Target {
    name: "program",
    run,
    seeds: || seeds::texts().into_iter().map(String::into_bytes).collect(),
    mutate: program::mutate,
    longest: 1 << 14,
};

fn run(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    let catalogue = Catalogue::builtin();
    let program = match parse(text, catalogue) {
        Ok(program) => program,
        Err(error) => return kind_of(&error.to_string()),
    };
    if let Err(error) = verify(&program) {
        return kind_of(&error.to_string());
    }
    let printed = program.to_string();
    match parse(&printed, catalogue) {
        Ok(again) => assert!(
            again.to_string() == printed,
            "what is printed is read back as something else"
        ),
        Err(error) => panic!("what is printed is not read back: {}", error.reason),
    }
    run_program(program)
}

/// The most elements of all weights together.
const MOST_ELEMENTS: usize = 1 << 16;

/// Plans and runs a program whose weights are ones and whose state is zeros.
pub fn run_program(program: Program) -> String {
    let mut contents = Vec::new();
    let mut elements = 0_usize;
    for (slot, id) in program.slots.iter().zip(&program.graph.inputs) {
        let ValueType::Tensor(ty) = &program.graph.value(*id).ty else {
            continue;
        };
        if slot.kind == SlotKind::Input {
            continue;
        }
        let sizes = ty.sizes.iter().map(|s| usize::try_from(s.constant()?).ok());
        let Some(shape) = sizes.collect::<Option<Vec<usize>>>() else {
            continue;
        };
        let numel = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        elements = elements.saturating_add(numel.unwrap_or(usize::MAX));
        if elements > MOST_ELEMENTS {
            return "good: has weights that no file here has".to_owned();
        }
        let Ok(tensor) = Tensor::zeros(ty.dtype, &shape) else {
            continue;
        };
        contents.push((slot.name.clone(), tensor));
    }
    let contents: Vec<_> = contents
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    match Model::in_memory(program, &contents) {
        Ok(model) => running::run(&model, Precision::F32),
        Err(error) => kind_of(&error.to_string()),
    }
}
