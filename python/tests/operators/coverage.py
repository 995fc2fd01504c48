"""Which operators are compared with PyTorch, and how exactly.

Each entry names operators as PyTorch's own test database does (`softmax`, or `div/floor_rounding`
for one variant; a name alone means all its variants).  Operators that draw random numbers and
operators whose result is uninitialised are left out: there is nothing to compare.

Floating-point results may differ from PyTorch's within a tolerance that depends on the element
type; where an operator needs more, the entry says why.  Integers must be equal.
"""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Tolerance:
    """A result passes if |result - expected| <= absolute + relative * |expected|."""

    relative: float
    absolute: float


TOLERANCES = {
    torch.float64: Tolerance(1e-7, 1e-7),
    torch.float32: Tolerance(1e-4, 1e-5),
    torch.float16: Tolerance(2e-3, 1e-3),
    torch.bfloat16: Tolerance(1.6e-2, 1e-3),
}

FLOATS = (torch.float32,)
INTEGERS = (torch.int64, torch.int32, torch.uint8, torch.bool)
HALVES = (torch.float16, torch.bfloat16)
WIDE = (torch.float32, torch.float64)
COMPLEX_TYPES = (torch.complex64, torch.complex128)


@dataclass(frozen=True)
class Entry:
    """An operator to compare."""

    name: str
    dtypes: tuple[torch.dtype, ...] = FLOATS + INTEGERS
    tolerance: Tolerance | None = None
    """Instead of the element type's; for results in float32."""
    free: frozenset[int] = field(default_factory=frozenset)
    """Outputs that PyTorch does not determine when elements are equal: only shapes are compared
    (for integer inputs, which have equal elements)."""


OF_COMPLEX = frozenset("""
    view_as_real imag real conj conj_physical resolve_conj angle abs add sub mul div neg reciprocal square exp
    log sqrt sum mean eq ne cat clone reshape permute transpose select narrow expand unsqueeze zeros_like
    full_like
""".split())
"""Operators that also take complex numbers."""


def _entries(names: str, dtypes: tuple[torch.dtype, ...] = FLOATS + INTEGERS) -> list[Entry]:
    return [Entry(name, dtypes + COMPLEX_TYPES * (name in OF_COMPLEX)) for name in names.split()]


ENTRIES: list[Entry] = [
    *_entries("""
        nn.functional.linear nn.functional.conv1d nn.functional.embedding
        nn.functional.layer_norm native_layer_norm nn.functional.rms_norm
        nn.functional.scaled_dot_product_attention softmax log_softmax
        nn.functional.gelu nn.functional.silu nn.functional.glu nn.functional.relu
        nn.functional.leaky_relu
        nn.functional.elu nn.functional.hardtanh clamp clamp_min clamp_max
        matmul bmm mm addmm baddbmm einsum outer
        mean sum amax amin max min any all var
        rsqrt sqrt exp log log2 log10 log1p sin cos tanh sigmoid erf
        neg abs reciprocal square sign floor ceil round trunc
        add sub mul div floor_divide remainder fmod rsub maximum minimum
        addcmul addcdiv lerp
        eq ne lt le gt ge isnan isinf isfinite
        logical_and logical_or logical_not logical_xor
        bitwise_and bitwise_or bitwise_not bitwise_xor
        index_copy index_put __getitem__ index_select gather scatter
        slice select narrow cat stack split split_with_sizes chunk unbind
        where masked_fill cumsum argmax argmin
        arange full full_like zeros ones zeros_like ones_like new_zeros new_full new_ones
        scalar_tensor fill
        clone contiguous expand repeat repeat_interleave view reshape permute transpose t squeeze
        unsqueeze flatten unflatten tril triu roll flip movedim diagonal
        nn.functional.pixel_shuffle nn.functional.pixel_unshuffle nn.functional.channel_shuffle
        nn.functional.pad/constant nn.functional.pad/reflect
        nn.functional.max_pool1d nn.functional.max_pool2d nn.functional.max_pool3d
        nn.functional.avg_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d
        nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d
        nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d nn.functional.adaptive_max_pool3d
        nn.functional.interpolate/nearest nn.functional.interpolate/nearest-exact
        nn.functional.interpolate/linear nn.functional.interpolate/trilinear
    """),
    # Of bytes, PyTorch's vectors use weights of 16 bits.
    *_entries("nn.functional.interpolate/bilinear nn.functional.interpolate/bicubic", dtypes=FLOATS),
    *_entries("batch_norm_in_eval nn.functional.instance_norm", dtypes=FLOATS),
    *_entries("nn.functional.conv_transpose1d nn.functional.conv_transpose2d nn.functional.unfold "
              "cdist nn.functional.pdist", dtypes=FLOATS),
    *_entries("masked_scatter diff"),
    *_entries("nn.functional.embedding_bag recurrent_cells histc weight_norm unfold_backward nn.functional.conv3d",
              dtypes=(*WIDE, *HALVES)),
    *_entries("grouped_mm", dtypes=(torch.float32, *HALVES)),
    # In bfloat16, sums that cancel differ by more: PyTorch rounds every term.  Its exporter says another
    # number of bags than its kernel returns.
    *_entries("nn.functional.grid_sample embedding_bag_with_bags recurrent", dtypes=(*WIDE, torch.float16)),
    *_entries("""
        fft.fft fft.ifft fft.rfft fft.irfft fft.hfft fft.ihfft fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2
        fft.fftn fft.ifftn fft.rfftn fft.irfftn stft istft
    """, dtypes=(*WIDE, *COMPLEX_TYPES)),
    *_entries("complex polar", dtypes=WIDE),
    *_entries("view_as_complex", dtypes=WIDE),
    *_entries("real conj conj_physical resolve_conj angle"),
    *_entries("view_as_real imag", dtypes=()),
    *_entries("core_floats", dtypes=WIDE),
    *_entries("core_directly", dtypes=FLOATS + HALVES + INTEGERS),
    *_entries("to float half bfloat16 long int bool byte", dtypes=FLOATS + HALVES + INTEGERS),
    # PyTorch's powers of complex numbers are logarithms and exponents in single precision.
    Entry("pow", FLOATS + INTEGERS + COMPLEX_TYPES, tolerance=Tolerance(5e-3, 1e-5)),
    # A product of many factors multiplies their rounding errors.
    Entry("prod", tolerance=Tolerance(5e-4, 1e-5)),
    Entry("topk", free=frozenset({1})),
    # Not stable unless asked to be, for types of one byte.
    Entry("sort", free=frozenset({1})),
    *_entries("constant_in_program empty_like_filled"),
]
