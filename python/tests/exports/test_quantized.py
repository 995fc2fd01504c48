"""Programs that PyTorch's quantization flows write: pt2e and torchao; and each operator by itself."""

import copy

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # noqa: F401  registers the operators
import torchao.quantization.quant_primitives  # noqa: F401

import crosslatch

Q = torch.ops.quantized_decomposed
A = torch.ops.torchao


def run(program, calls, folder, precision="f32"):
    """The engine's results for each call."""
    torch.export.save(program, folder / "program.pt2")
    session = crosslatch.load(folder / "program.pt2", precision=precision).session()
    for call in calls:
        given = dict(zip(program.graph_signature.user_inputs, [t.numpy() for t in call], strict=True))
        yield list(session.run("model", given).values())


class PerTensor(torch.nn.Module):
    def forward(self, x, scale, zero):
        q = Q.quantize_per_tensor(x, 0.037, 3, -128, 127, torch.int8)
        by = Q.quantize_per_tensor.tensor(x, scale, zero, 0, 255, torch.uint8)
        return (q, Q.dequantize_per_tensor(q, 0.037, 3, -128, 127, torch.int8), by,
                Q.dequantize_per_tensor.tensor(by, scale, zero, 0, 255, torch.uint8))

    calls = [(torch.randn(5, 7) * size, torch.tensor([0.02]), torch.tensor([12])) for size in (1, 9)]


class PerChannel(torch.nn.Module):
    def forward(self, x, scales, zeros):
        q = Q.quantize_per_channel(x, scales, zeros, 1, -128, 127, torch.int8)
        turned = Q.quantize_per_channel(x.transpose(0, 1), scales, zeros, 0, -7, 7, torch.int8)
        return q, turned, Q.dequantize_per_channel(q, scales, zeros, 1, -128, 127, torch.int8)

    calls = [(torch.randn(3, 4, 5) * 2, torch.rand(4) + 0.01, torch.tensor([0, 5, -9, 1]))]


class PerToken(torch.nn.Module):
    def forward(self, x):
        scales, zeros = Q.choose_qparams_per_token_asymmetric(x, torch.int8)
        q = Q.quantize_per_token(x, scales, zeros, -128, 127, torch.int8)
        return scales, zeros, q, Q.dequantize_per_token(
            q, scales, zeros, -128, 127, torch.int8, torch.float32)

    calls = [(torch.randn(3, 6) * size,) for size in (1, 0.01)] + [(torch.zeros(2, 6),)]


class Groups(torch.nn.Module):
    def forward(self, x, scales, zeros):
        q = Q.quantize_per_channel_group(x, scales, zeros, -8, 7, torch.int8, 4)
        return q, Q.dequantize_per_channel_group(q, scales, zeros, -8, 7, torch.int8, 4, torch.float32)

    calls = [(torch.randn(3, 8), torch.rand(3, 2) + 0.1, torch.randint(-2, 3, (3, 2)).float())]


class Chosen(torch.nn.Module):
    def forward(self, x):
        scale, zero = Q.choose_qparams.tensor(x, -128, 127, 1e-7, torch.int8)
        return scale, zero, Q.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)

    calls = [(torch.randn(4, 3) + shift,) for shift in (0, 3, -3)]


class Affine(torch.nn.Module):
    """Rows, groups and blocks, with each mapping."""

    def forward(self, x):
        results = []
        for mapping, block in (("ASYMMETRIC", [1, 8]), ("SYMMETRIC", [1, 4]),
                               ("SYMMETRIC_NO_CLIPPING_ERR", [2, 4]), ("SYMMETRIC", [4, 8])):
            scale, zero = A.choose_qparams_affine(x, mapping, block, torch.int8, -128, 127)
            q = A.quantize_affine(x, block, scale, zero, torch.int8, -128, 127)
            results += [scale, zero, q, A.dequantize_affine(q, block, scale, zero, torch.int8, -128, 127)]
        return tuple(results)

    calls = [(torch.randn(4, 8) * size,) for size in (1, 30)]


@pytest.mark.parametrize("kind", [PerTensor, PerChannel, PerToken, Groups, Chosen, Affine],
                         ids=lambda kind: kind.__name__)
def test_operators_compute_what_pytorch_computes(kind, tmp_path):
    sizes = [torch.export.Dim.AUTO] if kind is PerToken else None
    shapes = ({0: sizes[0]},) if sizes else None
    program = torch.export.export(kind(), kind.calls[0], dynamic_shapes=shapes)
    for call, got in zip(kind.calls, run(program, kind.calls, tmp_path), strict=True):
        wanted = kind()(*call)
        assert len(got) == len(wanted)
        for array, tensor in zip(got, wanted, strict=True):
            assert array.dtype == tensor.numpy().dtype and array.shape == tuple(tensor.shape)
            # Integers are equal, and scales to the last bit or two.
            exact = not tensor.is_floating_point()
            np.testing.assert_allclose(array, tensor.numpy(), rtol=0 if exact else 1e-6, atol=0)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = torch.nn.Linear(16, 32), torch.nn.Linear(32, 8)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


CALLS = [(torch.randn(rows, 16),) for rows in (5, 5)]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("by_channel", [False, True], ids=["tensor", "channel"])
def test_pt2e_programs_run(dynamic, by_channel, tmp_path):
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer, get_symmetric_quantization_config)
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(
        is_per_channel=by_channel, is_dynamic=dynamic))
    model = torch.export.export(Network().eval(), CALLS[0]).module()
    prepared = prepare_pt2e(model, quantizer)
    for call in CALLS:
        prepared(*call)
    quantized = convert_pt2e(prepared)
    program = torch.export.export(quantized, CALLS[0])
    for call, (got,) in zip(CALLS, run(program, CALLS, tmp_path), strict=True):
        wanted = quantized(*call).detach().numpy()
        # An element of the middle layer that lies between two integers may go to the other one.
        np.testing.assert_allclose(got, wanted, rtol=0, atol=0.02 * abs(wanted).max())
        plain = Network().eval()(*call).detach().numpy()
        assert abs(got - plain).max() < 0.1 * abs(plain).max()


def configurations():
    from torchao.quantization import (Int8DynamicActivationInt8WeightConfig,
                                      Int8WeightOnlyConfig, IntxWeightOnlyConfig)
    from torchao.quantization.granularity import PerGroup
    return {"weights": Int8WeightOnlyConfig, "both": Int8DynamicActivationInt8WeightConfig,
            "groups of four bits": lambda: IntxWeightOnlyConfig(
                weight_dtype=torch.int4, granularity=PerGroup(8))}


def as_torchao_writes(name):
    from torchao.quantization import quantize_
    from torchao.utils import unwrap_tensor_subclass

    model = copy.deepcopy(Network().eval())
    quantize_(model, configurations()[name]())
    return unwrap_tensor_subclass(model)


@pytest.mark.parametrize("name", ["weights", "both", "groups of four bits"])
def test_torchao_programs_run(name, tmp_path):
    model = as_torchao_writes(name)
    program = torch.export.export(model, CALLS[0]).run_decompositions({})
    for call, (got,) in zip(CALLS, run(program, CALLS, tmp_path), strict=True):
        wanted = model(*call).detach().numpy()
        np.testing.assert_allclose(got, wanted, rtol=0, atol=0.02 * abs(wanted).max())


@pytest.mark.parametrize("decompositions", [{}, None], ids=["composed", "decomposed"])
@pytest.mark.parametrize("name", ["plain", "weights", "groups of four bits"])
def test_layers_of_quantized_programs_have_narrow_kernels(name, decompositions, tmp_path):
    model = Network().eval() if name == "plain" else as_torchao_writes(name)
    program = torch.export.export(model, CALLS[0]).run_decompositions(decompositions)
    in_f32 = [got for (got,) in run(program, CALLS, tmp_path)]
    for call, wide, (narrow,) in zip(CALLS, in_f32, run(program, CALLS, tmp_path, "int8"), strict=True):
        wanted = model(*call).detach().numpy()
        np.testing.assert_allclose(wide, wanted, rtol=0, atol=1e-5 * abs(wanted).max())
        # Rounded once more, with the sums in integers: near, and not the same.
        assert 0 < abs(narrow - wanted).max() < 0.02 * abs(wanted).max()
        assert (narrow != wide).any()
