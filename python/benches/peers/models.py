"""One Whisper with random weights, as each runtime wants to have it.

Sizes are the published ones and weights are drawn: speed depends on the sizes only.  Weights are large
enough that scores tell tokens apart, so that a runtime that computes something else is found out.  Every
file is made once and kept; a finished one is never half written, because it is made beside its place.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn import functional

import ggml

SIZES = {
    "tiny": dict(d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
                 decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536),
    "base": dict(d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
                 decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048),
    "small": dict(d_model=768, encoder_layers=12, decoder_layers=12, encoder_attention_heads=12,
                  decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072),
}
VOCABULARY, FRAMES = 51865, 3000
#: The prompt of a runtime that chooses tokens by itself: start, no points in time.
START = [50258, 50363]
#: Tokens that are fed one by one: the first, and those of the later steps.
STEPS = 64


def tokens():
    return [50258] + np.random.default_rng(1).integers(0, 50000, STEPS).tolist()


def features():
    return np.random.default_rng(2).standard_normal((1, 80, FRAMES)).astype(np.float32)


def whisper(size):
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        vocab_size=VOCABULARY, max_source_positions=FRAMES // 2, max_target_positions=448,
        **SIZES[size])).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and "layer_norm" not in name and not name.endswith("bias"):
                weight.mul_(2)
    return model


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v):
    """Spelled out: what exporters make of the fused operator carries guards against rows that are
    masked entirely, which cost more than the product."""
    return torch.softmax(q @ k.transpose(2, 3), -1) @ v


class Encoder(nn.Module):
    """Features to states."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.heads = model.model.encoder, model.config.encoder_attention_heads

    def forward(self, input_features):
        e = self.inner
        x = functional.gelu(e.conv2(functional.gelu(e.conv1(input_features)))).transpose(1, 2)
        x = x + e.embed_positions.weight
        for layer in e.layers:
            a, y = layer.self_attn, layer.self_attn_layer_norm(x)
            q, k, v = (heads(p(y), self.heads) for p in (a.q_proj, a.k_proj, a.v_proj))
            x = x + a.out_proj(merged(attend(q * a.scaling, k, v)))
            x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
        return e.layer_norm(x)


class Cross(nn.Module):
    """States to the keys and values of all layers, which stay for the window."""

    def __init__(self, model):
        super().__init__()
        self.layers, self.heads = model.model.decoder.layers, model.config.decoder_attention_heads

    def forward(self, states):
        out = []
        for layer in self.layers:
            a = layer.encoder_attn
            out += [heads(a.k_proj(states), self.heads), heads(a.v_proj(states), self.heads)]
        return tuple(out)


class Step(nn.Module):
    """One token: scores, and the self-attention caches with a row more."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.proj = model.model.decoder, model.proj_out
        self.heads = model.config.decoder_attention_heads

    def forward(self, input_ids, position, *caches):
        d, count = self.inner, len(self.inner.layers)
        past, cross = caches[:2 * count], caches[2 * count:]
        x = d.embed_tokens(input_ids) + d.embed_positions.weight[position]
        present = []
        for i, layer in enumerate(d.layers):
            a, y = layer.self_attn, layer.self_attn_layer_norm(x)
            k = torch.cat([past[2 * i], heads(a.k_proj(y), self.heads)], 2)
            v = torch.cat([past[2 * i + 1], heads(a.v_proj(y), self.heads)], 2)
            present += [k, v]
            x = x + a.out_proj(merged(attend(heads(a.q_proj(y) * a.scaling, self.heads), k, v)))
            a, y = layer.encoder_attn, layer.encoder_attn_layer_norm(x)
            q = heads(a.q_proj(y) * a.scaling, self.heads)
            x = x + a.out_proj(merged(attend(q, cross[2 * i], cross[2 * i + 1])))
            x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
        return self.proj(d.layer_norm(x)), *present


def names(count):
    """Names of the caches of so many layers: (before a step, after it, cross)."""
    of = lambda word: [f"{word}_{kind}{i}" for i in range(count) for kind in "kv"]
    return of("past"), of("present"), of("cross")


def sample(model, length):
    """Inputs of a step with so many tokens in the caches."""
    c = model.config
    shape = lambda n: (1, c.decoder_attention_heads, n, c.d_model // c.decoder_attention_heads)
    past = [torch.randn(shape(length)) for _ in range(2 * c.decoder_layers)]
    cross = [torch.randn(shape(FRAMES // 2)) for _ in range(2 * c.decoder_layers)]
    return torch.tensor([[7]]), torch.tensor([length]), past, cross


def make_reference(model, path):
    """Eager PyTorch's scores after the first and the last token, and the token that it chooses."""
    with torch.no_grad():
        states = model.model.encoder(torch.from_numpy(features())).last_hidden_state
        given = torch.tensor([tokens()])
        logits = model(encoder_outputs=(states,), decoder_input_ids=given).logits
        start = model(encoder_outputs=(states,), decoder_input_ids=torch.tensor([START])).logits
    # Opened, because a name without an ending would be given one.
    with path.open("wb") as file:
        np.savez(file, logits=logits[0, -1].numpy(), first=logits[0, 0].numpy(),
                 chosen=start[0, -1].argmax().numpy())


def make_checkpoint(model, path):
    path.mkdir()
    model.save_pretrained(path)


def make_engine(model, path):
    import crosslatch
    crosslatch.export(model, path)


def make_onnx(model, path):
    path.mkdir()
    past, present, cross = names(model.config.decoder_layers)
    ids, position, pasts, crosses = sample(model, 3)
    grows = {2: torch.export.Dim("past", min=2, max=447)}
    programs = {
        "encoder": (Encoder(model), (torch.from_numpy(features()),), ["input_features"], ["states"],
                    None),
        "cross": (Cross(model), (torch.randn(1, FRAMES // 2, model.config.d_model),), ["states"],
                  cross, None),
        "step": (Step(model), (ids, position, *pasts, *crosses), ["input_ids", "position", *past,
                                                                 *cross],
                 ["logits", *present],
                 (None, None, tuple([grows] * len(pasts) + [None] * len(crosses)))),
    }
    for name, (module, inputs, ins, outs, dynamic) in programs.items():
        with torch.no_grad():
            torch.onnx.export(module, inputs, path / f"{name}.onnx", input_names=ins,
                              output_names=outs, dynamic_shapes=dynamic, dynamo=True,
                              external_data=False, verbose=False)


def make_onnx_int8(model, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    path.mkdir()
    for name in ("encoder", "cross", "step"):
        quantize_dynamic(path.parent / "onnx" / f"{name}.onnx", path / f"{name}.onnx",
                         op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                         weight_type=QuantType.QInt8)


def make_ctranslate2(model, path):
    """CTranslate2's own description of a Whisper, filled from the model."""
    from ctranslate2.converters.transformers import WhisperLoader
    from ctranslate2.specs import WhisperSpec
    c = model.config
    spec = WhisperSpec(c.encoder_layers, c.encoder_attention_heads, c.decoder_layers,
                       c.decoder_attention_heads)
    loader = WhisperLoader()
    loader.set_encoder(spec.encoder, model.model.encoder)
    loader.set_decoder(spec.decoder, model.model.decoder)
    loader.set_linear(spec.decoder.projection, model.proj_out)
    words = [f"w{i}" for i in range(VOCABULARY)]
    # The ones that the runtime looks for by name.
    for i, word in {50257: "<|endoftext|>", 50258: "<|startoftranscript|>", 50259: "<|en|>",
                    50358: "<|translate|>", 50359: "<|transcribe|>", 50361: "<|startofprev|>",
                    50362: "<|nospeech|>", 50363: "<|notimestamps|>"}.items():
        words[i] = word
    spec.register_vocabulary(words)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = [50259]
    spec.config.alignment_heads = [(c.decoder_layers - 1, 0)]
    spec.validate()
    spec.optimize(quantization=None)
    path.mkdir()
    spec.save(str(path))


def make_ggml(precision):
    """whisper.cpp's file."""
    return lambda model, path: ggml.write(model, path, precision)


MAKERS = {
    "reference.npz": make_reference,
    "checkpoint": make_checkpoint,
    "engine.pt2": make_engine,
    "onnx": make_onnx,
    "onnx-int8": make_onnx_int8,
    "ctranslate2": make_ctranslate2,
    **{f"{precision}.ggml": make_ggml(precision) for precision in ("f16", "q8_0", "q5_0")},
}


def make(folder, size, wanted, say):
    """Makes what is wanted and not there; returns {name: what went wrong}."""
    folder.mkdir(parents=True, exist_ok=True)
    model, failed = None, {}
    for name in wanted:
        place, beside = folder / name, folder / f"making-{name}"
        if place.exists():
            continue
        say(f"making {place}")
        shutil.rmtree(beside, ignore_errors=True)
        beside.unlink(missing_ok=True)
        model = model or whisper(size)
        try:
            MAKERS[name](model, beside)
            beside.rename(place)
        except Exception as error:  # one runtime's converter must not end the run for all
            failed[name] = f"{type(error).__name__}: {error}"
            say(f"{name} cannot be made: {failed[name]}")
    return failed
