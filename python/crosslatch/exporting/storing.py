"""The types that weights are stored in.

Models are published in 16 bits and computed with in `f32`.  A program traced in `f32` has its weights in
`f32`, so it would be twice as large as the checkpoint.  Here its weights get 16 bits again, where that
loses nothing or where the caller asks for it, and the program converts each before it is read.  That is
an ordinary program for PyTorch, which converts at every run; the engine removes the conversions and
widens what it loads (`passes/halves.rs`).

Which type a checkpoint is in follows from its numbers: no weights that were trained in `f32` are all
values of a shorter type.
"""

import torch
from torch.export.graph_signature import InputKind

from ..latching.calls import call
from .archive import state_of
from .refused import Refused

TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
SAMPLE = 1000  # elements that usually show that a type loses something
NOT_STORED = ("{0} is not a type that weights are stored in: it is made of any other when the file is "
              "opened, with precision {0}")


def check_type(store):
    """Raises `ValueError` unless `store` names a type, or is None."""
    if store in ("int8", "int4"):
        raise ValueError(NOT_STORED.format(store))
    if store is not None and store not in TYPES:
        raise ValueError(f"no type {store!r} to store weights in; there are {', '.join(TYPES)}")


def is_wide(model):
    """Whether all that the model computes with is `f32` or no float."""
    tensors = [*model.parameters(), *model.buffers()]
    return all(t.dtype == torch.float32 for t in tensors if t.is_floating_point())


def holds_weights(model, half):
    """Whether all weights are values of the type."""
    weights = model.state_dict(keep_vars=True).values()
    return all(loses_nothing(w, half) for w in weights if w.dtype == torch.float32)


@torch.no_grad()
def rounded(model, store):
    """Rounds the model's weights to the type, so that it computes what the file will hold."""
    half = TYPES[store]
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.dtype == torch.float32:
            narrow = tensor.to(half)
            if not torch.equal(narrow.isfinite(), tensor.isfinite()):
                raise Refused(f"{name} has numbers that {store} does not; store bf16 or f32")
            tensor.copy_(narrow)
    return model


def own_type(model):
    """The type of 16 bits that holds most of the model's weights as they are, or None.

    Many numbers in bf16 are values of f16 too, but not the other way round.
    """
    weights = list(model.parameters())
    held = {half: sum(w.numel() for w in weights if loses_nothing(w, half))
            for half in (torch.bfloat16, torch.float16)}
    best = max(held, key=held.get)
    return best if 2 * held[best] > sum(weight.numel() for weight in weights) else None


@torch.no_grad()
def loses_nothing(tensor, half):
    """Whether every element of an `f32` tensor is a value of the type."""
    if tensor.dtype != torch.float32:
        return False
    some = tensor.flatten()[:SAMPLE]
    return torch.equal(some.to(half).float(), some) and torch.equal(tensor.to(half).float(), tensor)


class Storing:
    """Gives weights of several programs 16 bits; what the programs share stays shared."""

    def __init__(self, half):
        self.half = half
        self.narrow = {}

    def __call__(self, program):
        """Changes the program, in which all weights are `f32`, and returns it."""
        if self.half is None:
            return program
        graph, state = program.graph, state_of(program)
        first_call = next(n for n in graph.nodes if n.op != "placeholder")
        placeholders = {n.name: n for n in graph.nodes if n.op == "placeholder"}
        for spec in program.graph_signature.input_specs:
            is_weight = spec.kind == InputKind.PARAMETER \
                or spec.kind == InputKind.BUFFER and spec.persistent and spec.target not in state
            if is_weight and (narrow := self._narrow(program.state_dict[spec.target])) is not None:
                program.state_dict[spec.target] = narrow
                self._convert(graph, placeholders[spec.arg.name], first_call)
        program.graph_module.recompile()
        return program

    def _narrow(self, tensor):
        """The tensor in 16 bits, or None if that loses something."""
        key = tensor.data_ptr(), tensor.shape, tensor.stride()
        if key not in self.narrow:
            narrow = tensor.detach().to(self.half) if loses_nothing(tensor, self.half) else None
            if narrow is not None and isinstance(tensor, torch.nn.Parameter):
                narrow = torch.nn.Parameter(narrow, requires_grad=tensor.requires_grad)
            self.narrow[key] = narrow
        return self.narrow[key]

    def _convert(self, graph, weight, before):
        """Has the readers of a weight read it converted to `f32`."""
        with weight.meta["val"].fake_mode:
            weight.meta["val"] = weight.meta["val"].to(self.half)
        if weight.users:
            with graph.inserting_before(before):
                wide = call(graph, torch.ops.aten._to_copy.default, weight, dtype=torch.float32)
            weight.replace_all_uses_with(wide, delete_user_cb=lambda user: user is not wide)
