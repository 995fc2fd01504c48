"""Finds the native parts.

There are three: the engine, a Python extension module; the operators for PyTorch, a plain shared object;
and the command, a binary.  In an installed package the libraries lie next to its modules and the command
beside Python's scripts.  In a working tree they are where cargo put them, under cargo's names;
`serve_tree` lets Python find the engine there.
"""

import importlib.util
import os
import sys
import sysconfig
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TREE = PACKAGE.parent.parent
ENGINE = f"{__package__}._engine"


def in_tree() -> bool:
    return (TREE / "crates").is_dir()


def builds() -> list[Path]:
    """Where cargo puts what it builds, in a working tree."""
    if not in_tree():
        return []
    folders = [os.environ.get("CROSSLATCH_TARGET"), TREE / "target" / "release"]
    return [Path(folder) for folder in folders if folder]


def command() -> Path:
    """The path of the command; `FileNotFoundError` with the places that were searched if there is
    none."""
    # Beside the scripts of this Python, of the user, or of `pip install --target`.
    user = sysconfig.get_path("scripts", f"{os.name}_user")
    places = [*builds(), Path(sysconfig.get_path("scripts")), Path(user), PACKAGE.parent / "bin"]
    for place in places:
        if (place / "crosslatch").is_file():
            return place / "crosslatch"
    searched = ", ".join(map(str, places))
    raise FileNotFoundError(f"the command `crosslatch` is not in {searched}; `pip install crosslatch` "
                            "installs it, and in a working tree `cargo build --release` makes it")


def find(crate: str) -> Path:
    """The path of a crate's library; `ImportError` with the places that were searched if there is
    none."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    file = f"lib{crate.replace('-', '_')}.{suffix}"
    places = [*builds(), PACKAGE]
    for place in places:
        if (place / file).is_file():
            return place / file
    searched = ", ".join(map(str, places))
    raise ImportError(f"{file} is not in {searched}; in a working tree, "
                      f"`cargo build --release -p {crate}` makes it")


class TreeFinder:
    """Finds the engine where cargo put it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != ENGINE:
            return None
        file = str(find("crosslatch-python"))
        return importlib.util.spec_from_file_location(
            name, file, loader=ExtensionFileLoader(name, file))


def serve_tree() -> None:
    """In a working tree, makes the engine importable."""
    if in_tree() and TreeFinder not in sys.meta_path:
        sys.meta_path.append(TreeFinder)
