"""Every core operator of PyTorch is compared with PyTorch, or refused by name because it computes gradients."""

import warnings

import pytest
import torch

from operators.core import computes_gradients, core_operators
from operators.samples import make_call
from operators.whole import engine_operators

CORE = core_operators()


def test_every_core_operator_is_there_unless_it_computes_gradients():
    missing = CORE.keys() - engine_operators()
    assert {name for name in missing if not computes_gradients(name)} == set()


def _gradients() -> dict[str, tuple]:
    """A call of each core operator that computes gradients."""
    image, half, both = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 2, 2), [1, 1]
    rows, row = torch.ones(2, 3), torch.ones(3)
    all_three = [True, True, True]
    return {
        "_adaptive_avg_pool2d_backward": (half, image),
        "avg_pool2d_backward": (half, image, [2, 2], [2, 2], [0, 0], False, True, None),
        "convolution_backward": (torch.ones(1, 3, 2, 2), image, torch.ones(3, 2, 3, 3), [3], both, [0, 0], both,
                                 False, [0, 0], 1, all_three),
        "embedding_dense_backward": (rows, torch.zeros(2, dtype=torch.int64), 5, -1, False),
        "max_pool2d_with_indices_backward": (half, image, [2, 2], [2, 2], [0, 0], both, False, half.long()),
        "native_group_norm_backward": (torch.ones(2, 4, 3), torch.ones(2, 4, 3), torch.ones(2, 2),
                                       torch.ones(2, 2), torch.ones(4), 2, 4, 3, 2, all_three),
        "native_layer_norm_backward": (rows, rows, [3], torch.ones(2, 1), torch.ones(2, 1), row, row, all_three),
    }


def test_the_core_operators_that_are_missing_are_those_that_compute_gradients():
    missing = CORE.keys() - engine_operators()
    assert {name for name in missing if computes_gradients(name)} == {f"aten::{n}" for n in _gradients()}


@pytest.mark.parametrize("name", _gradients())
def test_operators_that_compute_gradients_are_refused_by_name(name, crosslatch, tmp_path):
    function, args = getattr(torch.ops.aten, name), _gradients()[name]
    call = make_call(function, args, {})
    program = torch.export.export(call, call.tensors)
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(program, tmp_path / "gradients.pt2")
    _, message = crosslatch("inspect", tmp_path / "gradients.pt2", status=1)
    assert f"aten::{name}" in message and "it computes gradients" in message
