"""Runs code when a module is imported, without importing it.

The compiler takes long to import, and the neighbour's package may never be there; both matter only once
somebody imports them.
"""

import importlib.abc
import importlib.util
import sys


def around(name, before=lambda: None, after=lambda: None):
    """Calls `before` when the module is about to be executed and `after` when it has been.

    For a module that is imported already, only `after` is called.
    """
    if name in sys.modules:
        after()
    else:
        sys.meta_path.insert(0, _Finder(name, before, after))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name, before, after):
        self.name, self.before, self.after = name, before, after

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        # From here on the module is found as usual.
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            self.before()
            try:
                execute(module)
            finally:
                self.after()

        spec.loader.exec_module = exec_module
        return spec
