"""What `latch` did to a program."""

from dataclasses import dataclass, field


@dataclass
class LatchedValue:
    """One value that is computed once per input."""

    buffer: str      # the name of its buffer in the state dict
    name: str        # its name in the graph
    module: str      # the module that computes it, if the program says so
    shape: list      # at its largest
    dtype: str
    bytes: int


@dataclass
class LatchReport:
    """What `latch` did; the attribute `latch_report` of the program that it returns."""

    values: list = field(default_factory=list)
    flops_before: int = 0             # of a step with one token, for the longest source
    flops_saved_per_step: int = 0
    predicate: str = ""
    watched_bytes: int = 0            # of inputs kept for comparison, where there is no position
    left: list = field(default_factory=list)   # (name, why it is computed at every step)

    @property
    def bytes(self):
        return sum(value.bytes for value in self.values)

    def __str__(self):
        lines = [f"{len(self.values)} values, {self.bytes:,} bytes, computed once per input "
                 f"({self.flops_saved_per_step:,} of {self.flops_before:,} FLOPs saved per step); first step: "
                 f"{self.predicate}"]
        lines += [f"  {v.buffer}: {v.name} {v.dtype}{v.shape} of {v.module or 'the program'}"
                  for v in self.values]
        lines += [f"  computed at every step: {name}: {reason}" for name, reason in self.left]
        return "\n".join(lines)
