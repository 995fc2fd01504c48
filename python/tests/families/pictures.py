"""Pictures to text."""

import torch
import transformers

from .family import DECODES, LENGTHS, SIZES, STACK, VOCABULARY, Family, config, values

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


def patches(index, generator):
    """A picture of some patches, each with its row and column, and padding behind the last."""
    count = LENGTHS[index]
    drawn = torch.randn(1, count, 2 + 32, generator=generator)
    drawn[..., :2] = torch.randint(0, 9, (1, count, 2), generator=generator)
    mask = torch.ones(1, count, dtype=torch.int64)
    if index == 2:
        mask[:, -2:] = 0
    return {"flattened_patches": drawn, "attention_mask": mask}


PLACES, PICTURE = 65, 98  # of Florence's pictures in a text, and the token there


def text_behind_picture(index, generator):
    ids = torch.randint(3, PICTURE, (1, PLACES + LENGTHS[index]), generator=generator)
    ids[:, :PLACES] = PICTURE
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids),
            "pixel_values": torch.randn(1, 3, 32, 32, generator=generator)}


def florence_states(model, inputs):
    return model(**inputs, decoder_input_ids=torch.ones(1, 1, dtype=torch.int64)).encoder_last_hidden_state


PICTURES = [
    picture_to_text("TrOCR", VIT, config("TrOCRConfig", **READS_PICTURES,
                                         cross_attention_hidden_size=32)),
    picture_to_text("Donut, Nougat", SWIN, config("MBartConfig", **READS_PICTURES)),
    picture_to_text("ViT to GPT-2", VIT, config(
        "GPT2Config", **DECODES, vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4,
        n_positions=64, bos_token_id=1, eos_token_id=2)),
    Family("Pix2Struct", "Pix2StructForConditionalGeneration", config(
        "Pix2StructConfig",
        text_config=dict(vocab_size=VOCABULARY, hidden_size=32, d_kv=8, d_ff=48, num_layers=2,
                         num_heads=4, decoder_start_token_id=0),
        vision_config=dict(hidden_size=32, patch_embed_hidden_size=32, d_ff=48, d_kv=8,
                           num_hidden_layers=1, num_attention_heads=4, seq_len=64),
        decoder_start_token_id=0), patches, {"max_tokens": 64, "max_source": 64}),
    Family("Florence-2", "Florence2ForConditionalGeneration", config(
        "Florence2Config",
        text_config=dict(SIZES, model_type="bart", max_position_embeddings=96),
        vision_config=dict(depths=(1,), patch_size=(7,), patch_stride=(4,), patch_padding=(3,),
                           patch_prenorm=(False,), embed_dim=(8,), num_heads=(2,),
                           num_groups=(2,), window_size=4, projection_dim=32, image_size=32),
        image_token_id=PICTURE), text_behind_picture, states=florence_states),
    Family("PP-FormulaNet", "PPFormulaNetForConditionalGeneration", config(
        "PPFormulaNetConfig",
        text_config={k: v for k, v in READS_PICTURES.items() if k not in DECODES},
        vision_config=dict(
            hidden_size=32, output_channels=16, num_hidden_layers=1, num_attention_heads=4,
            image_size=32, patch_size=4, mlp_dim=48, window_size=4, global_attn_indexes=[0],
            post_conv_in_channels=16, post_conv_mid_channels=16, post_conv_out_channels=16,
            decoder_hidden_size=32)), values("pixel_values", (1, 3, 32, 32)),
        states=lambda model, inputs: model.get_encoder()(**inputs).pooler_output),
    picture_to_text("ViT to BERT", VIT, config("BertConfig", **STACK, **DECODES)),
]
