"""Makes `weights.f16`, which `network.rs` reads, from Silero's own file.

The file is `silero_vad/data/silero_vad_16k_op15.onnx` of the package `silero-vad` 6.2.3 on PyPI, which is under the
MIT licence beside this script. The Fourier transform in it is left out, because it is one; the rest is stored as
little-endian f16, inputs before outputs, so that a product walks over it in order.

    pip download --no-deps silero-vad==6.2.3 && unzip silero_vad-*.whl && pip install onnx numpy
    python weights.py silero_vad/data/silero_vad_16k_op15.onnx
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def main(path: str) -> None:
    model = onnx.load(path)
    tensors = {t.name.removeprefix("model."): numpy_helper.to_array(t) for t in model.graph.initializer}
    basis = tensors["stft.forward_basis_buffer"][:, 0]
    n = np.arange(256)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    angles = 2 * np.pi * np.outer(np.arange(129), n) / 256
    assert np.allclose(np.abs(basis[:129]), np.abs(np.cos(angles) * hann), atol=1e-5)
    assert np.allclose(np.abs(basis[129:]), np.abs(np.sin(angles) * hann), atol=1e-5)
    pieces = []
    for layer in range(4):
        name = f"encoder.{layer}.reparam_conv"
        # [out, in, tap] becomes [tap, in, out].
        pieces += [tensors[f"{name}.weight"].transpose(2, 1, 0), tensors[f"{name}.bias"]]
    pieces += [tensors["decoder.rnn.weight_ih"].T, tensors["decoder.rnn.weight_hh"].T]
    pieces += [tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"]]
    pieces += [tensors["decoder.decoder.2.weight"], tensors["decoder.decoder.2.bias"]]
    numbers = np.concatenate([piece.ravel() for piece in pieces])
    Path(__file__).with_name("weights.f16").write_bytes(numbers.astype("<f2").tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
