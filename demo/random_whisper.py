"""Exports a Whisper with random weights, for tests that compare engines.

    python demo/random_whisper.py OUT.pt2 [--size tiny|base|small-test] [--no-decompose] [--seed N]

`tiny` and `base` have the real sizes, 30 s window included; `small-test` has odd ones (a head of
12, a window of 1 s, layers that differ between encoder and decoder) so that nothing fits a
register or a tile by luck.  The export is the demo's, so are the extra files; the tokenizer is the
demo's as well, whatever the size of the vocabulary: it makes the file complete, not meaningful.
`--no-decompose` saves the program as it was traced, in-place operators included.
"""

import argparse
from pathlib import Path

import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from export import pack
from grammar import Language
from model import make_config, make_generation_config
from programs import export_programs
from tokenizer import make_tokenizer

SIZES = {
    "tiny": dict(d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
                 decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536,
                 vocab_size=51865, max_source_positions=1500, max_target_positions=448),
    "base": dict(d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
                 decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048,
                 vocab_size=51865, max_source_positions=1500, max_target_positions=448),
    "small-test": dict(d_model=36, encoder_layers=2, decoder_layers=3, encoder_attention_heads=3,
                       decoder_attention_heads=3, encoder_ffn_dim=70, decoder_ffn_dim=52,
                       max_source_positions=50, max_target_positions=71),
}


def make_random(size, tokenizer, seed):
    """A model whose weights are large enough that its logits tell tokens apart."""
    torch.manual_seed(seed)
    base = make_config(tokenizer).to_dict()
    model = WhisperForConditionalGeneration(WhisperConfig(**{**base, **SIZES[size]})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("layer_norm.weight"):
                weight.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
            elif weight.requires_grad:  # the encoder's sinusoids are not
                weight.mul_(3)
    return model


def main():
    parser = argparse.ArgumentParser(description="Export a Whisper with random weights.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small-test")
    parser.add_argument("--no-decompose", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tokenizer = make_tokenizer(Language().words)
    model = make_random(arguments.size, tokenizer, arguments.seed)
    generation = make_generation_config(tokenizer)
    generation.max_length = model.config.max_target_positions
    extractor = WhisperFeatureExtractor(feature_size=80, n_fft=400, hop_length=160,
                                        chunk_length=model.config.max_source_positions // 50)
    pack(arguments.output, export_programs(model, not arguments.no_decompose), tokenizer,
         model.config, generation, extractor)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
