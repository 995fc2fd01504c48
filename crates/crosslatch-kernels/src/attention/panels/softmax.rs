//! The online softmax of a panel: the same arithmetic in every lane.

use crate::runtime::instructions::multiversion;
use crate::simd::approximate::exp;

/// Most lanes of a panel.
pub(super) const LANES: usize = 32;

/// The state of the online softmax in each lane.
pub(in crate::attention) struct SoftmaxState<'a> {
    /// The greatest score so far.
    pub greatest: &'a mut [f32],
    /// The sum of the exponentials so far.
    pub sums: &'a mut [f32],
    /// The factor that corrects what was summed before.
    pub correction: &'a mut [f32; LANES],
}

/// How scores become weights.
pub(in crate::attention) trait Weigh {
    /// Turns lanes `l .. l + N` of the scores of a block, rows of `lanes`, into weights relative to
    /// the greatest score so far, and updates the state.
    fn weigh_lanes<const FUSED: bool, const N: usize>(
        at: (usize, usize),
        scores: &mut [f32],
        state: &mut SoftmaxState<'_>,
    );

    /// The same for all lanes, in instructions of this machine, if there is a loop in them. Returns
    /// whether there is.
    #[inline(always)]
    fn weigh_natively(_lanes: usize, _scores: &mut [f32], _state: &mut SoftmaxState<'_>) -> bool {
        false
    }
}

/// Turns the scores of a block into weights, in all lanes.
#[inline(always)]
pub(super) fn weigh<W: Weigh>(lanes: usize, scores: &mut [f32], state: &mut SoftmaxState<'_>) {
    if !W::weigh_natively(lanes, scores, state) {
        weigh_compiled::<W>(lanes, scores, state);
    }
}

multiversion! {
    fn weigh_compiled[W: Weigh](lanes: usize, scores: &mut [f32], state: &mut SoftmaxState<'_>), weigh_portable
}

#[inline(always)]
fn weigh_portable<const FUSED: bool, W: Weigh>(
    lanes: usize,
    scores: &mut [f32],
    state: &mut SoftmaxState<'_>,
) {
    // As many lanes at a time as the longest vectors have, if the panel has so many.
    let mut l = 0;
    while l + 16 <= lanes {
        W::weigh_lanes::<FUSED, 16>((lanes, l), scores, state);
        l += 16;
    }
    while l < lanes {
        W::weigh_lanes::<FUSED, 8>((lanes, l), scores, state);
        l += 8;
    }
}

/// Updates the greatest scores of lanes `l .. l + N`. Returns what is to be subtracted from the
/// scores, and the factor that corrects what was summed before.
#[inline(always)]
pub(super) fn shift<const FUSED: bool, const N: usize>(
    (lanes, l): (usize, usize),
    scores: &[f32],
    greatest: &mut [f32],
) -> ([f32; N], [f32; N]) {
    let mut old = [0f32; N];
    old.copy_from_slice(&greatest[l..][..N]);
    let mut new = old;
    for row in scores.chunks_exact(lanes) {
        if let Some(row) = row[l..].first_chunk::<N>() {
            for i in 0..N {
                new[i] = if row[i] > new[i] { row[i] } else { new[i] };
            }
        }
    }
    greatest[l..][..N].copy_from_slice(&new);
    let mut shift = [0f32; N];
    let mut factor = [0f32; N];
    for i in 0..N {
        // With nothing seen so far, any shift does; minus infinity itself would give NaN.
        shift[i] = if new[i] == f32::NEG_INFINITY {
            0.0
        } else {
            new[i]
        };
        factor[i] = exp::<FUSED>(old[i] - shift[i]);
    }
    (shift, factor)
}

/// Adds the sums of the weights of a block.
#[inline(always)]
pub(super) fn accumulate<const N: usize>(
    state: &mut SoftmaxState<'_>,
    l: usize,
    factor: [f32; N],
    total: [f32; N],
) {
    for i in 0..N {
        state.sums[l + i] = state.sums[l + i] * factor[i] + total[i];
    }
    state.correction[l..][..N].copy_from_slice(&factor);
}
