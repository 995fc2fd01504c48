"""Other uses of programs than running them: copying, splitting, quantizing, caching."""

import copy
import json
import os
import subprocess
import sys

import pytest
import torch

import crosslatch.ops  # noqa: F401
from conftest import ROOT
from .modes import packaged
from .programs import PROGRAMS, Module, Plain, Real
from .test_programs import bits, check, expectations

alias = torch.ops.executorch.alias
update = torch.ops.executorch.update_cross_attn_cache

FEW = ("update_whose_result_is_unused", "read_then_update_then_read",
       "two_live_results_of_one_cache", "predicate_from_a_flag", "predicate_from_the_position",
       "operands_read_before_and_after_a_cond", "a_cond_on_each_layer_of_a_stack")


def dynamic(module, inputs):
    torch._dynamo.reset()
    return torch.compile(module, fullgraph=True, dynamic=True)


def reduce_overhead(module, inputs):
    torch._dynamo.reset()
    return torch.compile(module, fullgraph=True, mode="reduce-overhead")


def traced_strictly(module, inputs):
    return torch.export.export(module, inputs, strict=True).module()


def copied_program(module, inputs):
    return copy.deepcopy(torch.export.export(module, inputs)).module()


def copied_module(module, inputs):
    original = torch.export.export(module, inputs).module()
    duplicate = copy.deepcopy(original)
    # What the original does must not be seen in the copy.
    original(*copy.deepcopy(inputs))
    return duplicate


def unflattened(module, inputs):
    return torch.export.unflatten(torch.export.export(module, inputs))


def interpreted(module, inputs):
    program = torch.export.export(module, inputs).run_decompositions({}).module()

    class Interpreted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.program = program

        def forward(self, *args):
            return torch.fx.Interpreter(self.program).run(*args)

    return Interpreted()


WAYS = [dynamic, reduce_overhead, traced_strictly, copied_program, copied_module, unflattened,
        interpreted]


def agree(program, module, run):
    """Runs all calls and compares each with plain Python."""
    calls = [program.inputs(i, torch.float32) for i in range(program.calls)]
    expected = expectations(program, torch.float32, calls)
    for i, inputs in enumerate(copy.deepcopy(calls)):
        outputs = run(*inputs)
        state = {name.removeprefix("_orig_mod.").removeprefix("program."): t
                 for name, t in run.named_buffers()}
        actual = bits(outputs), bits(inputs), bits({n: state[n] for n in program.buffers})
        check(actual, expected[i], torch.float32, f"call {i}")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_another_way(name, way):
    program = PROGRAMS[name]
    module = Module(program, Real)
    agree(program, module, way(module, program.inputs(0, torch.float32)))


class Broken(Real):
    """Each call of an operator is between two graphs."""

    @staticmethod
    def alias(x, y):
        torch._dynamo.graph_break()
        return alias(x, y)

    @staticmethod
    def update(value, cache):
        torch._dynamo.graph_break()
        result = update(value, cache)
        torch._dynamo.graph_break()
        return result


@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items()
                                  if name in FEW and "predicate" not in program.inputs.__name__
                                  and not program.buffers])
@torch.no_grad()
def test_graph_breaks(name):
    program = PROGRAMS[name]
    torch._dynamo.reset()
    module = Module(program, Broken)
    agree(program, module, torch.compile(module, backend="aot_eager"))


@torch.no_grad()
def test_two_packages_in_one_process(tmp_path):
    """Each package has its buffers; what one is fed is not seen in the other."""
    program = PROGRAMS["predicate_from_the_position"]
    calls = [program.inputs(i, torch.float32) for i in range(program.calls)]
    one = packaged(Module(program, Real), calls[0], tmp_path)
    two = torch._inductor.aoti_load_package(str(tmp_path / "package.pt2"))
    plain = [Module(program, Plain) for _ in range(2)]
    for i in range(len(calls)):
        for run, meaning, states in ((one, plain[0], calls[i]), (two, plain[1], calls[-1 - i])):
            position = calls[i][0]
            inputs = position, states[1]
            torch.testing.assert_close(tuple(run(*copy.deepcopy(inputs))), meaning(*inputs))


CACHED = '''
import json, sys, torch
if sys.argv[1] == "ours":
    import crosslatch.ops
from torch._dynamo.utils import counters

def plain(x):
    return x * 2

def ours(v, c):
    torch.ops.executorch.update_cross_attn_cache(v, c)
    return c * 2

with torch.no_grad():
    result = [torch.compile(plain)(torch.ones(3)).sum().item()]
    if sys.argv[1] == "ours":
        cache = torch.zeros(1, 2, 6, 4)
        result.append(torch.compile(ours)(torch.ones(1, 2, 3, 4), cache).sum().item())
        result.append(cache.sum().item())
hits = {name: count for part in ("inductor", "aot_autograd")
        for name, count in counters[part].items() if name.endswith("cache_hit")}
print(json.dumps([result, sum(hits.values())]))
'''


def test_the_cache_on_disk_knows_who_compiled(tmp_path):
    def run(who):
        done = subprocess.run(
            [sys.executable, "-c", CACHED, who], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "python"),
                              "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    assert run("nobody") == [[6], 0]
    # Nothing that was compiled without our lowerings is taken, and the other way round.
    assert run("ours") == [[6, 48, 24], 0]
    results, hits = run("ours")
    assert results == [6, 48, 24] and hits > 0
    assert run("nobody")[0] == [6]


OPERATORS = [alias.default, update.default]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name())
@pytest.mark.parametrize("grad", [False, True])
def test_what_opcheck_says(operator, grad):
    """All is well but for the schema, which hides what `torch.cond` must not see."""
    value, cache = torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 6, 4)
    value.requires_grad_(grad)
    for test in ("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"):
        assert torch.library.opcheck(operator, (value, cache), test_utils=test) == {test: "SUCCESS"}
    if not grad:
        with pytest.raises(Exception, match="not defined to (alias output|mutate)"):
            torch.library.opcheck(operator, (value, cache), test_utils="test_schema")


class Projected(torch.nn.Module):
    """A quantised projection into a cache."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = torch.nn.Linear(64, 64)
        self.register_buffer("keys", torch.zeros(1, 2, 6, 32))

    def forward(self, ready, states):
        def use(states, keys):
            return alias(keys, states)[0]

        def write(states, keys):
            return update(self.project(states).view(1, -1, 2, 32).transpose(1, 2), keys)

        return torch.cond(ready, use, write, (states, self.keys)) * 2


class Branches(torch.nn.Module):
    """A projection in a branch, without the operators."""

    def __init__(self):
        super().__init__()
        self.project = torch.nn.Linear(64, 64)

    def forward(self, ready, states):
        return torch.cond(ready, lambda states: states * 2, self.project, (states,))


def cond_takes_quantised_weights(quantization):
    """Whether `torch.cond` by itself takes the tensors of this version of torchao."""
    module = Branches()
    quantization.quantize_(module, quantization.Int8WeightOnlyConfig())
    try:
        torch.export.export(module, (torch.tensor(False), torch.randn(1, 6, 64)))
    except NotImplementedError:
        return False
    return True


@pytest.mark.parametrize("mode", ["compiled", "exported", "decomposed"])
@torch.no_grad()
def test_quantised_weights_around_a_cache(mode):
    quantization = pytest.importorskip("torchao.quantization")
    if not cond_takes_quantised_weights(quantization):
        pytest.skip("torch.cond does not take quantised weights of this version of torchao")
    module = Projected()
    quantization.quantize_(module, quantization.Int8WeightOnlyConfig())
    states = torch.randn(1, 6, 64)
    expected = module.project(states).view(1, -1, 2, 32).transpose(1, 2) * 2
    if mode == "compiled":
        torch._dynamo.reset()
        run = torch.compile(module, fullgraph=True)
    else:
        program = torch.export.export(module, (torch.tensor(False), states))
        run = (program if mode == "exported" else program.run_decompositions({})).module()
    for ready, given in ((False, states), (True, torch.full_like(states, 1e4))):
        torch.testing.assert_close(run(torch.tensor(ready), given), expected, rtol=1e-4, atol=1e-4)
