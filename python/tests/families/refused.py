"""Families that `crosslatch.export` refuses, each with a part of the reason."""

from .family import STACK, VOCABULARY, Family, config, text


def refused(family, reason):
    family.reason = reason
    return family


REFUSED = [
    refused(Family("ProphetNet", "ProphetNetForConditionalGeneration", config(
        "ProphetNetConfig", vocab_size=VOCABULARY, hidden_size=32, num_encoder_layers=1,
        num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64,
        decoder_start_token_id=1), text()), "decoder cannot be traced"),
    refused(Family("Dia", "DiaForConditionalGeneration", config(
        "DiaConfig",
        encoder_config=dict(STACK, num_key_value_heads=4, head_dim=8),
        decoder_config=dict(STACK, num_key_value_heads=2, head_dim=8,
                            cross_num_attention_heads=4, cross_head_dim=8,
                            cross_num_key_value_heads=4, cross_hidden_size=32, num_channels=2,
                            pad_token_id=0, eos_token_id=2, bos_token_id=1),
        delay_pattern=[0, 1]), text()), "tokens of shape"),
]
