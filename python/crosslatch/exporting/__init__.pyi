from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from ..latching import LatchReport
from .refused import Refused as Refused

class Exported:
    path: Path
    files: list[str]
    latched: LatchReport

def export(
    model_or_path: nn.Module | str | PathLike[str],
    path: str | PathLike[str],
    *,
    batch: int = 1,
    max_tokens: int | None = None,
    max_source: int | None = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    say: Callable[[str], object] = ...,
) -> Exported: ...
