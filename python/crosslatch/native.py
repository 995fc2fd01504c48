"""Finds the native libraries.

There are two: the engine, a Python extension module, and the operators for PyTorch, a plain shared
object.  In an installed package both lie next to its modules.  In a working tree they are where cargo
put them, under cargo's names; `serve_tree` lets Python find the engine there.
"""

import importlib.util
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TREE = PACKAGE.parent.parent
ENGINE = f"{__package__}._engine"


def in_tree() -> bool:
    return (TREE / "crates").is_dir()


def find(crate: str) -> Path:
    """The path of a crate's library; `ImportError` with the places that were searched if there is
    none."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    file = f"lib{crate.replace('-', '_')}.{suffix}"
    places = [PACKAGE]
    if in_tree():
        builds = [os.environ.get("CROSSLATCH_TARGET"), TREE / "target" / "release"]
        places = [Path(build) for build in builds if build] + places
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
