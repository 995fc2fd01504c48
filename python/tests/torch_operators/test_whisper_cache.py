"""Hugging Face Whisper with the conditional cache gives the results of the plain model.

Two audios are decoded one after the other with the same caches, which nobody clears: only the
position goes back to 0.  Where sizes may differ, the second audio is shorter.
"""

import copy

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.cache_utils import EncoderDecoderCache, StaticCache

from crosslatch.hf import use_conditional_cache
from crosslatch.torch_operators import autograd

POSITIONS, SOURCE, STEPS = 16, 24, 6


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8,
        max_source_positions=SOURCE, max_target_positions=POSITIONS, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=3)
    plain = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            if weight.dim() > 1 and "embed_positions" not in name:
                weight.mul_(8)
    return plain, use_conditional_cache(copy.deepcopy(plain))


class Decoder(torch.nn.Module):
    """One step, with the caches as buffers, the way it is exported."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        config = model.config
        own = StaticCache(config=config, max_cache_len=POSITIONS)
        cross = StaticCache(config=config, max_cache_len=SOURCE)
        heads, size = config.decoder_attention_heads, config.d_model // config.decoder_attention_heads
        for name, cache in (("own", own), ("cross", cross)):
            for i, layer in enumerate(cache.layers):
                empty = torch.zeros(1, heads, 1, size)
                layer.lazy_initialization(empty, empty)
                for part in ("keys", "values", "cumulative_length"):
                    self.register_buffer(f"{name}_{i}_{part}", getattr(layer, part))
        self.caches = EncoderDecoderCache(own, cross)

    def forward(self, ids, position, states):
        for name, cache in (("own", self.caches.self_attention_cache),
                            ("cross", self.caches.cross_attention_cache)):
            for i, layer in enumerate(cache.layers):
                for part in ("keys", "values", "cumulative_length"):
                    setattr(layer, part, getattr(self, f"{name}_{i}_{part}"))
        for layer in self.caches.self_attention_cache.layers:
            layer.cumulative_length.copy_(position)
        hidden = self.model.model.decoder(
            input_ids=ids, encoder_hidden_states=states, past_key_values=self.caches,
            use_cache=True).last_hidden_state
        return self.model.proj_out(hidden)


def audios(second):
    torch.manual_seed(1)
    for rows in (SOURCE, second):
        yield 3 * torch.randn(1, rows, 32), torch.randint(4, 64, (1, STEPS))


@pytest.mark.parametrize("mode", ["eager", "compiled", "exported", "decomposed", "packaged"])
@torch.no_grad()
def test_two_audios_in_a_row(models, mode, tmp_path):
    plain, conditional = models
    step = Decoder(conditional)
    example = (torch.tensor([[5]]), torch.tensor(0), torch.randn(1, SOURCE, 32))
    if mode == "compiled":
        torch._dynamo.reset()
        step = torch.compile(step, fullgraph=True)
    elif mode != "eager":
        program = torch.export.export(step, example)
        if mode == "exported":
            step = program.module()
        elif mode == "decomposed":
            step = program.run_decompositions({}).module()
        else:
            step = torch._inductor.aoti_load_package(torch._inductor.aoti_compile_and_package(
                program, package_path=str(tmp_path / "step.pt2")))
    for states, ids in audios(SOURCE - 7 if mode in ("eager", "compiled") else SOURCE):
        expected = plain.proj_out(plain.model.decoder(
            input_ids=ids, encoder_hidden_states=states, use_cache=False).last_hidden_state)
        assert expected.std() > 0.1
        for i in range(STEPS):
            logits = step(ids[:, i:i + 1], torch.tensor(i), states)
            torch.testing.assert_close(logits[:, 0], expected[:, i], rtol=1e-3, atol=1e-3)
            # Later steps must not need the states: their keys and values are there already.
            states = torch.full_like(states, 1e4)


@torch.no_grad()
def test_generate_twice(models):
    plain, conditional = models
    for seed, options in ((2, {}), (3, {}), (4, {"cache_implementation": "static"}),
                          (5, {"cache_implementation": "static"})):
        torch.manual_seed(seed)
        features = torch.randn(1, 8, 2 * SOURCE)
        a, b = (model.generate(features, max_new_tokens=8, do_sample=False, **options)
                for model in (plain, conditional))
        assert torch.equal(a, b)


def caches(config):
    """Caches of fixed size, as generation makes them."""
    return EncoderDecoderCache(StaticCache(config=config, max_cache_len=POSITIONS),
                               StaticCache(config=config, max_cache_len=SOURCE))


def trained(model, way):
    """The losses and weights of three steps of an optimiser."""
    model = copy.deepcopy(model).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    run, losses = model, []
    if way == "compiled":
        torch._dynamo.reset()
        run = torch.compile(model, backend="aot_eager")
    for step in range(3):
        torch.manual_seed(10 + step)
        features, labels = torch.randn(2, 8, 2 * SOURCE), torch.randint(4, 64, (2, STEPS))
        options = {"use_cache": False}
        if way != "no caches":
            options = {"use_cache": True, "past_key_values": caches(model.config)}
        loss = run(features, labels=labels, **options).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses), {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("way", ["no caches", "caches of fixed size", "compiled"])
def test_fine_tuning_gives_the_weights_of_the_plain_model(models, way, monkeypatch):
    plain, conditional = models
    conds, assigning = [], autograd.assigning
    monkeypatch.setattr(autograd, "assigning",
                        lambda *args: conds.append(args) or assigning(*args))
    before = dict(plain.named_parameters())
    losses, weights = trained(plain, "no caches")
    assert not torch.equal(weights["model.decoder.layers.1.encoder_attn.k_proj.weight"],
                           before["model.decoder.layers.1.encoder_attn.k_proj.weight"])
    torch.testing.assert_close(trained(conditional, way), (losses, weights), rtol=1e-3, atol=1e-4)
    # Compiled, the decision is in the graph, once for each layer of the decoder at least.
    assert way != "compiled" or len(conds) >= 2


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="Linear has no Whisper decoder"):
        use_conditional_cache(torch.nn.Linear(1, 1))
