"""The layout of a value, and whether the cache operator can write it directly.

`update_cross_attn_cache` writes the third of four axes.  A value of that form can have any strides; any
other value is written under another shape, for which it must be contiguous.
"""

from torch.fx.experimental.symbolic_shapes import statically_known_true


def varying_axes(value):
    return [axis for axis, size in enumerate(value.shape) if not isinstance(size, int)]


def is_plain(value):
    """Whether the operator takes the value under its own shape."""
    return value.dim() == 4 and varying_axes(value) in ([], [2])


def is_contiguous(value):
    """Whether a value is contiguous for all sizes; the tensor itself knows only the example's."""
    expected = 1
    for size, stride in reversed(list(zip(value.shape, value.stride()))):
        if not statically_known_true(size == 1):
            if not statically_known_true(stride == expected):
                return False
            expected = expected * size
    return True


def needs_copy(value):
    """Whether the value must be copied before it can be written."""
    return not is_plain(value) and not is_contiguous(value)
