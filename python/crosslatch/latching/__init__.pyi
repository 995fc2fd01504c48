from collections.abc import Sequence

from torch.export import ExportedProgram

class LatchedValue:
    buffer: str
    name: str
    module: str
    shape: list[int]
    dtype: str
    bytes: int

class LatchReport:
    values: list[LatchedValue]
    flops_before: int
    flops_saved_per_step: int
    predicate: str
    watched_bytes: int
    left: list[tuple[str, str]]

    @property
    def bytes(self) -> int: ...

def latch(
    exported_program: ExportedProgram,
    inputs: Sequence[str] = ("encoder_hidden_states",),
    position: str | None = None,
) -> ExportedProgram: ...
