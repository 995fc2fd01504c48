"""The tensors of several programs in one archive: each storage once, and no zeros.

An archive lists the tensors of each program, and names for each the entry with its bytes.  PyTorch
writes the entries program by program, so that an encoder whose weights belong to the decoder's program
too is there twice, and so is whatever the two share.  It also writes the caches, which are zeros and may
be larger than all weights.  Nothing in the format asks for that:

* entries belong to the archive, so the lists of two programs may name the same one;
* an empty entry stands for zeros of the shape that the list gives, for PyTorch as for the engine.  Each
  such tensor has an entry of its own: PyTorch gives tensors of one entry the same memory.
"""

from dataclasses import dataclass

import torch
from torch._export.serde import schema
from torch._export.serde.serialize import serialize_tensor_meta


@dataclass
class Extent:
    """The bytes of a storage that some tensor uses, and the entry that holds them."""

    start: int
    end: int
    entry: str = ""


class Payloads:
    """The entries of one folder of an archive."""

    def __init__(self, writer, folder, prefix, tensors):
        """`tensors` are all that the programs have here; what they use of a storage is written."""
        self.writer, self.folder, self.prefix = writer, folder, prefix
        self.count = 0
        self.extents = {}
        for tensor in tensors:
            start, end = used(tensor)
            extent = self.extents.setdefault(storage_key(tensor), Extent(start, end))
            extent.start, extent.end = min(extent.start, start), max(extent.end, end)

    def listed(self, tensors, zeros):
        """{name: tensor} as the archive lists them; those named in `zeros` are only described."""
        return schema.PayloadConfig(config={
            name: self._described(tensor) if name in zeros else self._stored(tensor)
            for name, tensor in tensors.items()})

    def _described(self, tensor):
        return listed(self._entry(b"", 0), tensor, serialize_tensor_meta(tensor))

    def _stored(self, tensor):
        extent = self.extents[storage_key(tensor)]
        if not extent.entry:
            part = tensor.untyped_storage()[extent.start:extent.end]
            extent.entry = self._entry(part, extent.end - extent.start)
        meta = serialize_tensor_meta(tensor)
        offset = tensor.storage_offset() - extent.start // tensor.element_size()
        meta.storage_offset = schema.SymInt.create(as_int=offset)
        return listed(extent.entry, tensor, meta)

    def _entry(self, data, size):
        """Writes an entry; returns its name."""
        name = f"{self.prefix}{self.count}"
        self.count += 1
        self.writer.archive_file.write_record(f"{self.folder}{name}", data if size else b"", size)
        return name


def listed(entry, tensor, meta):
    return schema.PayloadMeta(path_name=entry, is_param=isinstance(tensor, torch.nn.Parameter),
                              use_pickle=False, tensor_meta=meta)


def storage_key(tensor):
    return tensor.untyped_storage().data_ptr(), tensor.dtype


def used(tensor):
    """The first byte of a storage that a tensor uses, and the one behind the last."""
    size = tensor.element_size()
    first = tensor.storage_offset()
    if tensor.numel() == 0:
        return first * size, first * size
    steps = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride()))
    return first * size, (first + steps + 1) * size


def starts_as_zeros(tensor):
    """Whether an empty entry can stand for a buffer: it is all zeros and lies alone in its storage."""
    alone = tensor.is_contiguous() and used(tensor) == (0, tensor.untyped_storage().nbytes())
    return alone and tensor.numel() > 0 and not tensor.any()
