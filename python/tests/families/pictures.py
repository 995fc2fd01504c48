"""Pictures to text."""

import transformers

from .family import DECODES, STACK, VOCABULARY, Family, config, values

READS_PICTURES = dict(DECODES, vocab_size=VOCABULARY, d_model=32, decoder_layers=2,
                      decoder_attention_heads=4, decoder_ffn_dim=48, max_position_embeddings=64,
                      pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
VIT = config("ViTConfig", hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
             intermediate_size=48, image_size=32, patch_size=8)
SWIN = config("DonutSwinConfig", image_size=32, patch_size=2, embed_dim=8, depths=[1, 1],
              num_heads=[2, 2], window_size=4)


def picture_to_text(name, encoder, decoder):
    both = lambda: transformers.VisionEncoderDecoderConfig(
        encoder=encoder().to_dict(), decoder=decoder().to_dict(), decoder_start_token_id=1,
        pad_token_id=0)
    return Family(name, "VisionEncoderDecoderModel", both, values("pixel_values", (1, 3, 32, 32)))


PICTURES = [
    picture_to_text("TrOCR", VIT, config("TrOCRConfig", **READS_PICTURES,
                                         cross_attention_hidden_size=32)),
    picture_to_text("Donut, Nougat", SWIN, config("MBartConfig", **READS_PICTURES)),
    picture_to_text("ViT to GPT-2", VIT, config(
        "GPT2Config", **DECODES, vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4,
        n_positions=64, bos_token_id=1, eos_token_id=2)),
    picture_to_text("ViT to BERT", VIT, config("BertConfig", **STACK, **DECODES)),
]
