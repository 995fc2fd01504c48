"""Calls with odd values, of every elementwise operator, reduction and softmax that the engine has.

PyTorch's sample inputs avoid the values that a formula gets wrong first: NaN, infinities, zeros of either
sign, numbers near the ends of a type, large exponents.  Here every operator in the tables of the
engine's families is called with all of them, with all pairs of them if it takes two tensors, and with
odd numbers if it takes numbers; the schema in the table lists its operands.

PyTorch itself does not always give one answer: its vector code and the loop over the remaining elements
may use different formulas.  Such a result comes with an alternative, computed element by element, and
either is right.
"""

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from operators.samples import Call, make_call

OPS = Path(__file__).resolve().parents[3] / "crates" / "crosslatch" / "src" / "ops"
#: A family is a file of operators.
FILES = [file for folder in ("elements", "reduce", "rows") for file in sorted((OPS / folder).glob("*.rs"))
         if file.stem not in ("batch_norm", "complex", "distances", "histogram", "normalization", "sort",
                              "weight_norm")]
ELEMENTWISE = {file.stem for file in FILES if file.parent.name == "elements"}

INF, NAN = float("inf"), float("nan")
NUMBERS = (0, 1, -1, 3, 300, -300, 2**40, True, 0.0, -0.0, 0.1, 2.5, -1.5, 1e30, INF, -INF, NAN)
OPTIONS = {"approximate": ("none", "tanh"), "rounding_mode": (None, "floor", "trunc"),
           "alpha": (1, 3, -2, 2.7), "value": NUMBERS, "decimals": (2, -1), "correction": (0, 1),
           "eps": (None, 0.1, 0.6), "equal_nan": (False, True), "beta": (1, 0.5),
           "min": (None, *NUMBERS), "max": (None, *NUMBERS), "min_val": (-1, 0, -300, -1.5),
           "max_val": (1, 300, 2.5), "negative_slope": (0.01, NAN, INF), "lambd": (0.5, 0, NAN),
           "nan": (None, 2.5), "posinf": (None, 1e30), "neginf": (None, 0.0)}
"""Values for arguments that have a default but are worth another one."""

MOST = 12
"""Combinations of other arguments for one shape of operands."""

# Values of an argument without a default, by its type.
REQUIRED = {"number": NUMBERS, "int": (-1,), "List[int]": ((-1,),), "bool": (False,),
            "Optional[number]": (2, 0, 3.5, INF, -INF), "Optional[List[int]]": ((-1,),),
            "Optional[str]": (None,), "ScalarType": (), "Device": ()}


def values(dtype: torch.dtype) -> torch.Tensor:
    """Odd values of a type, and some usual ones."""
    if dtype == torch.bool:
        return torch.tensor([True, False])
    if not dtype.is_floating_point:
        ends = torch.iinfo(dtype)
        chosen = {0, 1, 2, 3, 7, 10, 44, 63, 64, 100, ends.min, ends.min + 1, ends.max - 1, ends.max}
        if ends.min < 0:
            chosen |= {-1, -2, -3, -7, -10, -64, -100}
        return torch.tensor(sorted(chosen), dtype=dtype)
    ends = torch.finfo(dtype)
    sizes = [0.0, ends.smallest_normal, ends.smallest_normal * ends.eps, ends.eps, 1e-3, 0.1, 0.5,
             0.9375, 1.0, 1.0 + ends.eps, 1.5, 2.0, 2.5, 3.0, 7.25, 20.5, 40.0, 88.5, 104.0, 250.0,
             709.0, 3.0e4, 2.0**24 + 2, 3.0e9, 1e10, ends.max**0.5, ends.max / 2, ends.max, INF]
    numbers = torch.tensor([NAN, *sizes, *(-x for x in sizes)], dtype=torch.float64)
    return numbers.to(dtype)


def operators() -> Iterator[tuple[str, torch._ops.OpOverload]]:
    """Family and operator, for each row of the tables that PyTorch has an operator for."""
    for file in FILES:
        for name in re.findall(r'"aten::([a-zA-Z0-9_.]+)\(', file.read_text()):
            base, _, overload = name.partition(".")
            packet = getattr(torch.ops.aten, base)
            yield file.stem, getattr(packet, overload or "default")


def calls(family: str, op: torch._ops.OpOverload, dtype: torch.dtype) -> Iterator[Call]:
    """The calls of an operator with odd values of a type."""
    arguments = op._schema.arguments
    tensors = [a for a in arguments if str(a.type) in ("Tensor", "Optional[Tensor]")
               and (not a.has_default_value() or family == "select")]
    odd = values(dtype)
    if family == "division" or op._schema.name == "aten::gcd":
        # The smallest integer divided by -1 ends PyTorch's process.
        odd = odd[odd != torch.iinfo(dtype).min] if is_signed_integer(dtype) else odd
    for shape in shapes(family, len(tensors), odd):
        given = dict(zip((a.name for a in tensors), shape, strict=True))
        if "condition" in given:
            given["condition"] = given["condition"] > 0
        if "mask" in given:
            given["mask"] = given["mask"] > 0
        for others in choices([a for a in arguments if a.name not in given], dtype):
            yield make_call(op, (), {**given, **others})


def is_signed_integer(dtype: torch.dtype) -> bool:
    """Whether elements are integers that may be negative."""
    return not dtype.is_floating_point and dtype not in (torch.uint8, torch.bool)


def shapes(family: str, count: int, odd: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Operands: long enough for vectors and a remainder, transposed, one element, none."""
    if family not in ELEMENTWISE:
        yield from ([x] for x in lines(odd))
        return
    if count == 1:
        yield [odd.repeat(3)]
        yield [odd.repeat(2).reshape(-1, 2).t()]
        yield [odd[:1]]
        yield [odd[-1]]
        yield [odd[:0]]
        return
    generator = torch.Generator().manual_seed(0)
    some = odd if count == 2 else odd[torch.randperm(len(odd), generator=generator)[:12]]
    grids = torch.meshgrid(*[some] * count, indexing="ij")
    yield [g.flatten() for g in grids]
    few = some[:: 2 + len(some) // 12]
    yield [few.reshape([-1 if i == d else 1 for i in range(count)]) for d in range(count)]
    yield [some, *(some[len(some) // (d + 2)] for d in range(count - 1))]
    yield [some[:1], *[some[1:2]] * (count - 1)]


def lines(odd: torch.Tensor) -> Iterator[torch.Tensor]:
    """Values to reduce: usual ones with one or two odd ones among them, and only odd ones."""
    usual = torch.arange(37).remainder(3).to(odd.dtype)
    pairs = list(itertools.product(odd, odd[:: max(1, len(odd) // 4)]))
    table = usual.repeat(len(pairs), 1)
    table[:, 5], table[:, -1] = (torch.stack(column) for column in zip(*pairs, strict=True))
    yield table
    yield table.t().contiguous().t()
    yield from table[:: max(1, len(table) // 6)]
    yield torch.stack([odd, odd.flip(0), odd.roll(7)]).t()
    yield odd[:1].repeat(70)
    yield odd[:1]


def choices(arguments: list, dtype: torch.dtype) -> Iterator[dict]:
    """Combinations of values for the other arguments."""
    offered = []
    for argument in arguments:
        kind = str(argument.type)
        if argument.name in OPTIONS and kind != "Tensor":
            offered.append([(argument.name, x) for x in OPTIONS[argument.name]])
        elif argument.name == "dtype" and not argument.has_default_value():
            offered.append([("dtype", d) for d in (torch.int64, torch.uint8, torch.float32,
                                                   torch.bfloat16)])
        elif not argument.has_default_value():
            offered.append([(argument.name, x) for x in REQUIRED.get(kind, ())])
    combinations = list(itertools.product(*offered))
    some = random.Random(0).sample(combinations, min(len(combinations), MOST))
    for combination in some:
        yield dict(combination)


def one_by_one(call: Call) -> tuple[torch.Tensor, ...] | None:
    """The results of an elementwise call for each element alone; none if that has no meaning."""
    shape = torch.broadcast_shapes(*[t.shape for t in call.tensors])
    flat = [t.broadcast_to(shape).flatten() for t in call.tensors]
    if not flat or not flat[0].numel():
        return None
    results = [call(*[t[i].clone() for t in flat]) for i in range(flat[0].numel())]
    columns = zip(*results, strict=True)
    return tuple(torch.stack(column).reshape(shape) for column in columns)


def in_double(asked) -> tuple[torch.Tensor, ...] | None:
    """The result of a call in double precision, rounded at the end; none for doubles and integers."""
    if not all(t.is_floating_point() for t in asked.call.tensors):
        return None
    results = asked.call(*[t.double() for t in asked.call.tensors])
    return tuple(r.to(e.dtype) for r, e in zip(results, asked.expected, strict=True))
