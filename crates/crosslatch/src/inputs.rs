//! Binding the inputs of a run: which tensor is which input, and whether they fit the program.
//!
//! A program was exported for certain types and sizes, some of them symbolic with a range. A size that
//! is a bare symbol binds it; all other sizes are then evaluated and compared. An error names the
//! input and both shapes.

use std::collections::HashMap;

use crosslatch_kernels::{DType, Layout, TensorRef};

use crate::error::Error;
use crate::ir::Size;
use crate::ir::graph::{Program, SlotKind, Symbol, TensorType, ValueType};

/// Checks one tensor for each slot that a run is fed with, in the order of the slots, against the
/// program.
pub fn check(program: &Program, inputs: &[TensorRef<'_>]) -> Result<(), Error> {
    let fail = |reason: String| Error::Input {
        method: program.name.clone(),
        reason,
    };
    let mut symbols: HashMap<&str, i64> = HashMap::new();
    for (name, ty, tensor) in typed(program, inputs) {
        if ty.dtype != tensor.dtype() || ty.sizes.len() != tensor.shape().len() {
            return Err(fail(format!(
                "input `{name}` is {}, the program takes {}",
                shape_text(tensor),
                type_text(ty)
            )));
        }
        for (size, &actual) in ty.sizes.iter().zip(tensor.shape()) {
            if let Size::Symbol(symbol) = size {
                symbols.entry(symbol).or_insert(actual as i64);
            }
        }
    }
    let lookup = |name: &str| symbols.get(name).copied();
    for (name, ty, tensor) in typed(program, inputs) {
        for (d, (size, &actual)) in ty.sizes.iter().zip(tensor.shape()).enumerate() {
            // A size that cannot be computed from other inputs may be anything.
            if size.eval(&lookup).is_some_and(|s| s != actual as i64) {
                return Err(fail(format!(
                    "input `{name}` is {}, the program takes {} (dimension {d} differs)",
                    shape_text(tensor),
                    type_text(ty)
                )));
            }
        }
    }
    for symbol in &program.symbols {
        let Some(&value) = symbols.get(symbol.name.as_str()) else {
            continue;
        };
        if value < symbol.min || symbol.max.is_some_and(|max| value > max) {
            let max = symbol.max.map_or("…".to_owned(), |m| m.to_string());
            return Err(fail(format!(
                "size {} is {value}, the program was exported for {} to {max}",
                symbol.name, symbol.min
            )));
        }
    }
    Ok(())
}

fn typed<'a, 't>(
    program: &'a Program,
    inputs: &'a [TensorRef<'t>],
) -> impl Iterator<Item = (&'a str, &'a TensorType, &'a TensorRef<'t>)> {
    fed_slots(program)
        .zip(inputs)
        .filter_map(|((slot, name), tensor)| {
            let value = program.graph.inputs[slot];
            match &program.graph.value(value).ty {
                ValueType::Tensor(ty) => Some((name, ty, tensor)),
                _ => None,
            }
        })
}

/// The slots that the caller of a run provides: index and name.
pub fn input_slots(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    fed_slots(program).filter(|(i, _)| program.slots[*i].kind == SlotKind::Input)
}

/// The slots that a run is fed with, by its caller or from what other runs left: index and name.
pub fn fed_slots(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    program
        .slots
        .iter()
        .enumerate()
        .filter(|(i, slot)| {
            let value = program.graph.value(program.graph.inputs[*i]);
            let is_fed = !matches!(slot.kind, SlotKind::Weight | SlotKind::State);
            is_fed && matches!(value.ty, ValueType::Tensor(_))
        })
        .map(|(i, slot)| (i, slot.name.as_str()))
}

/// The slots that are numbers, which an earlier segment computes: index and name. A plan is made for their
/// values.
pub fn number_slots(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    let slots = program.slots.iter().enumerate();
    let numbers = slots.filter(|(i, slot)| {
        let value = program.graph.value(program.graph.inputs[*i]);
        slot.kind == SlotKind::Segment && !matches!(value.ty, ValueType::Tensor(_))
    });
    numbers.map(|(i, slot)| (i, slot.name.as_str()))
}

/// Types and contiguous layouts of all tensors that a run is fed with, where `choose` gives each
/// symbol its value; `None` if a size cannot be computed from symbols, or is negative.
pub fn types_for(
    program: &Program,
    choose: impl Fn(&Symbol) -> i64,
) -> Option<Vec<(DType, Layout)>> {
    let value = |name: &str| program.symbols.iter().find(|s| s.name == name).map(&choose);
    let types = fed_slots(program).map(|(slot, _)| {
        let ValueType::Tensor(ty) = &program.graph.value(program.graph.inputs[slot]).ty else {
            return None;
        };
        ty.with_sizes(&value)
    });
    types.collect()
}

/// Element type and layout of each tensor that a run is fed with, in the order of the slots.
pub type InputTypes = Vec<(DType, Layout)>;

/// Types of the smallest inputs that a program may take, the first choice first: with sizes of 1, and, for
/// programs that assert that a size which PyTorch traced is not 1, with sizes of 2.
pub fn smallest_types(program: &Program) -> Vec<InputTypes> {
    let with = |least: i64| {
        types_for(program, |symbol| {
            let size = symbol.min.max(least);
            symbol.max.map_or(size, |max| size.min(max))
        })
    };
    let mut all: Vec<_> = [1, 2].into_iter().filter_map(with).collect();
    all.dedup();
    all
}

/// Puts named tensors in the order of the input slots.
pub fn order<T: Copy>(program: &Program, named: &[(&str, T)]) -> Result<Vec<T>, Error> {
    let fail = |reason: String| Error::Input {
        method: program.name.clone(),
        reason,
    };
    for (name, _) in named {
        if !input_slots(program).any(|(_, slot)| slot == *name) {
            let known: Vec<_> = input_slots(program)
                .map(|(_, n)| format!("`{n}`"))
                .collect();
            return Err(fail(format!(
                "there is no input `{name}`; the inputs are {}",
                known.join(", ")
            )));
        }
    }
    input_slots(program)
        .map(|(_, slot)| {
            named
                .iter()
                .find(|(name, _)| *name == slot)
                .map(|(_, tensor)| *tensor)
                .ok_or_else(|| fail(format!("input `{slot}` is missing")))
        })
        .collect()
}

fn shape_text(tensor: &TensorRef<'_>) -> String {
    format!("{}{:?}", tensor.dtype(), tensor.shape())
}

fn type_text(ty: &TensorType) -> String {
    let sizes: Vec<_> = ty.sizes.iter().map(Size::to_string).collect();
    format!("{}[{}]", ty.dtype, sizes.join(", "))
}
