"""The two operators that let a cross-attention cache live inside `torch.cond`.

`torch.cond` forbids a branch to return an operand or to write one, which is what a cache does.
Both operators therefore declare no aliasing and no mutation, while their kernels do both: `alias`
returns its operands, `update_cross_attn_cache` writes its cache.  Importing this module defines
them under `torch.ops.executorch`, with CPU kernels for eager mode and shape rules for tracing.
"""

import torch

# Python drops the definitions when this object dies; a module global lives as long as torch does.
_library = torch.library.Library("executorch", "FRAGMENT")


def _defined(name):
    return hasattr(torch.ops.executorch, name)


def _alias(x, y):
    return x, y


def _alias_shapes(x, y):
    # New tensors, not the operands: `torch.cond` inspects the traced outputs for aliases.
    return torch.empty_like(x), torch.empty_like(y)


def _check_fits(value, cache):
    if value.dim() != 4 or cache.dim() != 4:
        raise ValueError(f"value and cache must be [B, H, S, D], not {list(value.shape)} "
                         f"and {list(cache.shape)}")
    for axis in (0, 1, 3):
        torch._check(value.shape[axis] == cache.shape[axis],
                     lambda: f"value {list(value.shape)} and cache {list(cache.shape)} may differ "
                             "in the sequence axis only")
    torch._check(value.shape[2] <= cache.shape[2],
                 lambda: f"value of length {value.shape[2]} exceeds the cache of {cache.shape[2]}")


def _update_cross_attn_cache(value, cache):
    _check_fits(value, cache)
    cache[:, :, : value.shape[2]].copy_(value)
    return cache


def _update_cross_attn_cache_shapes(value, cache):
    _check_fits(value, cache)
    return torch.empty_like(cache)


# Another package may have defined an operator of this name already; then that one stands.
if not _defined("alias"):
    _library.define("alias(Tensor x, Tensor y) -> (Tensor, Tensor)")
    _library.impl("alias", _alias, "CPU")
    torch.library.register_fake("executorch::alias", _alias_shapes, lib=_library)
if not _defined("update_cross_attn_cache"):
    _library.define("update_cross_attn_cache(Tensor value, Tensor cache) -> Tensor")
    _library.impl("update_cross_attn_cache", _update_cross_attn_cache, "CPU")
    torch.library.register_fake("executorch::update_cross_attn_cache",
                                _update_cross_attn_cache_shapes, lib=_library)
