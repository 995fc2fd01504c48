//! Latching: what depends on weights and latched inputs alone is computed once per input.
//!
//! Problem. A decoder that was exported with no thought of caching computes the cross-attention keys
//! and values at every step, from an encoder output that stays the same for a whole text.
//!
//! Idea. The program is cut in two. Part *once* takes the latched inputs and returns the values that
//! are worth keeping; part *step* takes everything, those values included, and does the rest. A
//! session runs the first part again only when a latched input is another one than before, and the
//! second reads its results where they lie. No predicate, no buffer of a greatest length: a shorter
//! input leaves nothing of a longer one behind, and a step costs nothing for it.
//!
//! `dependence` says which nodes are *fixed*: they depend on weights and latched inputs only, and
//! nobody changes their memory. `costs` weighs them for typical sizes. `frontier` chooses what to
//! keep, `split` cuts. The Python function `crosslatch.latch` does the same to a program before it
//! is saved, with a `cond` and cache buffers, because a single program of PyTorch has no other way.

mod costs;
mod dependence;
mod frontier;
mod split;

use crate::ir::graph::{Program, SlotKind};

/// A program in two parts.
pub struct Latched {
    /// What is computed once for each set of latched inputs. It takes those that it needs, and
    /// returns the kept values.
    pub once: Part,
    /// What every run does. It has a slot for each kept value, of the name that `once` gives it.
    pub step: Part,
    /// What depends on latched inputs alone and is computed at every step all the same, with the
    /// reason.
    pub left: Vec<(String, &'static str)>,
}

/// One of the two programs.
pub struct Part {
    /// The program.
    pub program: Program,
    /// For each of its slots, the slot of the whole program that it is; `None` for kept values.
    pub slots: Vec<Option<usize>>,
}

/// Cuts a program in two at the inputs with these names; those that it does not have are passed
/// over. `None` if it has none of them, or nothing is worth keeping.
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
