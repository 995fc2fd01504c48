"""The buffer of a kept value, in the form that the cache operator writes."""

import math

import torch

from .calls import call, module_of
from .layouts import is_contiguous, is_plain, varying_axes
from .report import LatchedValue

aten, executorch = torch.ops.aten, torch.ops.executorch


class Buffer:
    """The buffer of a kept value, and the layout of the value in it.

    The operator writes the third of four axes.  Values with four axes that vary in the third or
    not at all are stored as they are; of others, the axes before the varying one become one axis,
    and so do the axes after it.
    """

    def __init__(self, node, name, sizes):
        self.node, self.name = node, name
        value = node.meta["val"]
        axes, self.largest = varying_axes(value), [sizes.largest(s) for s in value.shape]
        self.axis = axes[0] if axes else None
        self.plain = is_plain(value)
        if self.plain:
            self.shape = self.largest
        else:
            split = self.axis if axes else value.dim()
            self.shape = [1, math.prod(self.largest[:split]),
                          self.largest[split] if axes else 1, math.prod(self.largest[split + 1:])]

    @property
    def bytes(self):
        return math.prod(self.shape) * self.node.meta["val"].element_size()

    def described(self):
        return LatchedValue(
            buffer=self.name, name=self.node.name, module=module_of(self.node),
            shape=list(self.largest), bytes=self.bytes,
            dtype=str(self.node.meta["val"].dtype).removeprefix("torch."))

    def write(self, graph, value, length, cache):
        """In the branch: `value`, of `length` along its varying axis, into `cache`."""
        if value.target is aten.clone.default and self.plain:
            value = value.args[0]  # the write changes the layout anyway
        if not self.plain:
            shape = [*self.shape[:2], length if self.axis is not None else 1, self.shape[3]]
            if not is_contiguous(value.meta["val"]):
                value = call(graph, aten.clone.default, value,
                             memory_format=torch.contiguous_format)
            value = call(graph, aten.view.default, value, shape)
        return call(graph, executorch.update_cross_attn_cache.default, value, cache)

    def read(self, graph, cache, length):
        """After the cond: the value, a view of the cache."""
        if not self.plain:  # reshape the whole first: a slice of unknown length may not have that view
            cache = call(graph, aten.view.default, cache, self.largest)
        if self.axis is not None:
            cache = call(graph, aten.slice.Tensor, cache, self.axis, 0, length)
            # The tracer says min(length, largest); the range of the length makes that the length.
            meta, size = cache.meta["val"], list(self.largest)
            with meta.fake_mode:
                size[self.axis] = self.node.meta["val"].shape[self.axis]
                cache.meta["val"] = meta.as_strided(size, meta.stride())
        return cache
