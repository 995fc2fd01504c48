"""Hugging Face models as `.pte` files: the tokens' scores are transformers' for two inputs in a row."""

import pytest
import torch

pytest.importorskip("executorch.exir")

import transformers  # noqa: E402
from crosslatch.executorch.exporting import export_pte  # noqa: E402
from executorch.runtime import Runtime  # noqa: E402

from . import plans  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 200,
         "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 1}
SOURCE, TOKENS = 19, 32


def whisper():
    return transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        max_source_positions=50, max_target_positions=TOKENS, bos_token_id=1, **SIZES))


def marian():
    return transformers.MarianMTModel(transformers.MarianConfig(max_position_embeddings=64, **SIZES))


def t5():
    return transformers.T5ForConditionalGeneration(transformers.T5Config(
        d_model=64, d_kv=16, num_heads=4, d_ff=96, num_layers=1, num_decoder_layers=2, vocab_size=200))


def sources(kind, seed):
    torch.manual_seed(seed)
    if kind is whisper:
        return [torch.randn(1, 80, 100)], {}
    mask = torch.ones(1, SOURCE, dtype=torch.int64)
    mask[:, 11 + seed:] = 0
    return [torch.randint(3, 200, (1, SOURCE)), mask], {"attention_mask": mask}


@pytest.mark.parametrize("kind, delegated", [
    (whisper, False), (whisper, True), (marian, True), (t5, True)],
    ids=["whisper-portable", "whisper-xnnpack", "marian-xnnpack", "t5-xnnpack"])
@torch.no_grad()
def test_a_model_gives_the_scores_of_transformers(kind, delegated, tmp_path):
    torch.manual_seed(0)
    model = kind().eval()
    lowered = export_pte(model, tmp_path / "m.pte", max_tokens=TOKENS,
                         max_source=None if kind is whisper else SOURCE,
                         partitioner=None if delegated else [], say=lambda line: None)
    assert (tmp_path / "config.json").exists()
    # A later step reads the caches of the cross-attention where they lie.
    latched = {n for n in lowered.reports["decoder"].buffers if n.startswith("latched.")}
    assert latched and latched == set(lowered.reports["latch"].buffers)
    assert plans.copied(lowered, "decoder", only=latched) == 0
    program = Runtime.get().load_program(tmp_path / "m.pte")
    encoder, latch, decoder = map(program.load_method, ("encoder", "latch", "decoder"))
    for seed in (1, 2):
        inputs, masks = sources(kind, seed)
        (states,) = encoder.execute(inputs)
        latch.execute([states])
        tokens = torch.randint(3, 200, (1, 6))
        encoded = model.get_encoder()(inputs[0], **masks)
        expected = model(encoder_outputs=encoded, decoder_input_ids=tokens, **masks).logits
        for i in range(6):
            (scores,) = decoder.execute([tokens[:, i:i + 1], torch.tensor([i]), *masks.values()])
            torch.testing.assert_close(scores[:, 0], expected[:, i], rtol=1e-3, atol=1e-4)
