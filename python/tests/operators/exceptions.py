"""Where a result may differ from PyTorch's, and why.

Each exception names operators, says for which calls, and gives a reason that holds for all of them.
Nothing else may differ.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from operators.batches import Wanted

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Excepted:
    """Calls whose results are not compared further."""

    operators: tuple[str, ...]
    reason: str
    applies: Callable[[Wanted], bool]
    outputs: tuple[int, ...] = (0,)
    """The results that may differ."""


def base(operator: str) -> str:
    """The name of an operator without namespace, overload and variant."""
    for prefix in ("torch.ops.", "aten.", "nn.functional."):
        operator = operator.removeprefix(prefix)
    return re.split("[./]", operator)[0]


def first_type(asked: Wanted) -> torch.dtype:
    """The element type of a call's first operand."""
    return asked.call.tensors[0].dtype if asked.call.tensors else torch.float32


def is_odd(asked: Wanted) -> bool:
    """Whether a call is one with odd values."""
    return asked.case.startswith("odd-")


EXCEPTIONS = [
    Excepted(("interpolate", "upsample", "upsample_bilinear", "upsample_bicubic2d", "upsample_bilinear2d"),
             "of bytes, PyTorch's vectors use weights of 16 bits",
             lambda asked: first_type(asked) == torch.uint8 and "nearest" not in asked.call.describe()),
    Excepted(("add", "sub", "subtract", "rsub"),
             "with `alpha`, PyTorch's vectors round a sum of 16 bits once and its loop over what is "
             "left rounds the product, too",
             lambda asked: first_type(asked) in HALVES and "alpha=" in asked.call.describe()),
    Excepted(("fmax", "fmin", "maximum", "minimum"),
             "of two zeros of different signs either is the larger: PyTorch gives one or the other, "
             "by element type",
             is_odd),
    Excepted(("sort", "msort", "topk"),
             "among equal elements the order is not determined unless a stable one is asked for",
             lambda asked: "stable=True" not in asked.call.describe(), outputs=(1,)),
    Excepted(("argsort",),
             "among equal elements the order is not determined unless a stable one is asked for",
             lambda asked: "stable=True" not in asked.call.describe()),
    Excepted(("var_mean", "std_mean"),
             "PyTorch's running mean of a line with an infinity is NaN or infinite, by the place "
             "where that stands",
             is_odd, outputs=(1,)),
    Excepted(("var", "std", "var_mean", "std_mean"),
             "squares of doubles near the end of the range overflow here, as those of other types do "
             "not; PyTorch's running variance overflows later",
             lambda asked: is_odd(asked) and first_type(asked) == torch.float64),
    Excepted(("_scaled_dot_product_flash_attention_for_cpu",),
             "PyTorch's kernel takes the scale of doubles as a float",
             lambda asked: first_type(asked) == torch.float64, outputs=(0, 1)),
    Excepted(("signal",),
             "cosines that cancel leave a few units of 1, or nothing",
             lambda asked: True),
    Excepted(("multi_head_attention_forward",),
             "scores in the hundreds are exponents, whose error a result has as a factor",
             lambda asked: True, outputs=(0, 1)),
    Excepted(("prod", "cumprod"),
             "whether a product of very large and very small factors overflows depends on their "
             "order",
             is_odd),
]

# Formulas in which PyTorch loses digits: its error is relative to the operand, as with 1 + tanh u.
CANCELLING = ("gelu", "silu", "mish", "softplus", "log_sigmoid", "logsigmoid", "logit", "elu", "celu",
              "selu")
# Sums, whose errors are relative to what is added.
SUMS = ("sum", "nansum", "mean", "cumsum", "log_softmax", "special_log_softmax", "_log_softmax",
        "logsumexp", "logcumsumexp")
# Functions whose smallest results PyTorch's vectors make 0.
FLUSHED = ("sigmoid", "special_expit", "expit", "erf", "special_erf", "exp", "exp2", "softmax",
           "_softmax", "_safe_softmax", "erfc", "special_erfc")


def reason(asked: Wanted, output: int) -> str | None:
    """Why a result of a call may differ; `None` if it may not."""
    for exception in EXCEPTIONS:
        if (base(asked.operator) in exception.operators and output in exception.outputs
                and exception.applies(asked)):
            return exception.reason
    return None


def size(asked: Wanted, relative: bool) -> torch.Tensor | float:
    """What errors are measured by where results are smaller: those of sums, by what is added."""
    name = base(asked.operator)
    operand = asked.call.tensors[0] if asked.call.tensors else torch.zeros(())
    if name in CANCELLING and operand.shape == asked.expected[0].shape:
        return operand.double().abs().nan_to_num(0.0, 0.0, 0.0).clamp(max=200.0)
    if name in FLUSHED and asked.expected[0].is_floating_point():
        info = torch.finfo(asked.expected[0].dtype)
        return 2 * info.smallest_normal / info.eps
    if name in SUMS and operand.dim() and operand.numel():
        # Lines of a table are reduced along the last dimension.
        lines = operand.double().abs().nan_to_num(0.0, 0.0, 0.0).amax(-1)
        if asked.expected[0].shape == operand.shape:
            return lines.unsqueeze(-1).expand(operand.shape)
        return lines if asked.expected[0].shape == lines.shape else lines.max()
    if name.endswith(("group_norm", "layer_norm", "instance_norm")) and operand.numel() > 1:
        # What is left of elements that are near each other is divided by how near they are.
        spread = operand.double().std().nan_to_num(1.0).clamp(min=1e-300)
        return operand.double().abs().nan_to_num(0.0, 0.0, 0.0).max() / spread
    if "scaled_dot_product" in name:
        # An error of a score, a sum as large as this, is one in an exponent.
        sizes = [t.double().abs().max() for t in asked.call.tensors[:2]]
        return sizes[0] * sizes[1] * operand.shape[-1] ** 0.5
    if not relative and operand.is_floating_point() and operand.numel():
        return operand.double().abs().nan_to_num(0.0, 0.0, 0.0).max()
    return 0.0
