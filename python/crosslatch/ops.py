"""The two operators that let a cross-attention cache live inside `torch.cond`.

`import crosslatch.ops` defines, under `torch.ops.executorch`:

`alias(x, y) -> (x, y)`
    Returns its operands.  Nothing is copied.

`update_cross_attn_cache(value, cache) -> cache`
    Writes `cache[:, :, :S] = value` in place and returns `cache`, where `value` is
    `[B, H, S, D]`, `cache` is `[B, H, S_max, D]` and `S <= S_max`.  Raises `RuntimeError`, with the
    cache untouched, if they do not fit.

`torch.cond` forbids a branch to return an operand or to write one, which is what a cache does.  The
schemas of these operators declare neither, so `torch.cond` accepts them.  The parts of PyTorch that
would draw wrong conclusions from that are told the truth:

- `torch_operators.library` loads the kernels, which are native and know nothing of tracing,
- `torch_operators.shapes` gives the shapes of the results,
- `torch_operators.autograd` gives derivatives, by the meaning of a write,
- `torch_operators.functionalization` makes a write visible to later readers of the cache,
- `torch_operators.aliasing` answers the check for results that share memory with operands,
- `torch_operators.inductor` compiles a write to one copy, in place,
- `torch_operators.loading` keeps older versions of torch from writing into Python's own memory,
- `torch_operators.neighbour` coexists with the package that publishes operators of the same names.

docs/guide/operators.md has the contract in each mode.
"""

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("crosslatch.ops needs torch 2.10 or later, and it is not installed; "
                      "the rest of crosslatch works without it") from error

from .torch_operators import library

library.load()

# Only now, because these modules look the operators up.
from .torch_operators import (  # noqa: E402
    aliasing, autograd, functionalization, inductor, loading, neighbour, shapes)

shapes.register()
functionalization.register()
aliasing.register()
autograd.register()
inductor.register()
loading.register()
neighbour.watch()

alias = torch.ops.executorch.alias.default
update_cross_attn_cache = torch.ops.executorch.update_cross_attn_cache.default

__all__ = ["alias", "update_cross_attn_cache"]
