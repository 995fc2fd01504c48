//! Multiply-adds on any machine.

use super::{CHAINS, Numbers, ROUNDS};

/// The loop for such numbers, and how many multiply-adds a step of a chain is.
pub(super) fn chain(numbers: Numbers) -> Option<(fn(), usize)> {
    (numbers == Numbers::F32).then_some((f32, 4))
}

fn f32() {
    let factor = std::hint::black_box(0.999_999f32);
    let mut chains = [[1f32; 4]; CHAINS];
    for _ in 0..ROUNDS {
        for x in chains.as_flattened_mut() {
            *x = *x * factor + factor;
        }
    }
    std::hint::black_box(chains);
}
