"""Writes files of whisper.cpp, by the description of its format.

One sequence of little-endian numbers: the magic number, eleven sizes, the mel filters, the tokens, the tensors
until the end.  Matrices may be stored in blocks of 32 numbers of a row: a scale and, for the formats `_1`, the
smallest number, both f16; the fifth bits as a mask; then 4 or 8 bits a number, of which the first 16 are in the
low halves of the bytes.
"""

import struct

import numpy as np

MAGIC = 0x67676D6C
#: {name: (number of the type, number of the file's type, bits, whether blocks have a smallest number)}.
KINDS = {
    "f32": (0, 0, None, None), "f16": (1, 1, None, None), "q4_0": (2, 2, 4, False), "q4_1": (3, 3, 4, True),
    "q5_0": (6, 8, 5, False), "q5_1": (7, 9, 5, True), "q8_0": (8, 7, 8, False),
}
BLOCK = 32

PARTS = {
    "self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out", "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query", "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value", "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln", "fc1": "mlp.0", "fc2": "mlp.2", "final_layer_norm": "mlp_ln",
}


def openai_name(name):
    """What OpenAI calls a tensor of transformers."""
    _, side, *rest = name.split(".")
    if rest[0] == "layers":
        return f"{side}.blocks.{rest[1]}.{PARTS['.'.join(rest[2:-1])]}.{rest[-1]}"
    if rest[0] == "embed_positions":
        return f"{side}.positional_embedding"
    own = {"embed_tokens": "token_embedding", "layer_norm": "ln_post" if side == "encoder" else "ln"}
    return ".".join([side, own.get(rest[0], rest[0]), rest[-1]])


def quantized(array, kind):
    """The blocks of a matrix, and the numbers that they stand for."""
    _, _, bits, has_least = KINDS[kind]
    rows = array.reshape(-1, BLOCK).astype(np.float32)
    if has_least:
        least = rows.min(axis=1)
        scale = (rows.max(axis=1) - least) / (2**bits - 1)
    else:
        scale = np.abs(rows).max(axis=1) / (2 ** (bits - 1) - 1)
        least = np.zeros_like(scale)
    scale, least = (numbers.astype(np.float16).astype(np.float32)[:, None] for numbers in (scale, least))
    offset = 0 if has_least or bits == 8 else 2 ** (bits - 1)
    low, high = (-127, 127) if bits == 8 else (0, 2**bits - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.nan_to_num(np.rint((rows - least) / scale)) + offset
    steps = np.clip(steps, low, high).astype(np.int64)
    numbers = (steps - offset).astype(np.float32) * scale + least
    pieces = [scale.astype(np.float16).view(np.uint8)]
    if has_least:
        pieces.append(least.astype(np.float16).view(np.uint8))
    if bits == 5:
        fifth = (steps >> 4 << np.arange(BLOCK)).sum(axis=1).astype("<u4")
        pieces.append(fifth[:, None].view(np.uint8))
    if bits == 8:
        pieces.append(steps.astype(np.int8).view(np.uint8))
    else:
        half = steps & 15
        pieces.append((half[:, : BLOCK // 2] | half[:, BLOCK // 2 :] << 4).astype(np.uint8))
    return np.hstack(pieces).tobytes(), numbers.reshape(array.shape)


def is_matrix(name, array):
    """Whether a tensor is stored in the file's type: positions, vectors and biases are not."""
    return array.ndim >= 2 and "positional_embedding" not in name


def is_quantizable(name, array):
    """Blocks are for products; convolutions stay floats."""
    return is_matrix(name, array) and array.ndim == 2 and array.shape[1] % BLOCK == 0


def contents(state, config, tokens, filters, kind):
    """The file's bytes, and {name of transformers: the numbers that it holds}."""
    number, file_type, bits, _ = KINDS[kind]
    out = [struct.pack("<12i", MAGIC, config.vocab_size, config.max_source_positions, config.d_model,
                       config.encoder_attention_heads, config.encoder_layers, config.max_target_positions,
                       config.d_model, config.decoder_attention_heads, config.decoder_layers,
                       config.num_mel_bins, file_type)]
    out += [struct.pack("<2i", *filters.shape), filters.astype("<f4").tobytes()]
    out += [struct.pack("<i", len(tokens))]
    for token in tokens:
        out += [struct.pack("<i", len(token)), token]
    held = {}
    for ours, array in state.items():
        name = openai_name(ours)
        array = np.ascontiguousarray(array, dtype=np.float32)
        if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
            shape = (len(array), 1)
        else:
            shape = array.shape
        type_number = 0
        data, held[ours] = array.tobytes(), array
        if bits and is_quantizable(name, array):
            type_number = number
            data, held[ours] = quantized(array, kind)
        elif kind != "f32" and is_matrix(name, array):
            type_number = 1
            data = array.astype(np.float16).tobytes()
            held[ours] = array.astype(np.float16).astype(np.float32)
        encoded = name.encode()
        out += [struct.pack("<3i", len(shape), len(encoded), type_number),
                struct.pack(f"<{len(shape)}i", *reversed(shape)), encoded, data]
    return b"".join(out), held


def byte_of_character():
    """GPT-2's characters for bytes, the other way round."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def tokens_of(vocabulary, count):
    """The first tokens of {text: id} as bytes."""
    bytes_of = byte_of_character()
    by_id = {i: text for text, i in vocabulary.items()}
    return [bytes(bytes_of[c] for c in by_id[i]) for i in range(count)]
