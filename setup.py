"""Builds the native library of `crosslatch.ops` into the package.

The library is a plain shared object that PyTorch loads, not a Python module: it links neither
Python nor torch.  So one wheel serves every Python, and building it takes a Rust toolchain only.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def built_library():
    """Builds the library and returns where cargo put it."""
    done = subprocess.run(["cargo", "build", "--release", "--package", "crosslatch-torch", "--lib",
                           "--message-format", "json-render-diagnostics"],
                          cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, done.stdout.splitlines())
    files = [Path(file) for message in messages if message["reason"] == "compiler-artifact"
             and message["target"]["name"] == "crosslatch_torch" for file in message["filenames"]]
    (library,) = [file for file in files if file.suffix in (".so", ".dylib")]
    return library


class Build(build_py):
    def run(self):
        super().run()
        library = built_library()
        # An editable install uses the working tree, where the library is found by itself.
        if not self.editable_mode:
            shutil.copy2(library, Path(self.build_lib) / "crosslatch" / library.name)


class Wheel(bdist_wheel):
    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class Native(Distribution):
    def has_ext_modules(self):
        return True


if sys.platform == "win32":
    sys.exit("the operators for PyTorch are built for Linux and macOS only")
setup(distclass=Native, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
