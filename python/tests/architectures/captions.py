"""Pictures to text."""

import torch

from families.family import DECODES, SIZES, STACK, VOCABULARY
from families.pictures import READS_PICTURES, SWIN, VIT

from .architecture import (LENGTHS, TARGET, Architecture, Drawn, configured, made, mask, numbers,
                           picture, tokens)

SEES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            image_size=32, patch_size=8)
PICTURE = 98  # the token in whose places a picture's features are put
READS = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=64)
GPT2 = configured("GPT2Config", **DECODES, vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4,
                  n_positions=64, bos_token_id=1, eos_token_id=2)
TROCR = configured("TrOCRConfig", **READS_PICTURES, cross_attention_hidden_size=32)


def patches(shape, generator):
    """Row, column and colours of each patch."""
    drawn = torch.randn(shape, generator=generator)
    drawn[..., :2] = torch.randint(1, 9, [*shape[:2], 2], generator=generator)
    return drawn


def first_four_are_pictures(shape, generator):
    return (torch.arange(shape[1]) < 4).long().expand(shape).contiguous()


def tokens_behind(places):
    """A text behind the places of a picture."""
    def draw(shape, generator):
        ids = torch.randint(3, PICTURE, shape, generator=generator)
        ids[:, :places] = PICTURE
        return ids
    return Drawn((2, tuple(places + length for length in LENGTHS)), draw)


def captioned(name, encoder, decoder):
    return Architecture(name, made(
        "VisionEncoderDecoderModel", "VisionEncoderDecoderConfig",
        encoder=lambda: encoder().to_dict(), decoder=lambda: decoder().to_dict(),
        decoder_start_token_id=1, pad_token_id=0),
        {"pixel_values": picture(), **TARGET, "use_cache": False}, latched=("pixel_values",))


CAPTIONS = [
    captioned("TrOCR", VIT, TROCR),
    captioned("ViT to GPT-2", VIT, GPT2),
    captioned("ViT to BERT", VIT, configured("BertConfig", **STACK, **DECODES)),
    captioned("Donut, Nougat", SWIN, configured("MBartConfig", **READS_PICTURES)),
    Architecture("Pix2Struct", made(
        "Pix2StructForConditionalGeneration", "Pix2StructConfig",
        text_config=dict(vocab_size=VOCABULARY, hidden_size=32, d_kv=8, d_ff=48, num_layers=2,
                         num_heads=4, decoder_start_token_id=0),
        vision_config=dict(hidden_size=32, patch_embed_hidden_size=32, d_ff=48, d_kv=8,
                           num_hidden_layers=1, num_attention_heads=4, seq_len=64)), {
        "flattened_patches": Drawn((2, LENGTHS, 2 + 32), patches),
        "attention_mask": mask(), **TARGET, "use_cache": False},
        latched=("flattened_patches", "attention_mask")),
    Architecture("BLIP, captions", made(
        "BlipForConditionalGeneration", "BlipConfig",
        text_config=dict(READS, encoder_hidden_size=32), vision_config=SEES, projection_dim=16),
        {"pixel_values": picture(), "input_ids": tokens(), "attention_mask": mask()},
        latched=("pixel_values",)),
    Architecture("BLIP-2", made(
        "Blip2ForConditionalGeneration", "Blip2Config",
        vision_config=SEES, qformer_config=dict(READS, encoder_hidden_size=32), num_query_tokens=4,
        image_text_hidden_size=16, image_token_index=PICTURE,
        text_config=dict(model_type="opt", vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48,
                         num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
                         word_embed_proj_dim=32)),
        {"pixel_values": picture(), "input_ids": tokens(vocabulary=PICTURE), "use_cache": False},
        latched=("pixel_values",)),
    Architecture("GIT", made("GitForCausalLM", "GitConfig", **READS, vision_config=SEES),
                 {"input_ids": tokens(), "pixel_values": picture(), "use_cache": False},
                 latched=("pixel_values",)),
    Architecture("Kosmos-2", made(
        "Kosmos2ForConditionalGeneration", "Kosmos2Config",
        text_config=dict(vocab_size=VOCABULARY, embed_dim=32, layers=2, ffn_dim=48,
                         attention_heads=4, max_position_embeddings=64),
        vision_config=SEES, latent_query_num=4), {
        "pixel_values": picture(), "input_ids": tokens(),
        "image_embeds_position_mask": Drawn((2, LENGTHS), first_four_are_pictures),
        "use_cache": False}, latched=("pixel_values",)),
    Architecture("Florence-2", made(
        "Florence2ForConditionalGeneration", "Florence2Config",
        text_config=dict(SIZES, model_type="bart", max_position_embeddings=128),
        vision_config=dict(depths=(1,), patch_size=(7,), patch_stride=(4,), patch_padding=(3,),
                           patch_prenorm=(False,), embed_dim=(8,), num_heads=(2,), num_groups=(2,),
                           window_size=4, projection_dim=32), image_token_id=PICTURE), {
        "input_ids": tokens_behind(65), "pixel_values": picture(), **TARGET,
        "use_cache": False}, latched=("input_ids", "pixel_values")),
    Architecture("LLaVA", made(
        "LlavaForConditionalGeneration", "LlavaConfig",
        vision_config=dict(SEES, model_type="clip_vision_model"), image_token_index=PICTURE,
        text_config=dict(READS, model_type="llama", num_key_value_heads=2)),
        {"input_ids": tokens_behind(16), "pixel_values": picture(), "use_cache": False},
        latched=("pixel_values",)),
    Architecture("PP-FormulaNet", made(
        "PPFormulaNetForConditionalGeneration", "PPFormulaNetConfig",
        text_config={k: v for k, v in READS_PICTURES.items() if k not in DECODES},
        vision_config=dict(
            hidden_size=32, output_channels=16, num_hidden_layers=1, num_attention_heads=4,
            image_size=32, patch_size=4, mlp_dim=48, window_size=4, global_attn_indexes=[0],
            post_conv_in_channels=16, post_conv_mid_channels=16, post_conv_out_channels=16,
            decoder_hidden_size=32)),
        {"pixel_values": picture(), **TARGET, "use_cache": False}, latched=("pixel_values",)),
]
