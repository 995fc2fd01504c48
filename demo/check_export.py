"""Compares an exported file's programs with the eager model, step by step.

`python demo/check_export.py` loads demo/model.pt2 and the checkpoint in demo/build, feeds both
the same features and tokens, prompt at once and then one token at a time, and prints the largest
difference of the logits.  The second window in the same program shows that the caches of the
first are not used again.
"""

import argparse
from pathlib import Path

import torch
from torch.export.pt2_archive._package import load_pt2

from evaluate import BUILD, load_trained
from model import make_generation_config
import programs as _  # noqa: F401  defines the two operators


def operators(program):
    """Every node target of a program, its branches included."""
    return sorted({str(node.target) for module in program.graph_module.modules()
                   if isinstance(module, torch.fx.GraphModule)
                   for node in module.graph.nodes if node.op == "call_function"})


def rate_of_difference(model, encoder, decoder, features, prompt, steps):
    expected_states = model.model.encoder(features).last_hidden_state
    states = encoder(features)
    worst = (states - expected_states).abs().max().item()
    ids, new = torch.tensor([prompt]), torch.tensor([prompt])
    for _ in range(steps):
        position = torch.arange(ids.shape[1] - new.shape[1], ids.shape[1])
        logits = decoder(new, position, states)
        hidden = model.model.decoder(ids, encoder_hidden_states=expected_states, use_cache=False)
        expected = model.proj_out(hidden.last_hidden_state)[:, -new.shape[1] :]
        worst = max(worst, (logits - expected).abs().max().item())
        new = expected[:, -1:].argmax(-1)
        ids = torch.cat([ids, new], 1)
    return worst


def main():
    parser = argparse.ArgumentParser(description="Compare an exported model with the eager one.")
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("model.pt2"))
    parser.add_argument("--build", type=Path, default=BUILD)
    arguments = parser.parse_args()
    model, tokenizer = load_trained(arguments.build)
    generation = make_generation_config(tokenizer)
    prompt = [generation.decoder_start_token_id] + [i for _, i in generation.forced_decoder_ids]
    archive = load_pt2(str(arguments.model))
    loaded = {name: archive.exported_programs[name] for name in ("encoder", "decoder")}
    for name, program in loaded.items():
        print(name, *operators(program), sep="\n  ")
    encoder, decoder = (loaded[name].module() for name in ("encoder", "decoder"))
    torch.manual_seed(0)
    with torch.inference_mode():
        for window in range(2):
            features = torch.randn(1, 80, 2 * model.config.max_source_positions)
            worst = rate_of_difference(model, encoder, decoder, features, prompt, 12)
            print(f"window {window}: largest difference {worst:.2e}")


if __name__ == "__main__":
    main()
