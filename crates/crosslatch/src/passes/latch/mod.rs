//! Latching: what depends on weights and latched inputs alone is computed once per input.
//!
//! Problem. A decoder that was exported without a cache computes the cross-attention keys and values
//! at every step, from an encoder output that stays the same for a whole text.
//!
//! Idea. The program is split in two. The part *once* takes the latched inputs and returns the values
//! that are worth keeping; the part *step* takes everything, including those values, and does the
//! rest. A session runs the first part again only when a latched input changes, and the second reads
//! its results where they lie. There is no predicate and no buffer of a maximum length: a shorter
//! input leaves nothing of a longer one behind, and a step pays nothing for the choice.
//!
//! `dependence` finds the *fixed* nodes, which depend on weights and latched inputs only and whose
//! memory nobody changes. `costs` estimates what they cost for typical sizes. `frontier` selects the
//! values to keep, and `split` makes the two programs. The Python function `crosslatch.latch` does
//! the same to a program before it is saved, with a `cond` and cache buffers, because a single
//! program of PyTorch has no other way.

mod frontier;
mod split;

use super::part::Part;
use super::{costs, dependence};
use crate::ir::graph::{Program, SlotKind};

/// A program in two parts.
pub struct Latched {
    /// Computed once for each set of latched inputs. It takes those that it needs and returns the kept
    /// values.
    pub once: Part,
    /// Computed at every run. It has a slot for each kept value, with the name that `once` gives it.
    pub step: Part,
    /// Values that depend on latched inputs alone but are computed at every step, and why.
    pub left: Vec<(String, &'static str)>,
}

/// Splits a program in two at the inputs with these names; names that it does not have are ignored.
/// `None` if it has none of them, or nothing is worth keeping.
pub fn latch(program: &Program, inputs: &[&str]) -> Option<Latched> {
    let is_latched = |i: usize| {
        let slot = &program.slots[i];
        slot.kind == SlotKind::Input && inputs.contains(&slot.name.as_str())
    };
    let latched: Vec<usize> = (0..program.slots.len())
        .filter(|i| is_latched(*i))
        .collect();
    if latched.is_empty() {
        return None;
    }
    let fixed = dependence::fixed(program, &latched);
    let costs = costs::costs(program, &fixed);
    let choice = frontier::choose(program, &fixed, &costs);
    if choice.kept.is_empty() {
        return None;
    }
    Some(split::split(program, &fixed, &costs, choice))
}
