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

import crosslatch as python_package  # the fixture `crosslatch` is the command

NEW_TOKENS = 12


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


def test_a_model_that_takes_more_than_text_is_refused(tmp_path):
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
    model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=dict(sizes, model_type="clip_vision_model", image_size=32, patch_size=8),
        text_config=dict(sizes, model_type="llama", vocab_size=99), image_token_index=98))
    with pytest.raises(python_package.Refused, match="takes more than text"):
        python_package.export(model, tmp_path / "m.pt2", say=lambda line: None)
