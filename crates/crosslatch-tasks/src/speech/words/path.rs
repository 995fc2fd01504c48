//! The path through the weights: which token is spoken at which position.
//!
//! Dynamic time warping: a path from the first token at the first position to the last token at the last
//! one, which at each step goes on by a token, a position, or both, and on which the weights are largest in
//! all. Costs are kept in `f32` and compared as transformers does, so that of paths that cost nearly the
//! same the same one is taken. As there, a step by a position alone is taken where the two others cost
//! exactly the same, even if it costs more.

/// A step of the path to a token at a position.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    /// From the token before, at the position before.
    Both,
    /// From the token before.
    Token,
    /// From the position before.
    Position,
}

/// For each token, the position at which the path comes to it. `weights` is `[tokens, positions]`, row by
/// row, with more than no tokens and positions.
pub(super) fn ends(weights: &[f32], shape: [usize; 2]) -> Vec<usize> {
    warp(weights, shape).1
}

/// What the path costs, and where it comes to each token.
fn warp(weights: &[f32], [tokens, positions]: [usize; 2]) -> (f32, Vec<usize>) {
    let mut steps = vec![Step::Position; tokens * positions];
    // The costs of the token before at each position, and in front of them that of no position.
    let mut before = vec![f32::INFINITY; positions + 1];
    before[0] = 0.0;
    let mut costs = vec![f32::INFINITY; positions + 1];
    for (row, steps) in weights
        .chunks_exact(positions)
        .zip(steps.chunks_exact_mut(positions))
    {
        costs[0] = f32::INFINITY;
        for (j, (&weight, step)) in row.iter().zip(steps).enumerate() {
            let (both, token, position) = (before[j], before[j + 1], costs[j]);
            let (cost, taken) = if both < token && both < position {
                (both, Step::Both)
            } else if token < both && token < position {
                (token, Step::Token)
            } else {
                (position, Step::Position)
            };
            costs[j + 1] = (f64::from(cost) - f64::from(weight)) as f32;
            *step = taken;
        }
        std::mem::swap(&mut before, &mut costs);
    }
    let cost = before[positions];
    let mut reached = vec![0; tokens];
    let (mut i, mut j) = (tokens - 1, positions - 1);
    loop {
        reached[i] = j;
        let step = match (i, j) {
            (0, 0) => break,
            (0, _) => Step::Position,
            (_, 0) => Step::Token,
            _ => steps[i * positions + j],
        };
        match step {
            Step::Both => (i, j) = (i - 1, j - 1),
            Step::Token => i -= 1,
            Step::Position => j -= 1,
        }
    }
    (cost, reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_what_weighs_most() {
        #[rustfmt::skip]
        let weights = [
            9.0, 9.0, -1.0, -1.0, -1.0,
            -1.0, -1.0, 9.0, -1.0, -1.0,
            -1.0, -1.0, -1.0, 9.0, 9.0,
        ];
        assert_eq!(ends(&weights, [3, 5]), [0, 2, 3]);
    }

    /// The weight of the best of all paths from here, found by trying each.
    fn best(weights: &[f32], [tokens, positions]: [usize; 2], i: usize, j: usize) -> f32 {
        let own = weights[i * positions + j];
        if (i + 1, j + 1) == (tokens, positions) {
            return own;
        }
        let steps = [(i + 1, j), (i, j + 1), (i + 1, j + 1)].into_iter();
        let steps = steps.filter(|(i, j)| *i < tokens && *j < positions);
        let rest = steps.map(|(i, j)| best(weights, [tokens, positions], i, j));
        own + rest.fold(f32::NEG_INFINITY, f32::max)
    }

    #[test]
    fn no_path_weighs_more() {
        let mut state = 7_u64;
        let mut next = move || {
            state = state * 48_271 % 2_147_483_647;
            (state % 1_000) as f32 / 250.0 - 2.0
        };
        for (tokens, positions) in [(1, 1), (1, 6), (5, 1), (3, 4), (4, 3), (4, 6), (6, 4)] {
            let shape = [tokens, positions];
            let weights: Vec<f32> = (0..tokens * positions).map(|_| next()).collect();
            let (cost, reached) = warp(&weights, shape);
            let best = best(&weights, shape, 0, 0);
            assert!((cost + best).abs() < 1e-4, "{cost} for {best}");
            assert!(reached.is_sorted() && reached[0] == 0, "{reached:?}");
        }
    }
}
