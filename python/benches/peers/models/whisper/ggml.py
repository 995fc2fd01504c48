"""Writes a Whisper in the file format of whisper.cpp (its models/convert-h5-to-ggml.py, ggml-common.h).

A header of numbers, mel filters, words, then tensors by OpenAI's names, dimensions from the innermost out.
Matrices have the precision that is asked for; what is quantised is so in blocks of 32 along a row.
"""

import struct

import numpy as np

BLOCK = 32
#: Type of a file, type of its matrices.
TYPES = {"f16": (1, 1), "q8_0": (2007, 8), "q5_0": (2008, 6), "q4_0": (2002, 2)}


def q8_0(matrix):
    """Half-precision scale, then a byte for each element."""
    blocks = matrix.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    quants = np.rint(blocks / np.where(scale == 0, 1, scale)).astype(np.int8)
    return np.hstack([scale.astype(np.float16).view(np.uint8), quants.view(np.uint8)]).tobytes()


def q5_0(matrix):
    """Half-precision scale, the fifth bits of all elements, then the lower four, halves interleaved."""
    blocks = matrix.reshape(-1, BLOCK)
    rows = np.arange(len(blocks))
    scale = blocks[rows, np.abs(blocks).argmax(1)][:, None] / -16
    levels = np.clip(np.floor(blocks / np.where(scale == 0, 1, scale) + 16.5), 0, 31).astype(np.uint8)
    fifths = np.packbits(levels >> 4, axis=1, bitorder="little")
    low = levels & 15
    quants = low[:, :BLOCK // 2] | low[:, BLOCK // 2:] << 4
    return np.hstack([scale.astype(np.float16).view(np.uint8), fifths, quants]).tobytes()


def q4_0(matrix):
    """Half-precision scale, then four bits for each element, halves interleaved."""
    blocks = matrix.reshape(-1, BLOCK)
    rows = np.arange(len(blocks))
    scale = blocks[rows, np.abs(blocks).argmax(1)][:, None] / -8
    levels = np.clip(np.floor(blocks / np.where(scale == 0, 1, scale) + 8.5), 0, 15).astype(np.uint8)
    quants = levels[:, :BLOCK // 2] | levels[:, BLOCK // 2:] << 4
    return np.hstack([scale.astype(np.float16).view(np.uint8), quants]).tobytes()


def f16(array):
    return array.astype(np.float16).tobytes()


ENCODE = {"f16": f16, "q8_0": q8_0, "q5_0": q5_0, "q4_0": q4_0}


def tensors(model):
    """Names as OpenAI gives them, and arrays."""
    def take(module, name):
        for part in ("weight", "bias"):
            value = getattr(module, part, None)
            if value is not None:
                yield f"{name}.{part}", value

    def attention(module, name):
        for ours, theirs in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"),
                             ("out_proj", "out")):
            yield from take(getattr(module, ours), f"{name}.{theirs}")

    def block(layer, name):
        yield from take(layer.self_attn_layer_norm, f"{name}.attn_ln")
        yield from attention(layer.self_attn, f"{name}.attn")
        if hasattr(layer, "encoder_attn"):
            yield from take(layer.encoder_attn_layer_norm, f"{name}.cross_attn_ln")
            yield from attention(layer.encoder_attn, f"{name}.cross_attn")
        yield from take(layer.final_layer_norm, f"{name}.mlp_ln")
        yield from take(layer.fc1, f"{name}.mlp.0")
        yield from take(layer.fc2, f"{name}.mlp.2")

    encoder, decoder = model.model.encoder, model.model.decoder
    yield "encoder.positional_embedding", encoder.embed_positions.weight
    for name in ("conv1", "conv2"):
        conv = getattr(encoder, name)
        yield f"encoder.{name}.weight", conv.weight
        yield f"encoder.{name}.bias", conv.bias[:, None]
    yield from take(encoder.layer_norm, "encoder.ln_post")
    yield "decoder.positional_embedding", decoder.embed_positions.weight
    yield "decoder.token_embedding.weight", decoder.embed_tokens.weight
    yield from take(decoder.layer_norm, "decoder.ln")
    for side, part in (("encoder", encoder), ("decoder", decoder)):
        for i, layer in enumerate(part.layers):
            yield from block(layer, f"{side}.blocks.{i}")


def write(model, path, precision):
    c, (file_type, matrix_type) = model.config, TYPES[precision]
    words, filters = 50257, 201
    with path.open("wb") as file:
        file.write(struct.pack(
            "<12i", 0x67676d6c, c.vocab_size, c.max_source_positions, c.d_model,
            c.encoder_attention_heads, c.encoder_layers, c.max_target_positions, c.d_model,
            c.decoder_attention_heads, c.decoder_layers, c.num_mel_bins, file_type))
        file.write(struct.pack("<2i", c.num_mel_bins, filters))
        file.write(bytes(4 * c.num_mel_bins * filters))
        file.write(struct.pack("<i", words))
        for i in range(words):
            word = f"w{i}".encode()
            file.write(struct.pack("<i", len(word)) + word)
        for name, tensor in tensors(model):
            array = np.ascontiguousarray(tensor.detach().numpy(), np.float32)
            kind, encode = 0, np.ndarray.tobytes
            if array.ndim == 3:
                kind, encode = 1, f16  # a convolution's are never quantised
            elif array.ndim == 2 and name.endswith("weight"):
                kind, encode = matrix_type, ENCODE[precision]
            file.write(struct.pack("<3i", array.ndim, len(name), kind))
            file.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)))
            file.write(name.encode() + encode(array))
