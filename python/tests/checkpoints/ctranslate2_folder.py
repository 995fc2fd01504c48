"""Writes Whisper folders as CTranslate2's converter does, by the description of its format.

A version, the specification's name and revision, the variables with their sizes, types and data, and other names
of the same variables.  Projections of one input lie one below the other; integers are rows times a scale.
"""

import json
import struct

import numpy as np

VERSION, REVISION = 6, 3
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
NORMS = (("weight", "gamma"), ("bias", "beta"))


def text(string):
    return struct.pack("<H", len(string) + 1) + string.encode() + b"\0"


def variables(state, config):
    """{name: float32 array, or int for a number}, as the converter lays them out."""
    found = {}
    for side, layers, heads in (("encoder", config.encoder_layers, config.encoder_attention_heads),
                                ("decoder", config.decoder_layers, config.decoder_attention_heads)):
        ours = f"model.{side}"
        found[f"{side}/num_heads"] = heads
        found[f"{side}/position_encodings/encodings"] = state[f"{ours}.embed_positions.weight"]
        for kind, theirs in NORMS:
            found[f"{side}/layer_norm/{theirs}"] = state[f"{ours}.layer_norm.{kind}"]
        for i in range(layers):
            layer(found, state, f"{side}/layer_{i}", f"{ours}.layers.{i}", side == "decoder")
    for name in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            found[f"encoder/{name}/{kind}"] = state[f"model.encoder.{name}.{kind}"]
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    found["decoder/scale_embeddings"] = 0
    return found


def layer(found, state, theirs, ours, is_decoder):
    norms = {"self_attention": "self_attn_layer_norm", "ffn": "final_layer_norm"}
    linears = {"self_attention/linear_0": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
               "self_attention/linear_1": ["self_attn.out_proj"], "ffn/linear_0": ["fc1"], "ffn/linear_1": ["fc2"]}
    if is_decoder:
        norms["attention"] = "encoder_attn_layer_norm"
        linears |= {"attention/linear_0": ["encoder_attn.q_proj"],
                    "attention/linear_1": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
                    "attention/linear_2": ["encoder_attn.out_proj"]}
    for name, norm in norms.items():
        for kind, gamma in NORMS:
            found[f"{theirs}/{name}/layer_norm/{gamma}"] = state[f"{ours}.{norm}.{kind}"]
    for name, parts in linears.items():
        weights = [state[f"{ours}.{part}.weight"] for part in parts]
        biases = [state.get(f"{ours}.{part}.bias", np.zeros(len(weight), np.float32))
                  for part, weight in zip(parts, weights)]
        found[f"{theirs}/{name}/weight"] = np.concatenate(weights)
        found[f"{theirs}/{name}/bias"] = np.concatenate(biases)


def encoded(name, array, kind):
    """{name: (type, sizes, bytes)} of a variable and its scales, and the numbers that it stands for."""
    if isinstance(array, int):
        return {name: ("int16", (), struct.pack("<h", array))}
    is_weight = name.endswith("/weight")
    if kind.startswith("int") and is_weight:
        rows = array.reshape(len(array), -1) if kind.startswith("int8") else array.reshape(1, -1)
        most = 127 if kind.startswith("int8") else 1024
        peak = np.abs(rows).max(axis=1)
        scale = (most / np.where(peak == 0, most, peak)).astype(np.float32)
        scale_type = "float16" if kind == "int8_float16" else "float32"
        scale = scale.astype(scale_type)
        steps = np.rint(rows * scale.astype(np.float32)[:, None]).astype("int8" if most == 127 else "int16")
        return {name: (str(steps.dtype), array.shape, steps.tobytes()),
                f"{name}_scale": (scale_type, scale.shape if most == 127 else (), scale.tobytes())}
    if kind in ("float16", "int8_float16"):
        return {name: ("float16", array.shape, array.astype(np.float16).tobytes())}
    if kind == "bfloat16":
        import torch

        half = torch.from_numpy(np.ascontiguousarray(array)).bfloat16().view(torch.int16)
        return {name: ("bfloat16", array.shape, half.numpy().tobytes())}
    return {name: ("float32", array.shape, np.ascontiguousarray(array, np.float32).tobytes())}


def stood_for(name, pieces):
    """The numbers that the pieces of a variable stand for."""
    kind, shape, data = pieces[name]
    if kind == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    numbers = np.frombuffer(data, kind).astype(np.float32)
    if scales := pieces.get(f"{name}_scale"):
        scale = np.frombuffer(scales[2], scales[0]).astype(np.float32)
        numbers = (numbers.reshape(len(scale), -1) / scale[:, None]).reshape(-1)
    return numbers.reshape(shape)


def write(folder, state, config, kind, configuration, files, specification="WhisperSpec"):
    """Writes a folder, and returns the variables with the numbers that they stand for."""
    folder.mkdir(parents=True, exist_ok=True)
    held, out, count = {}, [], 0
    for name, array in sorted(variables(state, config).items()):
        pieces = encoded(name, array, kind)
        held[name] = array if isinstance(array, int) else stood_for(name, pieces)
        for piece, (dtype, shape, data) in pieces.items():
            out += [text(piece), struct.pack(f"<B{len(shape)}I", len(shape), *shape),
                    struct.pack("<BI", TYPES[dtype], len(data)), data]
            count += 1
    aliases = text("decoder/projection/weight") + text("decoder/embeddings/weight")
    start = struct.pack("<I", VERSION) + text(specification) + struct.pack("<II", REVISION, count)
    (folder / "model.bin").write_bytes(start + b"".join(out) + struct.pack("<I", 1) + aliases)
    (folder / "config.json").write_text(json.dumps(configuration))
    for name, contents in files.items():
        (folder / name).write_bytes(contents)
    return held


def tensors(held, state, config):
    """The variables' numbers by the tensors of `state`: numbers of elements, laid out, say where each went."""
    places, start = {}, 1
    for name, array in state.items():
        places[name] = np.arange(start, start + array.size).reshape(array.shape)
        start += array.size
    flat = np.zeros(start, np.float32)
    for name, where in variables(places, config).items():
        if not isinstance(where, int):
            flat[where.astype(np.int64)] = held[name]  # zeros for the biases that keys lack go to place 0
    return {name: flat[where] for name, where in places.items()}
