"""Answers the check for results of custom operators that share memory with operands.

`torch.compile` watches the first run of each graph that it did not lower itself.  If an operator returns
memory of an operand and its schema does not say so, the check warns, or raises where the environment
variable `CI` is set (`torch._functorch.config.error_on_custom_op_aliasing`).  The check exists because
the compiler would not see later writes to such a result.  For these operators it does see them
(`functionalization`), so they run without it.
"""

from . import imports
from .library import SCHEMAS, registrations

MODULE = "torch._functorch._aot_autograd.runtime_wrappers"


def register():
    imports.around(MODULE, after=_register)


def _register():
    from torch._functorch._aot_autograd import runtime_wrappers
    check = getattr(runtime_wrappers, "_AnalyzeCustomOpInputOutputMode", None)
    if check is not None:
        for name in SCHEMAS:
            registrations._register_torch_dispatch_rule(name, check, run)


def run(mode, operator, types, args, kwargs):
    return operator(*args, **kwargs)
