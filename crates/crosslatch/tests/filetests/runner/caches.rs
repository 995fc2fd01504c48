//! `#! test: caches`: which state a low precision stores in fewer bytes.
//!
//! | expectation | meaning |
//! |---|---|
//! | `converted` | this state is a cache that the pass converts, to bf16 and to int8 |
//! | `converted to bf16` | only to bf16 |
//! | `not converted` | this state keeps its type |
//!
//! Every state slot has one of the two. State starts as zeros. The program runs in every precision
//! ([`in_every_precision`]): its caches are filled in the first run and read in those after it.
//! Results differ from `f32` exactly if a cache is converted or a weight quantized.

use std::collections::HashMap;

use crosslatch::ir::{Program, SlotKind};
use crosslatch::passes::caches::{CacheFormat, convert_caches};
use crosslatch::passes::quantize::{Choice, choose};
use crosslatch::{Bool, DType, Model, Precision, Tensor};

use super::Pass;
use super::file::{Mode, TestFile};
use super::runs::in_every_precision;
use crate::models::{Named, SizedSlot, draw, slots};
use crate::random::Random;

/// The pass that converts caches.
pub const PASS: Pass = Pass {
    name: "caches",
    options: &[],
    expectations: &["converted", "converted to bf16", "not converted"],
    least: 5,
    check,
};

const RUNS: usize = 4;
/// Integers are below this, so that they are valid indices.
const ROWS: u64 = 9;
/// How far a result may be from the one in `f32`, as a share of the largest.
const TOLERANCE: f32 = 0.03;

fn check(test: &TestFile, program: Program, mode: Mode) -> Result<(), String> {
    let mut decisions = test.decisions(&program)?;
    let converted = |format| {
        let chosen = convert_caches(&program, format, &|_| true).map(|(_, chosen)| chosen);
        chosen.unwrap_or(vec![false; program.slots.len()])
    };
    let [bf16, int8] = [CacheFormat::Bf16, CacheFormat::Int8].map(converted);
    for ((slot, bf16), int8) in program.slots.iter().zip(&bf16).zip(&int8) {
        if slot.kind == SlotKind::State {
            let decision = match (bf16, int8) {
                (true, true) => "converted",
                (true, false) => "converted to bf16",
                (false, true) => "converted to int8",
                (false, false) => "not converted",
            };
            decisions.slot(&slot.name, decision.to_owned())?;
        } else if *bf16 || *int8 {
            return Err(format!("`{}` is converted, and is not state", slot.name));
        }
    }
    decisions.settle(mode)?;

    let quantizes = choose(&program).iter().any(Choice::is_quantized);
    let shows = |precision| {
        let converted = match precision {
            Precision::F32 => &[][..],
            Precision::Bf16 => &bf16,
            Precision::Int8 | Precision::Int4 => &int8,
        };
        quantizes || converted.contains(&true)
    };
    let mut random = Random(5);
    let slots = slots(&program, &HashMap::new());
    let of_kind = |kind| slots.iter().filter(move |slot| slot.kind == kind);
    let weights = draw(of_kind(SlotKind::Weight), &mut random, ROWS);
    let weights: Vec<_> = weights
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    // State without contents starts as zeros.
    let model = Model::in_memory(program, &weights).map_err(|e| e.to_string())?;
    let inputs: Vec<&SizedSlot> = of_kind(SlotKind::Input).collect();
    let runs: Vec<Named> = (0..RUNS)
        .map(|run| {
            let mut drawn = draw(inputs.iter().copied(), &mut random, ROWS);
            for (_, tensor) in &mut drawn {
                if tensor.dtype() == DType::Bool {
                    let first = [Bool::new(run == 0)];
                    *tensor = Tensor::from_slice(tensor.shape(), &first).unwrap();
                }
            }
            drawn
        })
        .collect();
    in_every_precision(&model, &runs, TOLERANCE, &shows)
}
