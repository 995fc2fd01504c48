//! The two operators that let `torch.cond` choose between computing and reusing a cache.
//!
//! Cross-attention keys and values depend only on the output of the encoder. A decoder computes them
//! at its first step and reuses them at every later one; an exported graph makes that choice with
//! `torch.cond`. But a branch of `torch.cond` may neither return an operand nor write one, and that
//! is exactly what the two branches do: one returns the caches as they are, the other writes them.
//! So PyTorch's schemas of the two operators have no annotations: they say that `alias` makes new
//! tensors and that `update_cross_attn_cache` leaves its operand alone. Both statements are false,
//! and a pass that believes them may drop the write, reorder it against a read, or reuse the memory
//! of a "fresh" result that is really the cache.
//!
//! Nothing forces this engine to repeat them: its `cond` has no such rule, and the schemas in its
//! catalogue need not be those with which a file was exported. So here the schemas tell the truth.
//! `alias` returns its operands; `update_cross_attn_cache` writes `cache` and returns it. From that
//! the analysis of effects knows that the write must not be dropped even if nobody uses the result,
//! that a read before it must see the old contents, and that in-place work on a result is work on
//! the cache. Everything else, a copy where sharing would be wrong and none where it is right,
//! follows from the general rules; these two operators are a special case nowhere.

use crosslatch_kernels::Layout;

use crate::ir::catalogue::{Table, op};
use crate::ir::{Assign, Call, Lowering, OpError, View};

pub(super) const OPERATORS: Table = &[
    op(
        "executorch::alias(Tensor(a) x, Tensor(b) y) -> (Tensor(a), Tensor(b))",
        alias,
    ),
    op(
        "executorch::update_cross_attn_cache(Tensor value, Tensor(a!) cache) -> Tensor(a!)",
        update,
    ),
];

/// Returns both operands as they are.
fn alias(call: &Call<'_>) -> Result<Lowering, OpError> {
    let views = [call.tensor("x")?, call.tensor("y")?].map(|t| View {
        of: t.index,
        layout: t.layout.clone(),
    });
    Ok(Lowering::Views(views.into()))
}

/// Writes `cache[:, :, :S, :] = value` and returns all of `cache`. `value` is `[B, H, S, D]`, `cache`
/// is `[B, H, S_max, D]`, `S <= S_max`.
fn update(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (value, cache) = (call.tensor("value")?, call.tensor("cache")?);
    if value.rank() != 4 || cache.rank() != 4 {
        return Err(OpError::new(format!(
            "value and cache must have 4 dimensions (batch, heads, positions, channels), not {} \
             and {}",
            value.rank(),
            cache.rank()
        )));
    }
    for (d, what) in [
        (0, "batch"),
        (1, "number of heads"),
        (3, "number of channels"),
    ] {
        if value.shape()[d] != cache.shape()[d] {
            return Err(OpError::new(format!(
                "value and cache differ in {what}: {} and {}",
                value.shape()[d],
                cache.shape()[d]
            )));
        }
    }
    let (len, room) = (value.shape()[2], cache.shape()[2]);
    if len > room {
        return Err(OpError::new(format!(
            "{len} positions do not fit a cache of {room}"
        )));
    }
    if value.dtype != cache.dtype {
        return Err(OpError::new(format!(
            "value is {} but cache is {}",
            value.dtype, cache.dtype
        )));
    }
    Ok(Lowering::Assign(Assign {
        of: cache.index,
        part: Box::new(move |cache: &Layout| Ok(cache.slice(2, 0, len, 1))),
        from: value.index,
    }))
}
