"""The two operators that let a cross-attention cache live inside `torch.cond`."""

from torch import Tensor

def alias(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns its operands: the same tensors, nothing copied.

    Also `torch.ops.executorch.alias`.
    """

def update_cross_attn_cache(value: Tensor, cache: Tensor) -> Tensor:
    """Writes `cache[:, :, :S] = value` in place and returns `cache`.

    `value` is `[B, H, S, D]` and `cache` is `[B, H, S_max, D]`, with `S <= S_max`, one data type
    and one device; any strides, and `value` may overlap `cache`. Raises `RuntimeError`, with the
    cache untouched, if they do not fit, if elements of the cache share memory with each other, or
    if the cache requires grad outside of `torch.no_grad()`.

    Also `torch.ops.executorch.update_cross_attn_cache`.
    """
