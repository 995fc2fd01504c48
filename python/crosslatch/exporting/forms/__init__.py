"""Functions of transformers that decide by a tensor's contents, and forms of them that do not.

A graph cannot branch where Python asks what a tensor contains, nor have sizes that depend on it.  Where
another form of the same function computes the same without asking, it takes the function's place while a
model is traced.  Each idea has a file, which says what it is and lists the functions: a file of
`transformers.models`, and the name in it.  Those in `AROUND` make the form of the function itself, which
they call with other arguments.
"""

import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from . import experts, masks, pictures, windows

FORMS = {**experts.FORMS, **masks.FORMS, **pictures.FORMS, **windows.FORMS}
AROUND = {**masks.AROUND, **windows.AROUND}


@contextmanager
def exportable_forms(model):
    """Has the model use these forms while the context lasts."""
    used = {type(part).__module__ for part in model.modules()}
    with ExitStack() as stack:
        for family, name in [*FORMS, *AROUND]:
            module = f"transformers.models.{family}.modeling_{family}"
            if module in used:
                *owners, last = name.split(".")
                owner = sys.modules[module]
                for part in owners:
                    owner = getattr(owner, part)
                form = FORMS.get((family, name)) or AROUND[family, name](getattr(owner, last))
                stack.enter_context(patch.object(owner, last, form))
        yield
