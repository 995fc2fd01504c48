"""Hugging Face folders of Whisper, opened without an export: transformers is the oracle."""

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

import crosslatch

TOKENS = [[3, 50, 7], [12], [90], [4, 4], [61]]
SIZES = [
    dict(d_model=48, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=6,
         encoder_ffn_dim=70, decoder_ffn_dim=90, num_mel_bins=80),
    # As large-v3-turbo is: more mel bands, and a decoder much shallower than the encoder.
    dict(d_model=40, encoder_layers=3, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=5,
         encoder_ffn_dim=160, decoder_ffn_dim=160, num_mel_bins=128),
]


def random_whisper(sizes):
    torch.manual_seed(3)
    config = WhisperConfig(vocab_size=101, max_source_positions=30, max_target_positions=20, pad_token_id=0,
                           bos_token_id=1, eos_token_id=2, decoder_start_token_id=3, suppress_tokens=[],
                           begin_suppress_tokens=[], **sizes)
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def logits_of_transformers(model, features):
    """The logits of each step, and the encoder's output."""
    with torch.no_grad():
        encoded = model.model.encoder(features).last_hidden_state
        seen, steps = [], []
        for tokens in TOKENS:
            seen += tokens
            out = model(encoder_outputs=(encoded,), decoder_input_ids=torch.tensor([seen]), use_cache=False).logits
            steps.append(out[:, -len(tokens):].numpy())
    return steps, encoded.numpy()


def logits_of_crosslatch(session, features):
    encoded = session.run("encoder", {"input_features": features.numpy()})["last_hidden_state"]
    position, steps = 0, []
    for tokens in TOKENS:
        positions = np.arange(position, position + len(tokens))
        position += len(tokens)
        out = session.run("decoder", {"input_ids": np.array([tokens]), "cache_position": positions,
                                      "encoder_hidden_states": encoded})
        steps.append(out["logits"])
    return steps, encoded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sizes", SIZES, ids=["base-like", "turbo-like"])
def test_a_folder_gives_the_logits_of_transformers(sizes, dtype, tmp_path):
    model = random_whisper(sizes).to(dtype)
    model.save_pretrained(tmp_path, max_shard_size="50KB" if dtype == torch.float32 else "5GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (dtype == torch.float32)
    model = model.float()
    session = crosslatch.load(str(tmp_path)).session()
    for seed in range(2):
        features = torch.randn(1, sizes["num_mel_bins"], 60, generator=torch.Generator().manual_seed(seed))
        expected, encoded = logits_of_transformers(model, features)
        got, ours = logits_of_crosslatch(session, features)
        np.testing.assert_allclose(ours, encoded, atol=1e-4)
        for step, (a, b) in enumerate(zip(got, expected)):
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=f"input {seed}, step {step}")
        session.reset()


def test_another_family_is_refused_with_the_command_that_helps(tmp_path):
    random_whisper(SIZES[0]).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "whisper"', '"model_type": "led"'))
    with pytest.raises(crosslatch.Error, match="type `led`.*crosslatch-export"):
        crosslatch.load(str(tmp_path))
