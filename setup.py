"""Builds the two native libraries into the package.

The engine is an extension module for the stable interface of CPython 3.10 and later; the operators
for PyTorch are a plain shared object, which links neither Python nor torch.  So one wheel serves
every Python, and building it takes a Rust toolchain only.
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


# What cargo calls a library, and its name in the package.
LIBRARIES = {
    "crosslatch_python": "_engine.abi3.so",
    "crosslatch_torch": f"libcrosslatch_torch.{'dylib' if sys.platform == 'darwin' else 'so'}",
}


def built_libraries():
    """Builds the libraries and returns where cargo put each."""
    options = []
    for library in LIBRARIES:
        package = library.replace("_", "-")
        options += ["--package", package,
                    "--config", f"profile.release.package.{package}.strip='symbols'"]
    done = subprocess.run(["cargo", "build", "--release", "--lib", *options,
                           "--message-format", "json-render-diagnostics"],
                          cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, done.stdout.splitlines())
    return {message["target"]["name"]: Path(file)
            for message in messages if message["reason"] == "compiler-artifact"
            for file in message["filenames"] if Path(file).suffix in (".so", ".dylib")}


class Build(build_py):
    def run(self):
        super().run()
        built = built_libraries()
        # An editable install uses the working tree, where the libraries are found by themselves.
        if not self.editable_mode:
            for library, name in LIBRARIES.items():
                shutil.copy2(built[library], Path(self.build_lib) / "crosslatch" / name)


class Wheel(bdist_wheel):
    def get_tag(self):
        _, _, platform = super().get_tag()
        return "cp310", "abi3", platform


class Native(Distribution):
    def has_ext_modules(self):
        return True


if sys.platform == "win32":
    sys.exit("Crosslatch for Python is built for Linux and macOS only")
setup(distclass=Native, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
