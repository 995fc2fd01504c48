"""Loading the native library: from Python, without it, and where it cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from conftest import ROOT
from crosslatch.torch_operators.library import find

# What a C++ program does: load libtorch, load the library, call through the dispatcher.
WITHOUT_PYTHON = """
import ctypes, sys
torch, ours = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(sys.argv[2])
failure = ours.crosslatch_torch_failure
failure.restype = ctypes.c_char_p
assert failure() is None, failure()

def tensor():
    sizes, strides = (ctypes.c_int64 * 4)(1, 1, 2, 2), (ctypes.c_int64 * 4)(4, 4, 2, 1)
    handle, data = ctypes.c_void_p(), ctypes.c_void_p()
    assert torch.aoti_torch_empty_strided(
        ctypes.c_int64(4), sizes, strides, torch.aoti_torch_dtype_float32(),
        torch.aoti_torch_device_type_cpu(), 0, ctypes.byref(handle)) == 0
    assert torch.aoti_torch_zero_(handle) == 0
    assert torch.aoti_torch_get_data_ptr(handle, ctypes.byref(data)) == 0
    return handle, ctypes.cast(data, ctypes.POINTER(ctypes.c_float))

(value, numbers), (cache, cached) = tensor(), tensor()
numbers[3] = 7
stack = (ctypes.c_uint64 * 2)(value.value, cache.value)
name = b"executorch::update_cross_attn_cache"
assert torch.aoti_torch_call_dispatcher(name, b"", stack) == 0
assert cached[3] == 7 and "torch" not in sys.modules
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "python")})
    return done.returncode, done.stdout, done.stderr


def test_without_torch_the_import_says_what_is_missing():
    code = "import sys; sys.modules['torch'] = None\nimport crosslatch\nimport crosslatch.ops"
    status, _, error = run(code)
    assert status == 1 and "ImportError: crosslatch.ops needs torch 2.10 or later" in error


def test_an_old_torch_is_refused():
    code = "import torch; torch.__version__ = '2.9.1+cpu'\nimport crosslatch.ops"
    status, _, error = run(code)
    assert status == 1 and "needs torch 2.10 or later, not 2.9.1" in error


def test_without_libtorch_the_library_says_so():
    code = (f"import ctypes; library = ctypes.CDLL({str(find())!r})\n"
            "failure = library.crosslatch_torch_failure; failure.restype = ctypes.c_char_p\n"
            "print(failure().decode())")
    status, out, error = run(code)
    assert status == 0 and "no libtorch is loaded" in out, error


def test_as_a_plain_shared_object():
    code = (f"import torch; torch.ops.load_library({str(find())!r})\n"
            "c = torch.zeros(1, 2, 6, 4)\n"
            "with torch.no_grad():\n"
            "    r = torch.ops.executorch.update_cross_attn_cache(torch.ones(1, 2, 3, 4), c)\n"
            "    assert r is c and c.sum() == 24\n"
            "    assert torch.ops.executorch.alias(c, r)[1] is c")
    status, _, error = run(code)
    assert status == 0, error


def test_without_python():
    libtorch = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTHON, libtorch, find()],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_loaded_program_writes_its_own_memory_only(tmp_path):
    """A flag is one byte, and Python shares the objects of one byte among all who have them."""
    class Flag(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("filled", torch.zeros((), dtype=torch.bool))

        def forward(self, x):
            was = self.filled.clone()
            self.filled.fill_(True)
            return x, was

    path = str(tmp_path / "program.pt2")
    torch.export.save(torch.export.export(Flag(), (torch.ones(1),)), path)
    program = torch.export.load(path).module()
    assert [bool(program(torch.ones(1))[1]) for _ in range(2)] == [False, True]
    assert bytes([0])[0] == 0 and bytes(bytearray(1))[0] == 0
