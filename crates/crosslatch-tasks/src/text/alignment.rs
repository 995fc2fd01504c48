//! Which token of the source each token of a text comes from.
//!
//! When a model chooses a token, its cross-attention looks at some part of the source. One more pass over a
//! text that was chosen gives the weights ([`Decoder::align`]); their mean over the heads says where the
//! model looked most. It looks at the end of a source, or at the name of its language, when it looks at
//! nothing else, so tokens that are around a text are not counted, unless there are no others.

use crate::search::{Decoder, Generated, HeadWeights, SearchError, Sequences};

/// The index among the tokens of the source for each token that was generated. `is_own` says of each token
/// of the source whether it belongs to the text itself.
pub(super) fn alignment<D: Decoder>(
    model: &mut D,
    sequences: &mut Sequences,
    prompt: &[u32],
    generated: &Generated,
    is_own: &[bool],
) -> Result<Vec<usize>, SearchError<D::Error>> {
    let count = generated.tokens.len();
    let Some((last, before)) = prompt.split_last().filter(|_| count > 0) else {
        return Ok(Vec::new());
    };
    // A token is chosen while the one before it is fed.
    let mut fed = vec![*last];
    fed.extend(&generated.tokens[..count - 1]);
    let mut sums = vec![vec![0.0_f32; is_own.len()]; count];
    let mut add = |weights: HeadWeights<'_>| {
        let rows = weights.values.chunks_exact(weights.source.max(1));
        for (sums, row) in sums.iter_mut().skip(weights.first).zip(rows) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    };
    sequences.align(model, before, &fed, &mut add)?;
    let counts = |i: usize| is_own[i] || !is_own.contains(&true);
    let most = |sums: &Vec<f32>| {
        let places = (0..sums.len()).filter(|&i| counts(i));
        places.max_by(|&a, &b| sums[a].total_cmp(&sums[b]).then(b.cmp(&a)))
    };
    Ok(sums.iter().map(|sums| most(sums).unwrap_or(0)).collect())
}
