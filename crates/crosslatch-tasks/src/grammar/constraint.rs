//! The rule that a text obeys a grammar.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::machine::{DEAD, Machine, State};
use super::program::Program;
use super::vocabulary::{Texts, Vocabulary};
use crate::rules::{History, Rule};

/// Most bytes of masks that are remembered.
const MOST_MASKS: usize = 32 << 20;

/// A bit for each token: whether it may come next.
type Mask = Arc<[u64]>;

/// What may come next, for a grammar and a vocabulary.
pub(super) struct Masks {
    program: Arc<Program>,
    vocabulary: Vocabulary,
    known: Mutex<Known>,
}

struct Known {
    machine: Machine,
    masks: HashMap<State, Mask>,
}

impl Masks {
    pub fn new(program: Arc<Program>, vocabulary: Vocabulary) -> Self {
        let machine = Machine::new(&program);
        Self {
            program,
            vocabulary,
            known: Mutex::new(Known {
                machine,
                masks: HashMap::new(),
            }),
        }
    }

    /// Whether they are for these texts of tokens.
    pub fn is_for(&self, texts: &Texts) -> bool {
        Arc::ptr_eq(&self.vocabulary.texts, texts)
    }

    /// What may come after some tokens, and whether the text may end there.
    fn after(&self, tokens: impl Iterator<Item = u32>) -> (Mask, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { machine, masks } = &mut *known;
        let size = self.vocabulary.texts.len().div_ceil(64);
        if machine.is_full() || masks.len().saturating_mul(8 * size) > MOST_MASKS {
            *machine = Machine::new(&self.program);
            masks.clear();
        }
        let mut state = machine.start();
        for token in tokens {
            let text = self.vocabulary.texts.get(token as usize);
            for &byte in text.and_then(Option::as_ref).into_iter().flatten() {
                state = machine.step(&self.program, state, byte);
            }
        }
        let may_end = state == DEAD || machine.may_end(state);
        let mask = masks.entry(state).or_insert_with(|| {
            let mut mask = vec![0; size];
            let allow = |token: u32| mask[token as usize / 64] |= 1 << (token % 64);
            self.vocabulary
                .allowed(machine, &self.program, state, allow);
            mask.into()
        });
        (Arc::clone(mask), may_end)
    }
}

/// Makes a text obey a grammar.
pub(super) struct Constraint {
    masks: Arc<Masks>,
    ends: Vec<u32>,
    /// The first token that is a point in time.
    times: usize,
    are_times_allowed: bool,
}

impl Constraint {
    pub fn new(masks: Arc<Masks>, ends: &[u32], times: Option<(u32, bool)>) -> Self {
        Self {
            masks,
            ends: ends.to_vec(),
            times: times.map_or(usize::MAX, |(first, _)| first as usize),
            are_times_allowed: times.is_some_and(|(_, are_allowed)| are_allowed),
        }
    }
}

impl Rule for Constraint {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let chosen = history.chosen().iter().copied();
        let text = chosen.filter(|&token| (token as usize) < self.times);
        let (mask, may_end) = self.masks.after(text);
        let kept: Vec<(usize, f32)> = self
            .ends
            .iter()
            .filter(|_| may_end)
            .filter_map(|&end| Some((end as usize, *scores.get(end as usize)?)))
            .collect();
        let text = self.times.min(scores.len());
        for (word, scores) in scores[..text].chunks_mut(64).enumerate() {
            match mask.get(word).copied().unwrap_or(0) {
                u64::MAX => {}
                bits => {
                    for (bit, score) in scores.iter_mut().enumerate() {
                        if bits >> bit & 1 == 0 {
                            *score = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
        if !self.are_times_allowed {
            scores[text..].fill(f32::NEG_INFINITY);
        }
        for (end, score) in kept {
            scores[end] = score;
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").finish_non_exhaustive()
    }
}
