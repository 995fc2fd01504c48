//! `#! test: halves`: which weights of 16 bits stay so in a program that computes in `f32`.
//!
//! | expectation | meaning |
//! |---|---|
//! | `read in 16 bits` | typed `f32` without a conversion, and only kernels that widen read it |
//! | `widened when loaded` | typed `f32` without a conversion, but others read it |
//! | `keeps its type` | the program does something with it that is not a conversion to `f32` |
//!
//! Every weight of 16 bits has one of the three. Whatever was decided, planned and interpreted runs must
//! return bit for bit what the interpreter returns where the weights are inputs, which no pass touches:
//! the conversions are computed then.

use std::collections::HashMap;

use crosslatch::ir::verify::verify;
use crosslatch::ir::{Program, SlotKind};
use crosslatch::passes::halves::{is_half, only_widened, type_as_f32};

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::as_with_inputs_for_weights;
use crate::models::slots;
use crate::random::Random;

/// The pass that removes conversions of weights.
pub const PASS: Pass = Pass {
    name: "halves",
    options: &[],
    expectations: &["read in 16 bits", "widened when loaded", "keeps its type"],
    least: 3,
    check,
};

/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 5;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let mut changed_program = program.clone();
    let changed = type_as_f32(&mut changed_program, &|_| true);
    verify(&changed_program).map_err(|e| e.to_string())?;
    let only = only_widened(&changed_program);
    let all = slots(&program, &HashMap::new());
    for (i, slot) in all.iter().enumerate() {
        if slot.kind == SlotKind::Weight && is_half(slot.dtype) {
            let decision = match (changed[i], only[i]) {
                (true, true) => "read in 16 bits",
                (true, false) => "widened when loaded",
                (false, _) => "keeps its type",
            };
            decisions.slot(&slot.name, decision.to_owned())?;
        }
    }
    decisions.settle(mode)?;

    as_with_inputs_for_weights(program, &mut Random(3), ROWS)
}
