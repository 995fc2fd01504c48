//! `#! test: quantize`: which weights a low precision may quantize.
//!
//! | expectation | meaning |
//! |---|---|
//! | `quantized: step` | this weight is quantized, in the fewest bits that are asked for |
//! | `quantized: once`, `quantized: vocabulary` | this weight is quantized, in 8 bits at least |
//! | `not quantized: REASON` | this weight is stored as it is |
//!
//! Every weight has one of the two. The program runs in every precision
//! ([`in_every_precision`]); results differ from `f32` exactly if a weight is quantized.

use crosslatch::ir::{Program, SlotKind};
use crosslatch::passes::quantize::{Choice, Part, choose};

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::in_every_precision;
use crate::models::{draw, model};
use crate::random::Random;

/// The pass that picks the weights to quantize.
pub const PASS: Pass = Pass {
    name: "quantize",
    options: &[],
    expectations: &["quantized", "not quantized"],
    least: 7,
    check,
};

const RUNS: usize = 3;
/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 6;
/// How far a result may be from the one in `f32`, as a share of the largest.
const TOLERANCE: f32 = 0.02;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let decided = choose(&program);
    for (slot, choice) in program.slots.iter().zip(&decided) {
        if slot.kind == SlotKind::Weight {
            let decision = match choice {
                Choice::Quantized(Part::Step) => "quantized: step".to_owned(),
                Choice::Quantized(Part::Once) => "quantized: once".to_owned(),
                Choice::Quantized(Part::Vocabulary) => "quantized: vocabulary".to_owned(),
                Choice::AsTyped(reason) => format!("not quantized: {reason}"),
            };
            decisions.slot(&slot.name, decision)?;
        }
    }
    decisions.settle(mode)?;

    let mut random = Random(11);
    let (model, inputs) = model(program, &mut random, ROWS)?;
    let runs = (0..RUNS).map(|_| draw(&inputs, &mut random, ROWS));
    let runs: Vec<_> = runs.collect();
    in_every_precision(&model, &runs, TOLERANCE, &|_| {
        decided.iter().any(Choice::is_quantized)
    })
}
