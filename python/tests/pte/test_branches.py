"""Delegates inside of branches: projections run in XNNPACK there, and write into the caches."""

import pytest
import torch

pytest.importorskip("executorch.exir")

from crosslatch.executorch import lower  # noqa: E402
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # noqa: E402
from executorch.exir.delegate import executorch_call_delegate  # noqa: E402

from . import plans  # noqa: E402
from .projecting import ROWS, WIDTH, Projecting, calls, exported  # noqa: E402
from .running import method_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
COND = torch.ops.higher_order.cond
PORTABLE = {"aten::addmm", "aten::mm", "aten::linear"}


@pytest.mark.parametrize("layers, longest", [(2, None), (1, ROWS)],
                         ids=["two-layers", "lengths-that-vary"])
@torch.no_grad()
def test_projections_in_a_branch_are_delegated(layers, longest):
    result = lower(exported(Projecting(layers), longest), [XnnpackPartitioner()])
    (plan,) = result.manager.executorch_program.execution_plan
    assert not PORTABLE & {operator.name for operator in plan.operators}
    # Each branch that computes has a delegate; weights are no operands of a cond any more.
    module = result.manager.exported_program().graph_module
    conds = [node for node in module.graph.nodes if node.target is COND]
    assert len(conds) == layers
    for cond in conds:
        assert delegates(getattr(module, cond.args[2].target))
        assert not any(tuple(node.meta["val"].shape) == (WIDTH, WIDTH) for node in cond.args[3])
    assert not result.reports["forward"].kept
    assert plans.copied(result, "forward", taken=True) == 0
    means_the_same(result, calls([7, ROWS, 3, 5, ROWS] if longest else [ROWS] * 3, steps=2), layers)


@torch.no_grad()
def test_projections_in_a_branch_of_a_branch_mean_the_same():
    result = lower(exported(Projecting(nested=True)), [XnnpackPartitioner()])
    means_the_same(result, calls([ROWS] * 4, steps=2), nested=True)


def means_the_same(result, calls, *options, **more):
    plain, method = Projecting(*options, **more), method_of(result)
    for inputs in calls:
        torch.testing.assert_close(method.execute(list(inputs))[0], plain(*inputs))


def delegates(module):
    return any(node.target is executorch_call_delegate for node in module.graph.nodes)


class CacheAsWeight(torch.nn.Module):
    """A linear layer whose weight is a cache, which is to be read when the program runs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.zeros(16, 16))

    def forward(self, position, x):
        result = torch.cond(position[0] > 0, lambda w, x: w.clone(),
                            lambda w, x: torch.cat([x, x * 2]), (self.weight, x))
        before = torch.nn.functional.linear(x, self.weight)
        self.weight.copy_(result)
        return torch.nn.functional.linear(x, self.weight) + before


@torch.no_grad()
def test_a_cache_never_becomes_a_constant_of_a_delegate():
    example = (torch.tensor([0]), torch.randn(8, 16))
    program = torch.export.export(CacheAsWeight(), example)
    method = method_of(lower(program, [XnnpackPartitioner()]))
    weight = torch.zeros(16, 16)
    for position in (0, 1, 0, 1, 1):
        x = torch.randn(8, 16)
        before, weight = weight, weight if position else torch.cat([x, x * 2])
        (got,) = method.execute([torch.tensor([position]), x])
        torch.testing.assert_close(got, x @ weight.T + x @ before.T)
