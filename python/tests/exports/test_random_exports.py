"""A few of the random modules; `cargo xtask exports` runs thousands."""

import pytest
import torch

from . import random_exports


@pytest.mark.parametrize("first", range(0, 30, 10))
@torch.no_grad()
def test_random_modules_give_what_they_give_in_pytorch(first, tmp_path):
    for seed in range(first, first + 10):
        random_exports.check(seed, tmp_path)
