"""Another package that defines operators of the same names, imported before or after.

The stand-in defines them the way the `executorch` package does: with Python kernels that copy, and
lowerings of its own.
"""

import os
import subprocess
import sys

import pytest

from conftest import ROOT

NEIGHBOUR = '''
import torch
from torch._inductor.lowering import register_lowering

@torch.library.custom_op("executorch::alias", mutates_args=())
def custom_alias(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, y

@custom_alias.register_fake
def _(x, y):
    return torch.empty_like(x), torch.empty_like(y)

@register_lowering(torch.ops.executorch.alias.default)
def lowering_custom_alias(x, y):
    raise AssertionError("the neighbour's lowering")

@torch.library.custom_op("executorch::update_cross_attn_cache", mutates_args=[])
def update(value: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    cache[:, :, : value.size(2), :].copy_(value)
    return cache.clone()

@update.register_fake
def _(value, cache):
    return torch.empty_like(cache)

@register_lowering(torch.ops.executorch.update_cross_attn_cache)
def lowering_update(value, cache):
    raise AssertionError("the neighbour's lowering")

@torch.library.custom_op("neighbour::other", mutates_args=())
def other(x: torch.Tensor) -> torch.Tensor:
    return x + 1
'''

PROGRAM = '''
import torch
alias, update = torch.ops.executorch.alias, torch.ops.executorch.update_cross_attn_cache
x, y = torch.ones(2), torch.ones(3)
assert alias(x, y)[0] is x
value, cache = torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 5, 4)
assert update(value, cache) is cache

@torch.compile
def f(value, cache):
    update(value, cache)
    return alias(cache, value)[0] * 2

with torch.no_grad():
    assert f(value, torch.zeros(1, 2, 5, 4)).sum() == 48
assert torch.ops.neighbour.other(x).sum() == 4
assert torch.library.custom_op.__module__ != "crosslatch.torch_operators.neighbour"
'''


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_one_definition_and_our_kernels(order, tmp_path):
    folder = tmp_path / "executorch" / "extension" / "llm" / "custom_ops"
    folder.mkdir(parents=True)
    for parent in (folder, *folder.parents[:3]):
        (parent / "__init__.py").touch()
    (folder / "custom_ops.py").write_text(NEIGHBOUR)
    imports = ["import crosslatch.ops",
               "from executorch.extension.llm.custom_ops import custom_ops"]
    code = "\n".join(imports if order == "ours first" else imports[::-1]) + PROGRAM
    path = os.pathsep.join((str(ROOT / "python"), str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert "overrid" not in done.stderr.lower()
