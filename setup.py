"""Builds the native parts into the package.

The engine is an extension module for the stable interface of CPython 3.10 and later; the operators for
PyTorch are a plain shared object, which links neither Python nor torch; the command `crosslatch` is a
binary beside the scripts.  So one wheel serves every Python, and building it takes a Rust toolchain only.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.install_scripts import install_scripts

ROOT = Path(__file__).resolve().parent
HOSTED = "https://github.com/crosslatch/crosslatch/blob/main/"
#: Pictures are fetched without a page around them.
RAW = "https://raw.githubusercontent.com/crosslatch/crosslatch/main/"

# What cargo calls a library, and its name in the package.
LIBRARIES = {
    "crosslatch_python": "_engine.abi3.so",
    "crosslatch_torch": f"libcrosslatch_torch.{'dylib' if sys.platform == 'darwin' else 'so'}",
}
COMMAND = "crosslatch"


def built(*options):
    """Runs cargo, and returns {target: the file that cargo made of it}."""
    done = subprocess.run(["cargo", "build", "--release", *options,
                           "--message-format", "json-render-diagnostics"],
                          cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, done.stdout.splitlines())
    return {message["target"]["name"]: Path(message["executable"] or file)
            for message in messages if message["reason"] == "compiler-artifact"
            for file in message["filenames"]
            if message["executable"] or Path(file).suffix in (".so", ".dylib")}


def built_libraries():
    """Builds the libraries and returns where cargo put each."""
    options = []
    for library in LIBRARIES:
        package = library.replace("_", "-")
        options += ["--package", package,
                    "--config", f"profile.release.package.{package}.strip='symbols'"]
    return built("--lib", *options)


def built_command():
    """Builds the command, with its server, and returns where cargo put it."""
    return built("--package", "crosslatch-cli", "--bin", COMMAND, "--features", "serve",
                 "--config", "profile.release.package.crosslatch-cli.strip='symbols'")[COMMAND]


def description():
    """README.md for a reader who has no repository around it: with absolute links."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!--.*?-->\n", "", text)

    def absolute(link):
        picture, words, target = link.groups()
        hosted = RAW if picture else HOSTED
        return f"{picture}[{words}]({target if '://' in target else hosted + target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, text)


class Build(build_py):
    def run(self):
        super().run()
        libraries = built_libraries()
        # An editable install uses the working tree, where the libraries are found by themselves.
        if not self.editable_mode:
            for library, name in LIBRARIES.items():
                shutil.copy2(libraries[library], Path(self.build_lib) / "crosslatch" / name)


class Scripts(install_scripts):
    def run(self):
        super().run()
        folder = Path(self.install_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.outfiles.append(str(shutil.copy2(built_command(), folder / COMMAND)))


class Wheel(bdist_wheel):
    def get_tag(self):
        _, _, platform = super().get_tag()
        return "cp310", "abi3", platform


class Native(Distribution):
    def has_ext_modules(self):
        return True


if sys.platform == "win32":
    sys.exit("Crosslatch for Python is built for Linux and macOS only")
setup(distclass=Native, long_description=description(),
      long_description_content_type="text/markdown",
      cmdclass={"build_py": Build, "bdist_wheel": Wheel, "install_scripts": Scripts})
