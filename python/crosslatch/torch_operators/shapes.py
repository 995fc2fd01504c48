"""The results of the operators for tensors without data.

They are the operands, as with data, unless a tracer is active: a tracer of a branch of `torch.cond`
would reject a returned operand as aliasing, so it gets new tensors.  Sizes may be symbolic.  What the
kernels refuse is refused here, in the same words, or becomes a guard if it depends on symbols.
"""

from functools import partial

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from .library import registrations

UPDATE = "executorch::update_cross_attn_cache"


def like(tensor):
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype,
                               device=tensor.device)


def is_traced():
    return torch._guards.TracingContext.try_get() is not None


def alias(x, y):
    return (like(x), like(y)) if is_traced() else (x, y)


def _require(condition, text, value, cache):
    torch._check(condition, lambda: f"{UPDATE}: {text} (value {list(value.shape)}, "
                                    f"cache {list(cache.shape)})")


def check(value, cache):
    """Raises `RuntimeError` unless `value` fits `cache`."""
    require = partial(_require, value=value, cache=cache)
    for name, tensor, axes in (("value", value, "[B, H, S, D]"),
                               ("cache", cache, "[B, H, S_max, D]")):
        require(tensor.dim() == 4,
                f"{name} must have the 4 dimensions {axes}, not {tensor.dim()}")
    for axis, what in ((0, "batch"), (1, "heads"), (3, "head size")):
        require(value.shape[axis] == cache.shape[axis],
                f"{what} of value is {value.shape[axis]}, of cache {cache.shape[axis]}")
    require(value.shape[2] <= cache.shape[2],
            f"value has {value.shape[2]} rows, more than the {cache.shape[2]} of cache")
    names = [str(tensor.dtype).removeprefix("torch.") for tensor in (value, cache)]
    require(value.dtype == cache.dtype, f"data type of value is {names[0]}, of cache {names[1]}")
    require(value.device == cache.device, f"value is on {value.device}, cache on {cache.device}")
    require(not any(statically_known_true(stride == 0) and not statically_known_true(size <= 1)
                    for size, stride in zip(cache.shape, cache.stride(), strict=True)),
            f"elements of cache share memory with each other (strides {list(cache.stride())}); "
            "make it contiguous")


def check_history(value, cache):
    """Raises `RuntimeError` if autograd would not let `cache` be written."""
    _require(not (torch.is_grad_enabled() and cache.requires_grad and cache.is_leaf),
             "cache is a leaf that requires grad, and PyTorch lets nobody write that; write it "
             "under torch.no_grad(), or detach it first", value, cache)


def update_cross_attn_cache(value, cache):
    check(value, cache)
    return like(cache) if is_traced() else cache


def register():
    for name, shape in (("alias", alias), ("update_cross_attn_cache", update_cross_attn_cache)):
        torch.library.register_fake(f"executorch::{name}", shape, lib=registrations,
                                    allow_override=True)
