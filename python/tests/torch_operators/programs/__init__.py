"""Small programs with the two operators, each a way to get them wrong.

`program.py` says what a program is.  The others are imported for the programs that they add to
`PROGRAMS`: `straight.py` without a `cond`, `conditional.py` with one, and `copying.py` those in which
something has to be copied before a `cond`.
"""

from . import straight  # noqa: I001  (the order of the programs is that of the tests)
from . import conditional, copying
from .program import PROGRAMS, Module, Plain, Program, Real

__all__ = ["PROGRAMS", "Module", "Plain", "Program", "Real", "conditional", "copying", "straight"]
