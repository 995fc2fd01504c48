"""Which values may be one memory: the proof that a copy is not needed.

The rule is that of the engine's planner (docs/internals/effects.md): values may share memory if none is
written while the contents of another are still to be read.  All values start apart.  Each copy of the
program proposes to bring its two sides together, and the proposal is checked for everything that would
then share the memory.  If it holds, the copy is dropped: its readers read the source, and the write to a
buffer at the end of the program is gone because the kernel wrote there in the first place.  If it does
not hold, the copy stays and the report says what stood against it.

Beyond that, memory that outlives a call is treated with care:

- a caller may keep an output, so no output is memory of a buffer or an input;
- an input or a constant is not written, unless the program says that it changes the input;
- a kernel is not given an operand's memory for its result, except those that copy that operand first.
"""

from dataclasses import dataclass

import torch

from .values import Flow, leaves


@dataclass
class Kept:
    """A copy that stays."""

    name: str
    bytes: int
    where: str
    reason: str


@dataclass
class Dropped:
    """A copy that was proved unnecessary."""

    name: str
    bytes: int
    where: str


class Refused(Exception):
    """The reason why two values may not share memory."""


class Sharing:
    """The values of a program, sorted into groups that are one memory each."""

    def __init__(self, flow: Flow, may_move_inputs=True):
        self.flow = flow
        self.may_move_inputs = may_move_inputs
        self.group = {value: [value] for value in flow.values}
        self.dropped, self.kept = [], []
        changed_inputs = set(flow.signature.user_inputs_to_mutate.values())
        self.writable = {value for value in flow.values if value.kind == "result"
                         or (value.kind == "buffer" and flow._is_written(value))
                         or (value.kind == "input" and value.node.target in changed_inputs)}
        for value in flow.values:
            if value.kind == "changed":
                self._join([value, value.base])
        for copies in (self._of("write back"), self._of("part"), self._of("whole")):
            for copy in copies:
                self._propose(copy)

    def _of(self, kind):
        return [copy for copy in self.flow.copies if copy.kind == kind]

    # One copy

    def _propose(self, copy):
        size = copy.value.spec.allocated_memory
        where = "/".join("else" if side else "then" for _, side in copy.path)
        try:
            self._try(copy)
        except Refused as reason:
            self.kept.append((copy, Kept(copy.value.name, size, where, str(reason))))
        else:
            if copy.kind == "part":
                self.dropped.append((copy, Dropped(copy.value.name, size, where)))

    def _try(self, copy):
        if copy in [done for done, _ in self.dropped]:
            return
        sources = [leaf for source in copy.source for leaf in leaves(source)]
        self._same_layout(copy, sources)
        attempts = [lambda: self._together(copy, sources, dropping=True),
                    lambda: self._together(copy, sources, dropping=False)]
        if copy.kind == "whole" and len(self.group[copy.value]) == 1:
            # The copy's own memory is used by nothing else: its readers can read the source,
            # whatever memory each branch has.
            attempts.append(lambda: self._read_source(copy, sources))
        first = None
        for attempt in attempts:
            state = self._save()
            try:
                attempt()
                return
            except Refused as reason:
                self._restore(state)
                first = first or reason
        raise first

    def _same_layout(self, copy, sources):
        into = copy.target.spec if copy.kind == "write back" else copy.value.spec
        for source in sources:
            if source.spec.allocated_memory != into.allocated_memory \
                    or source.spec.dtype != into.dtype:
                raise Refused("the two sides differ in size or type")
            if not (_is_plain(source.spec) and _is_plain(into)):
                raise Refused("the two sides differ in layout")

    def _together(self, copy, sources, dropping):
        """Both sides become one memory."""
        self._join([copy.value, *sources])
        if copy.kind in ("whole", "write back"):
            self._drop(copy)
        group = self.group[copy.value]
        if dropping:
            for other in self.flow.copies:
                if other.kind == "whole" and other.value in group and not self._is_dropped(other) \
                        and all(leaf in group for source in other.source for leaf in leaves(source)):
                    self._drop(other)
        self.flow.forget()
        self._check(group)

    def _read_source(self, copy, sources):
        self._drop(copy)
        self.flow.forget()
        for group in {id(self.group[s]): self.group[s] for s in sources}.values():
            self._check(group)

    # Groups

    def _join(self, values):
        members = []
        for value in values:
            members += [m for m in self.group[value] if m not in members]
        for member in members:
            self.group[member] = members

    def _is_dropped(self, copy):
        return any(done is copy for done, _ in self.dropped)

    def _drop(self, copy):
        where = "/".join("else" if side else "then" for _, side in copy.path)
        self.dropped.append((copy, Dropped(copy.value.name, copy.value.spec.allocated_memory, where)))
        for source in copy.source:
            source.copies.append(copy)
        if copy.kind == "whole":
            copy.value.stands_for = copy.source

    def _save(self):
        return dict(self.group), len(self.dropped)

    def _restore(self, state):
        self.group, count = state
        for copy, _ in self.dropped[count:]:
            for source in copy.source:
                source.copies.remove(copy)
            copy.value.stands_for = None
        del self.dropped[count:]
        self.flow.forget()

    # The rule

    def _check(self, group):
        gone = {copy.value for copy, _ in self.dropped if copy.kind != "part"}
        starts = [value for value in group if value.kind in ("input", "buffer", "constant")]
        if len(starts) > 1:
            raise Refused(f"{starts[0].name} and {starts[1].name} are different memory of the caller")
        if starts and (handed := [v for v in group if self.flow.to_caller(v)]):
            raise Refused(f"{handed[0].name} is handed to the caller, who may keep it, and "
                          f"{starts[0].name} may change")
        written = [value for value in group if value.kind in ("result", "changed")
                   and value not in gone]
        if starts and written and starts[0] not in self.writable:
            raise Refused(f"{starts[0].name} is not to be written")
        if starts and starts[0].kind == "input" and len(group) > 1 and written \
                and not self.may_move_inputs:
            raise Refused(f"{starts[0].name} lies in memory of the caller")
        for value in written:
            self._check_write(value, group)

    def _check_write(self, value, group):
        for other in group:
            if other is not value and self.flow.needed(other) >> value.position & 1:
                raise Refused(f"{other.name} is still read after {value.name} is written")
        for operand in self.flow.operands.get(value.position, ()):
            for leaf in leaves(operand):
                if leaf in group and leaf is not value and not self._may_overwrite(value, leaf):
                    raise Refused(f"{value.name} is computed from {leaf.name}")

    def _may_overwrite(self, value, operand):
        """Whether a kernel may write its result on top of this operand."""
        if value.kind == "changed":
            return value.base is operand or value.node.target is torch.ops.aten.copy_.default
        copy = next((c for c in self.flow.copies if c.value is value), None)
        if copy is None:
            return False
        if copy.kind == "whole":
            return True
        return any(operand in leaves(source) for source in copy.source) \
            and not self._is_part(copy, operand)

    def _is_part(self, copy, operand):
        """Whether the replaced part is read from the same memory."""
        part = copy.node.args[1]
        return any(leaf is operand or leaf in self.group[operand]
                   for value in self.flow.origins.get(part, ()) if value is not None
                   for leaf in leaves(value))

    def groups(self):
        """The groups, each once."""
        return list({id(members): members for members in self.group.values()}.values())


def _is_plain(spec):
    return list(spec.dim_order) == sorted(spec.dim_order)
