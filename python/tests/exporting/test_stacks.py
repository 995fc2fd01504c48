"""Models of one stack, exported by `crosslatch.export`: text that goes on.

Eager PyTorch is the oracle.  Three texts of different lengths are gone on with in one session, each read
at once and then written token by token; logits are those of the whole text at once, and tokens those of
`generate`.
"""

import json

import numpy as np
import pytest
import torch
import transformers

from families import STACKS
from families.checkpoints import FAIRSEQ, IDS, POSITIONS, TEXTS, Checkpoint

import crosslatch as python_package  # the fixture `crosslatch` is the command

NEW_TOKENS = 12
CHECKPOINTS = [
    Checkpoint("Llama", "LlamaForCausalLM", dict(
        IDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=POSITIONS), FAIRSEQ, ["<s>", "$A"],
        dict(max_new_tokens=NEW_TOKENS), seed=3),
    Checkpoint("GPT-2", "GPT2LMHeadModel", dict(
        bos_token_id=0, eos_token_id=2, n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS),
        FAIRSEQ, ["$A"], dict(max_new_tokens=NEW_TOKENS, repetition_penalty=1.3), seed=4),
]


@pytest.fixture(scope="module", params=STACKS, ids=str)
def exported(request, tmp_path_factory):
    torch.set_num_threads(1)
    model, path = request.param.model(), tmp_path_factory.mktemp("stack") / "m.pt2"
    python_package.export(model, path, say=lambda line: None, **request.param.options)
    generator = torch.Generator().manual_seed(3)
    return model, path, [request.param.inputs(i, generator)["input_ids"] for i in range(3)]


@torch.no_grad()
def test_three_texts_in_one_session_go_on_as_in_eager_mode(exported):
    model, path, texts = exported
    session = python_package.load(path, threads=1).session()
    said = []
    for ids in texts:
        mask = torch.ones_like(ids)
        tokens = model.generate(ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
        logits = model(tokens[:, :-1], use_cache=False).logits.numpy()
        said.append(tokens[:, ids.shape[1]:].numpy().tobytes())
        spans = [(0, ids.shape[1]), *((i, i + 1) for i in range(ids.shape[1], tokens.shape[1] - 1))]
        for start, end in spans:
            (got,) = session.run("decoder", {"input_ids": tokens[:, start:end].numpy(),
                                             "cache_position": np.arange(start, end)}).values()
            np.testing.assert_allclose(got, logits[:, start:end], rtol=1e-3, atol=1e-3)
            assert (got[:, -1].argmax(-1) == tokens[:, end].numpy()).all()
    assert len(set(said)) == 3, "the model says the same, whatever it is given"


def test_no_step_copies_the_cache(crosslatch, exported):
    model, path, _ = exported
    (decoder,) = json.loads(crosslatch("inspect", path, "--json")[0])["methods"]
    assert decoder["plan"]["cache_bytes_copied"] == 0
    assert len(decoder["state"]) == 2 * model.config.num_hidden_layers


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=str)
def checkpoint(request, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    model, tokenizer = request.param.save(folder)
    path = folder / "m.pt2"
    python_package.export(folder, path, say=lambda line: None)
    return model, tokenizer, path


@pytest.mark.parametrize("beams", [1, 3])
def test_a_generator_goes_on_as_generate_does(checkpoint, beams):
    model, tokenizer, path = checkpoint
    generator = python_package.Generator(path, threads=1)
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        expected = model.generate(**inputs, num_beams=beams)[0, inputs["input_ids"].shape[1]:].tolist()
        end = expected.index(2) if 2 in expected else len(expected)
        got = generator.generate(text, beam_size=beams)
        assert got.tokens == expected[:end]
        assert got.complete == (2 in expected)


def test_the_command_goes_on_with_a_text(crosslatch, checkpoint):
    model, tokenizer, path = checkpoint
    inputs = tokenizer(TEXTS[1], return_tensors="pt", return_token_type_ids=False)
    expected = model.generate(**inputs)[0, inputs["input_ids"].shape[1]:]
    printed, _ = crosslatch("generate", "--model", path, "--text", TEXTS[1])
    assert printed.strip() == tokenizer.decode(expected, skip_special_tokens=True).strip()


def test_a_text_that_fills_the_cache_is_refused(crosslatch, checkpoint):
    *_, path = checkpoint
    long = " ".join(TEXTS[0].split() * 3)
    _, error = crosslatch("generate", "--model", path, "--text", long, status=1)
    assert f"the model takes at most {POSITIONS}" in error


def test_a_model_that_takes_more_than_text_is_refused(tmp_path):
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
    model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=dict(sizes, model_type="clip_vision_model", image_size=32, patch_size=8),
        text_config=dict(sizes, model_type="llama", vocab_size=99), image_token_index=98))
    with pytest.raises(python_package.Refused, match="takes more than text"):
        python_package.export(model, tmp_path / "m.pt2", say=lambda line: None)
