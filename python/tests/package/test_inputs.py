"""Inputs and outputs of programs: element types, strides, owners, numbers."""

import subprocess
import sys
import weakref

import ml_dtypes
import numpy as np
import pytest
import torch

import crosslatch
from conftest import ROOT

from .programs import Twice, load, only

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
          torch.float16, torch.bfloat16, torch.float32, torch.float64]


def name(dtype):
    return str(dtype).removeprefix("torch.")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """The program for an element type, rows and columns of any number."""
    programs = {}

    def program(dtype):
        if dtype not in programs:
            rows, columns = (torch.export.Dim(n, min=1, max=1 << 40) for n in ("rows", "columns"))
            path = tmp_path_factory.mktemp("twice") / "model.pt2"
            programs[dtype] = load(Twice(), (torch.zeros(2, 3).to(dtype),), path,
                                   dynamic_shapes={"x": {0: rows, 1: columns}})
        return programs[dtype]

    return program


def run(program, x):
    return only(program.session().run("model", {"x": x}))


def numbers(dtype, *shape):
    values = torch.arange(torch.Size(shape).numel()).reshape(shape)
    return (values % 3 == 0) if dtype == torch.bool else (values % 120).to(dtype)


LAYOUTS = {
    "row-major": lambda x: x,
    "transposed": lambda x: x.T,
    "every second row and column": lambda x: x[::2, ::2],
    "from the middle on": lambda x: x[2:5, 1:4],
    "one column": lambda x: x[:, 2:3],
    "one row, transposed": lambda x: x[3:4].T,
    "spread over rows": lambda x: x[1:2].expand(5, -1),
    "spread over both": lambda x: x[1:2, 1:2].expand(3, 4),
    "overlapping windows": lambda x: x.reshape(-1).as_strided((5, 4), (2, 1)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_element_type_comes_in_with_any_strides_and_out_again(twice, dtype, layout):
    x = LAYOUTS[layout](numbers(dtype, 6, 8))
    expected = torch.cat([x, x]).view(torch.uint8 if dtype == torch.bool else dtype)
    outputs = [run(twice(dtype), x)]
    if dtype != torch.bfloat16:
        outputs.append(run(twice(dtype), x.numpy()))
        outputs.append(run(twice(dtype), np.lib.stride_tricks.as_strided(x.numpy())))
    else:
        bits = x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        outputs.append(run(twice(dtype), bits))
    for out in outputs:
        assert out.dtype.name == name(dtype) and out.shape == tuple(expected.shape)
        assert out.flags.writeable and out.flags.c_contiguous and out.flags.aligned
        assert out.tobytes() == expected.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("make", [
    lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[::-1, ::-2], lambda x: x[::-1].T,
    lambda x: np.asfortranarray(x), lambda x: x.astype(">f4"), lambda x: x[1:, ::-1],
], ids=["rows", "columns", "both", "transposed", "Fortran", "big-endian", "offset"])
def test_what_numpy_cannot_lend_is_copied(twice, make):
    x = make(np.arange(24, dtype=np.float32).reshape(4, 6))
    np.testing.assert_array_equal(run(twice(torch.float32), x), np.concatenate([x, x]))


def test_unaligned_and_write_protected_arrays_are_read(twice):
    memory = np.zeros(4 * 6 + 1, np.uint8)
    x = memory[1:].view(np.float32).reshape(2, 3)
    x[:] = [[1, 2, 3], [4, 5, 6]]
    assert not x.flags.aligned
    np.testing.assert_array_equal(run(twice(torch.float32), x), np.concatenate([x, x]))
    protected = x.copy()
    protected.flags.writeable = False
    np.testing.assert_array_equal(run(twice(torch.float32), protected), np.concatenate([x, x]))


def test_empty_arrays_and_single_numbers(twice, tmp_path):
    class Scalar(torch.nn.Module):
        def forward(self, x, none):
            return x * 2, none.clone(), 7

    program = load(Scalar(), (torch.tensor(1.0), torch.zeros(0, 3)), tmp_path / "m.pt2")
    session = program.session()
    for one in (np.float32(4), np.array(4, np.float32), torch.tensor(4.0), 4.0, 4):
        for nothing in (np.zeros((0, 3), np.float32), torch.zeros(0, 3)):
            double, none, seven = session.run("model", {"x": one, "none": nothing}).values()
            assert double.shape == () and double == 8
            assert none.shape == (0, 3) and none.dtype == np.float32
            assert seven.dtype == np.int64 and seven == 7


STRIDED = """
import resource, sys
import numpy as np
import crosslatch
program = crosslatch.load(sys.argv[1], threads=1)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

session = program.session()
session.run("model", {"x": np.zeros((2, 8), np.float32)})
before = peak()
zeros = np.zeros((1 << 13, 1 << 14), np.float32)   # 512 MiB that nobody touches
for x in (zeros, zeros.T, zeros[::2, ::2], np.broadcast_to(np.float32(3), (1 << 20, 1 << 16))):
    (out,) = session.run("model", {"x": x}).values()
    assert (out == 1 + x[0, :4]).all()
assert peak() - before < 64, (before, peak())
"""


def test_strided_arrays_are_not_copied(tmp_path):
    class Corner(torch.nn.Module):
        def forward(self, x):
            return x[0, :4] + 1

    rows, columns = (torch.export.Dim(n, min=1, max=1 << 40) for n in ("rows", "columns"))
    path = tmp_path / "m.pt2"
    load(Corner(), (torch.zeros(2, 8),), path,
         dynamic_shapes={"x": {0: rows, 1: torch.export.Dim("columns", min=8, max=1 << 40)}})
    done = subprocess.run([sys.executable, "-c", STRIDED, path], capture_output=True, text=True,
                          cwd=ROOT / "python")
    assert done.returncode == 0, done.stderr


class Lender:
    """Lends an array that nobody else holds, as an array library does."""

    def __init__(self, versioned=True):
        self.versioned, self.array = versioned, None

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, *, max_version=None, **options):
        array = np.full((2, 3), 5, np.float32)
        self.array = weakref.ref(array)
        return array.__dlpack__(max_version=max_version if self.versioned else None)


@pytest.mark.parametrize("versioned", [True, False])
def test_lent_memory_is_kept_for_the_run_and_given_back_after_it(twice, versioned):
    lender = Lender(versioned)
    assert (run(twice(torch.float32), lender) == 5).all()
    assert lender.array() is None
    with pytest.raises(crosslatch.Error):
        run(twice(torch.int64), lender)
    assert lender.array() is None


def test_a_tensor_of_torch_is_given_back(twice):
    x = torch.ones(4, 5)
    storage = x.untyped_storage()

    def count():
        return torch._C._storage_Use_Count(storage._cdata)

    before = count()
    for _ in range(3):
        run(twice(torch.float32), x)
        assert count() == before


def test_a_producer_that_raises_is_the_cause_of_the_error(twice):
    class Broken:
        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, **options):
            raise RuntimeError("no memory today")

    with pytest.raises(crosslatch.Error, match="input `x` cannot be read: no memory") as caught:
        run(twice(torch.float32), Broken())
    assert type(caught.value.__cause__) is RuntimeError


def test_memory_of_another_device_is_refused(twice):
    class Elsewhere(Lender):
        def __dlpack_device__(self):
            return 2, 0

    with pytest.raises(crosslatch.Error, match="input `x` is not in the CPU's memory"):
        run(twice(torch.float32), Elsewhere())
    with pytest.raises(crosslatch.Error, match="input `x`"):
        run(twice(torch.float32), torch.empty(2, 3, device="meta"))


@pytest.mark.parametrize("dtype, given, expected", [
    (torch.float32, [[1, 2.5], [3, 4]], [[1, 2.5], [3, 4]]),
    (torch.bfloat16, [[1.0, 2.5]], [[1, 2.5]]),
    (torch.float16, [[1, 2]], [[1, 2]]),
    (torch.float64, ((1, 2), (3, 4)), [[1, 2], [3, 4]]),
    (torch.int64, [[1, -2]], [[1, -2]]),
    (torch.uint8, [[0, 255]], [[0, 255]]),
    (torch.int8, [[-128, 127]], [[-128, 127]]),
    (torch.bool, [[True, False]], [[True, False]]),
    (torch.float32, [[np.float32(0.1), np.float32(2)]], [[np.float32(0.1), 2]]),
    (torch.int32, [[np.int64(7)]], [[7]]),
], ids=str)
def test_lists_of_numbers_become_what_the_program_takes(twice, dtype, given, expected):
    out = run(twice(dtype), given)
    assert out.dtype.name == name(dtype)
    np.testing.assert_array_equal(out.astype(np.float64), np.array(expected * 2, np.float64))


@pytest.mark.parametrize("dtype, given, message", [
    (torch.int64, [[1.0]], "is made of Python's floats, the program takes i64"),
    (torch.int64, [[True]], "is made of Python's truth values, the program takes i64"),
    (torch.float32, [[True]], "is made of Python's truth values, the program takes f32"),
    (torch.bool, [[1]], "is made of Python's integers, the program takes bool"),
    (torch.uint8, [[1, 256]], "has 256, which does not fit u8"),
    (torch.uint8, [[-1]], "has -1, which does not fit u8"),
    (torch.float16, [[1e6]], "has 1000000, which does not fit f16"),
    (torch.float16, [[70000]], "has 70000, which does not fit f16"),
    (torch.int64, [[1 << 63]], "uint64, which the engine does not have"),
    (torch.int64, [[1 << 70]], "object, which the engine does not have"),
    (torch.int64, [[1], [2, 3]], "is no regular list of numbers"),
    (torch.int64, [["a"]], "which the engine does not have"),
    (torch.int64, "a", "is a str; give a NumPy array"),
    (torch.int64, None, "is a NoneType; give a NumPy array"),
    (torch.int64, np.zeros((1, 1), np.uint64), "uint64, which the engine does not have"),
    (torch.int64, torch.zeros(1, 1, dtype=torch.complex64), r"is c64\[1, 1\], the program takes i64"),
    (torch.float32, [[1j]], "is made of Python's complex numbers, the program takes f32"),
    (torch.int64, np.zeros((1, 1), np.float64), r"is f64\[1, 1\], the program takes i64"),
    (torch.float32, np.zeros((1, 1), np.int64), r"is i64\[1, 1\], the program takes f32"),
    (torch.float32, np.zeros(3, np.float32), r"is f32\[3\], the program takes f32"),
], ids=str)
def test_what_is_no_tensor_of_the_right_type_is_refused(twice, dtype, given, message):
    with pytest.raises(crosslatch.Error, match=f"method `model`: input `x` .*{message}"):
        run(twice(dtype), given)


NO_ML_DTYPES = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, torch, crosslatch
session = crosslatch.load(sys.argv[1]).session()
x = torch.tensor([[1.5, -3.0e38, 1e-40]], dtype=torch.bfloat16)
(out,) = session.run("model", {"x": x}).values()
assert out.dtype == np.float32
assert (out == torch.cat([x, x]).float().numpy()).all()
"""


def test_without_ml_dtypes_bfloat16_comes_out_as_float32(twice):
    path = twice(torch.bfloat16).path
    done = subprocess.run([sys.executable, "-c", NO_ML_DTYPES, path], capture_output=True, text=True,
                          cwd=ROOT / "python")
    assert done.returncode == 0, done.stderr
