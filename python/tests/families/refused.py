"""Families that `crosslatch.export` refuses, each with a part of the reason."""

from .family import (DECODER_LAYERS, DECODES, SIZES, STACK, VOCABULARY, Family, config, seq2seq,
                     t5, text)
from .pictures import READS_PICTURES


def refused(family, reason):
    family.reason = reason
    return family


REFUSED = [
    refused(t5("LongT5", "LongT5Config", "LongT5ForConditionalGeneration", local_radius=4,
               encoder_attention_type="local"), "encoder cannot be traced"),
    refused(seq2seq("PegasusX", "PegasusXConfig", "PegasusXForConditionalGeneration",
                    max_position_embeddings=64, block_size=8, num_global_tokens=4),
            "encoder cannot be traced"),
    refused(Family("ProphetNet", "ProphetNetForConditionalGeneration", config(
        "ProphetNetConfig", vocab_size=VOCABULARY, hidden_size=32, num_encoder_layers=1,
        num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64,
        decoder_start_token_id=1), text()), "decoder cannot be traced"),
    refused(t5("SwitchTransformers", "SwitchTransformersConfig",
               "SwitchTransformersForConditionalGeneration", num_sparse_encoder_layers=1,
               num_sparse_decoder_layers=1, num_experts=2), "mixture of experts"),
    refused(Family("Pix2Struct", "Pix2StructForConditionalGeneration", config(
        "Pix2StructConfig",
        text_config=dict(vocab_size=VOCABULARY, hidden_size=32, d_kv=8, d_ff=48, num_layers=2,
                         num_heads=4, decoder_start_token_id=0),
        vision_config=dict(hidden_size=32, patch_embed_hidden_size=32, d_ff=48, d_kv=8,
                           num_hidden_layers=1, num_attention_heads=4, seq_len=64)), text()),
        "flattened_patches"),
    refused(Family("Florence2", "Florence2ForConditionalGeneration", config(
        "Florence2Config",
        text_config=dict(SIZES, model_type="bart", max_position_embeddings=64),
        vision_config=dict(depths=(1,), patch_size=(7,), patch_stride=(4,), patch_padding=(3,),
                           patch_prenorm=(False,), embed_dim=(8,), num_heads=(2,),
                           num_groups=(2,), window_size=4, projection_dim=32)), text()),
        "pictures together"),
    refused(Family("UDOP", "UdopForConditionalGeneration", config(
        "UdopConfig", vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2,
        num_heads=4, image_size=32, decoder_start_token_id=0), text()), "Bbox is required"),
    refused(Family("Pop2Piano", "Pop2PianoForConditionalGeneration", config(
        "Pop2PianoConfig", vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48,
        num_layers=DECODER_LAYERS, num_heads=4, decoder_start_token_id=0), text()), "'input_features'"),
    refused(Family("Dia", "DiaForConditionalGeneration", config(
        "DiaConfig",
        encoder_config=dict(STACK, num_key_value_heads=4, head_dim=8),
        decoder_config=dict(STACK, num_key_value_heads=2, head_dim=8,
                            cross_num_attention_heads=4, cross_head_dim=8,
                            cross_num_key_value_heads=4, cross_hidden_size=32, num_channels=2,
                            pad_token_id=0, eos_token_id=2, bos_token_id=1),
        delay_pattern=[0, 1]), text()), "tokens of shape"),
    refused(Family("FSMT", "FSMTForConditionalGeneration", config("FSMTConfig", **dict(
        SIZES, src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY), max_position_embeddings=64),
        text()), "decoder cannot be traced"),
    refused(seq2seq("NLLB, mixture of experts", "NllbMoeConfig", "NllbMoeForConditionalGeneration",
                    num_experts=2, expert_capacity=8, encoder_sparse_step=1, decoder_sparse_step=2,
                    max_position_embeddings=64), "mixture of experts"),
    refused(seq2seq("LED", "LEDConfig", "LEDForConditionalGeneration", attention_window=4,
                    max_encoder_position_embeddings=64, max_decoder_position_embeddings=64),
            "encoder cannot be traced"),
    refused(Family("PP-FormulaNet", "PPFormulaNetForConditionalGeneration", config(
        "PPFormulaNetConfig",
        text_config={k: v for k, v in READS_PICTURES.items() if k not in DECODES},
        vision_config=dict(
            hidden_size=32, output_channels=16, num_hidden_layers=1, num_attention_heads=4,
            image_size=32, patch_size=4, mlp_dim=48, window_size=4, global_attn_indexes=[0],
            post_conv_in_channels=16, post_conv_mid_channels=16, post_conv_out_channels=16,
            decoder_hidden_size=32)), text()), "encoder's output has the shape"),
]
