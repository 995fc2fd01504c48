"""Hugging Face folders of text models, opened without an export.

Two oracles: transformers, for logits and for the tokens of `generate`; and the program that
`crosslatch.export` writes of the same model, which has to give the same bits.
"""

import functools
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import transformers
from families.checkpoints import CHECKPOINTS, TEXTS

import crosslatch as python_package  # the fixture `crosslatch` is the command

VOCABULARY = 97
SIZES = dict(vocab_size=VOCABULARY, d_model=40, encoder_layers=2, decoder_layers=3, encoder_attention_heads=5,
             decoder_attention_heads=4, encoder_ffn_dim=37, decoder_ffn_dim=53, max_position_embeddings=50,
             bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
T5 = dict(vocab_size=VOCABULARY, d_model=36, d_kv=7, d_ff=45, num_layers=3, num_heads=5, n_positions=50,
          relative_attention_num_buckets=10, relative_attention_max_distance=21, pad_token_id=0, eos_token_id=1,
          decoder_start_token_id=0)


@dataclass
class Model:
    """A model that is made on demand, with random weights in which every part matters."""

    name: str
    kind: str
    config: dict
    # Of the weights.
    scale: float = 1.5
    embedding: float = 0.5
    saved: dict = field(default_factory=dict)   # options of `save_pretrained`
    not_exported: str = ""                      # why `crosslatch.export` does not take it

    def __str__(self):
        return self.name.replace(" ", "-")

    def save(self, folder):
        kind = getattr(transformers, self.kind)
        torch.manual_seed(5)
        model = kind(kind.config_class(**self.config)).eval()
        generator = torch.Generator().manual_seed(23)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "embed_positions" in name and not weight.requires_grad:
                    continue  # sines: files do not have them
                if weight.dim() > 1:
                    scale = self.embedding if weight.shape[0] in (VOCABULARY, 89) else self.scale
                    weight.normal_(std=scale * weight[0].numel() ** -0.5, generator=generator)
                else:
                    weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
            if (bias := getattr(model, "final_logits_bias", None)) is not None:
                bias.normal_(std=0.2, generator=generator)
        for setting in ("forced_eos_token_id", "forced_bos_token_id", "max_length"):
            setattr(model.generation_config, setting, None)
        model.save_pretrained(folder, **self.saved)
        return kind.from_pretrained(folder).eval()


MODELS = [
    Model("Marian", "MarianMTModel", dict(SIZES, activation_function="swish", scale_embedding=True)),
    Model("Marian, two vocabularies", "MarianMTModel", dict(
        SIZES, decoder_vocab_size=89, share_encoder_decoder_embeddings=False),
        not_exported="it compares with the decoder on tokens of the encoder's vocabulary"),
    Model("T5", "T5ForConditionalGeneration", T5),
    Model("T5, gated and untied", "T5ForConditionalGeneration", dict(
        T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    Model("T5, a shallow decoder", "T5ForConditionalGeneration", dict(
        T5, num_decoder_layers=1, feed_forward_proj="gated-silu", layer_norm_epsilon=1e-3),
        not_exported="transformers makes T5's cache for as many layers as its encoder has"),
    Model("mT5", "MT5ForConditionalGeneration", dict(T5, feed_forward_proj="gated-gelu")),
    Model("BART", "BartForConditionalGeneration", dict(SIZES, activation_function="gelu")),
    Model("BART, untied", "BartForConditionalGeneration", dict(
        SIZES, activation_function="gelu_new", tie_word_embeddings=False)),
    Model("mBART", "MBartForConditionalGeneration", dict(SIZES, activation_function="relu", scale_embedding=True)),
    Model("Pegasus", "PegasusForConditionalGeneration", dict(SIZES, pad_token_id=0, scale_embedding=True)),
    Model("M2M100", "M2M100ForConditionalGeneration", SIZES),
    Model("M2M100, in shards", "M2M100ForConditionalGeneration", dict(SIZES, scale_embedding=False, pad_token_id=0),
          saved=dict(max_shard_size="30KB")),
]
# Long, short, long: a text must not see what the one before left behind. The last has padding.
SOURCES = [(41, 0), (3, 0), (17, 0), (1, 0), (23, 6)]
STEPS = [[2, 50, 7], [12], [80], [4, 4], [61], [1], [33]]


class Opened:
    """A folder, opened, beside what transformers makes of it."""

    def __init__(self, index, folder):
        self.described, self.folder = MODELS[index], folder
        self._open(self.described.save(folder / "checkpoint"), folder / "checkpoint")

    @classmethod
    def of(cls, model, folder):
        """One whose folder has been written."""
        opened = cls.__new__(cls)
        opened._open(model, folder)
        return opened

    def _open(self, model, folder):
        torch.set_num_threads(1)
        self.model, self.program = model, python_package.load(str(folder))

    @functools.cached_property
    def exported(self):
        python_package.export(self.model, self.folder / "model.pt2", say=lambda line: None)
        return python_package.load(str(self.folder / "model.pt2"))

    def source(self, number):
        length, padding = SOURCES[number]
        generator = torch.Generator().manual_seed(number)
        ids = torch.randint(3, VOCABULARY, (1, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[:, length - padding:] = 0
        return ids, mask

    @torch.no_grad()
    def expected(self, number):
        """The encoder's output, and the logits of each step."""
        ids, mask = self.source(number)
        encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        seen, steps = [], []
        for tokens in STEPS:
            seen += tokens
            out = self.model(encoder_outputs=(encoded,), attention_mask=mask, decoder_input_ids=torch.tensor([seen]),
                             use_cache=False).logits
            steps.append(out[:, -len(tokens):].numpy())
        return encoded.numpy(), steps

    def computed(self, session, number):
        ids, mask = self.source(number)
        encoded = only(session.run("encoder", {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}))
        position, steps = 0, []
        for tokens in STEPS:
            at = np.arange(position, position + len(tokens))
            position += len(tokens)
            steps.append(only(session.run("decoder", {
                "input_ids": np.array([tokens]), "cache_position": at, "encoder_hidden_states": encoded,
                "encoder_attention_mask": mask.numpy()})))
        return encoded, steps


def only(outputs):
    (array,) = outputs.values()
    return array


@pytest.fixture(scope="module", params=range(len(MODELS)), ids=map(str, MODELS))
def opened(request, tmp_path_factory):
    return Opened(request.param, tmp_path_factory.mktemp("text"))


def test_logits_are_those_of_transformers(opened):
    session = opened.program.session()
    for number in range(len(SOURCES)):
        encoded, steps = opened.expected(number)
        ours, got = opened.computed(session, number)
        real = SOURCES[number][0] - SOURCES[number][1]
        np.testing.assert_allclose(ours[:, :real], encoded[:, :real], atol=1e-4)
        # M2M100 counts positions without padding, which within a text only a whole run can do.
        until = next((i for i, tokens in enumerate(STEPS) if tokens == [opened.model.config.pad_token_id]), len(STEPS))
        for step, (a, b) in enumerate(zip(got[:until], steps)):
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=f"source {number}, step {step}")


def test_results_are_those_of_the_exported_model(opened):
    if opened.described.not_exported:
        pytest.skip(opened.described.not_exported)
    # M2M100's sines are computed by PyTorch's vector code, whose last bits differ from those of exact sines.
    exact = opened.model.config.model_type != "m2m_100"
    ours, exported = opened.program.session(), opened.exported.session()
    for number in range(len(SOURCES)):
        for a, b in zip(*(flat(opened.computed(session, number)) for session in (ours, exported))):
            np.testing.assert_allclose(a, b, rtol=0, atol=0 if exact else 1e-5)


def flat(results):
    encoded, steps = results
    return [encoded, *steps]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_sixteen_bits_give_the_logits_of_those_numbers(dtype, tmp_path):
    model = MODELS[0].save(tmp_path / "full").to(dtype)
    model.save_pretrained(tmp_path / "short")
    case = Opened.of(type(model).from_pretrained(tmp_path / "short", dtype=torch.float32).eval(), tmp_path / "short")
    session = case.program.session()
    encoded, steps = case.expected(0)
    ours, got = case.computed(session, 0)
    np.testing.assert_allclose(ours, encoded, atol=1e-4)
    for a, b in zip(got, steps):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_later_steps_copy_no_bytes_of_a_cache(crosslatch, opened):
    methods = json.loads(crosslatch("inspect", opened.folder / "checkpoint", "--json")[0])["methods"]
    (decoder,) = [method for method in methods if method["name"] == "decoder"]
    assert decoder["plan"]["cache_bytes_copied"] == 0


OPTIONS = {
    "as the file says": ({}, []),
    "greedy": (dict(num_beams=1, max_new_tokens=30), ["--beam-size", 1, "--max-tokens", 30]),
    "beams": (dict(num_beams=4, max_new_tokens=25), ["--beam-size", 4, "--max-tokens", 25]),
}


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=str)
def saved(request, tmp_path_factory):
    """(folder, model, tokenizer)"""
    folder = tmp_path_factory.mktemp("generate")
    return folder, *request.param.save(folder)


@pytest.mark.parametrize("name", OPTIONS)
def test_texts_in_a_row_are_those_of_transformers(crosslatch, saved, name):
    folder, model, tokenizer = saved
    arguments, flags = OPTIONS[name]
    given = [argument for text in TEXTS for argument in ("--text", text)]
    out, _ = crosslatch("generate", "--model", folder, "--format", "json", "--threads", 2, *flags, *given)
    end = model.generation_config.eos_token_id
    for line, text in zip(map(json.loads, out.splitlines()), TEXTS, strict=True):
        with torch.no_grad():
            inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            tokens = model.generate(**inputs, **arguments)[0, 1:].tolist()
        expected = tokens[:tokens.index(end)] if end in tokens else tokens
        assert line["tokens"] == expected
        assert line["complete"] == (end in tokens)


def test_python_generates_from_a_folder(saved):
    folder, model, tokenizer = saved
    generator = python_package.Generator(str(folder))
    with torch.no_grad():
        inputs = tokenizer(TEXTS[2], return_tensors="pt", return_token_type_ids=False)
        tokens = model.generate(**inputs, num_beams=1, max_new_tokens=12)[0, 1:].tolist()
    got = generator.generate(TEXTS[2], beam_size=1, max_new_tokens=12)
    assert got.text == tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize("index, change, message", [
    (0, dict(activation_function="quick_gelu"), "`activation_function` is `quick_gelu`"),
    (0, dict(encoder_attention_heads=3), "which 3 encoder heads cannot share"),
    (0, dict(max_position_embeddings=16_000_000), "far more memory than the weights"),
    (0, dict(d_model=44, encoder_attention_heads=4), r"has the shape \[97, 40\]; expected \[97, 44\]"),
    (2, dict(feed_forward_proj="gated-mish"), "`feed_forward_proj` is `gated-mish`"),
    (2, dict(relative_attention_max_distance=3), "`relative_attention_max_distance` 3"),
    (2, dict(num_layers=4), "there is no tensor `encoder.block.3.layer.0"),
    (10, dict(pad_token_id=7), "`pad_token_id` is 7"),
])
def test_what_is_not_supported_is_refused_by_name(index, change, message, tmp_path):
    MODELS[index].save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(python_package.Error, match=message):
        python_package.load(str(tmp_path))


def test_alignments_are_where_transformers_looks(saved):
    folder, model, tokenizer = saved
    generator = python_package.Generator(str(folder))
    model.set_attn_implementation("eager")
    for beams in (1, 3):
        written = generator.generate(TEXTS[2], beam_size=beams, max_new_tokens=14, alignment=True,
                                     alternatives=beams - 1)
        plain = generator.generate(TEXTS[2], beam_size=beams, max_new_tokens=14)
        assert plain.tokens == written.tokens and plain.alignment is None and plain.source_tokens is None
        inputs = tokenizer(TEXTS[2], return_tensors="pt", return_token_type_ids=False, return_special_tokens_mask=True)
        around = inputs.pop("special_tokens_mask")[0].bool()
        assert written.source_tokens == inputs["input_ids"][0].tolist()
        for candidate in (written, *written.alternatives):
            start = model.generation_config.decoder_start_token_id
            decoder = torch.tensor([[start, *candidate.tokens[:-1]]])
            with torch.no_grad():
                layers = model(**inputs, decoder_input_ids=decoder, output_attentions=True).cross_attentions
            mean = torch.stack(layers[len(layers) // 2:]).mean(dim=(0, 2))[0].masked_fill(around, -1)
            best = mean.gather(1, torch.tensor(candidate.alignment)[:, None])[:, 0]
            # Of equal ones any may be named.
            assert (mean.max(dim=1).values - best < 1e-5).all()
            assert len(candidate.alignment) == len(candidate.tokens) and not around[candidate.alignment].any()
