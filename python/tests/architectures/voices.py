"""Sound out: speech, music, codes of sound."""

import torch

from families.family import SIZES, STACK, VOCABULARY

from .architecture import LENGTHS, Architecture, Drawn, made, mask, numbers, part_of, tokens

UPSAMPLES = dict(upsample_initial_channel=16, upsample_rates=(4, 4), upsample_kernel_sizes=(8, 8),
                 resblock_kernel_sizes=(3, 5), resblock_dilation_sizes=((1, 3), (1, 3)))
BARK = dict(block_size=64, input_vocab_size=VOCABULARY, output_vocab_size=VOCABULARY, num_layers=2,
            num_heads=4, hidden_size=32)
VITS = made("VitsModel", "VitsConfig", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2,
            num_attention_heads=4, ffn_dim=48, flow_size=32, spectrogram_bins=17,
            duration_predictor_filter_channels=16, depth_separable_num_layers=2,
            duration_predictor_num_flows=2, prior_encoder_num_flows=2,
            prior_encoder_num_wavenet_layers=2, posterior_encoder_num_wavenet_layers=2, **UPSAMPLES)
SPEECHT5 = dict(SIZES, hidden_size=32, num_mel_bins=16, speech_decoder_prenet_units=32,
                speech_decoder_postnet_units=32, speaker_embedding_dim=16, max_text_positions=64,
                max_speech_positions=64, conv_dim=(16, 16), conv_stride=(8, 8), conv_kernel=(10, 8))
ONES = Drawn((2, 1, (21, 30, 13)), lambda shape, generator: torch.ones(shape))


def speecht5():
    """Without the dropout that its prenet keeps in inference: that is random."""
    model = made("SpeechT5ForTextToSpeech", "SpeechT5Config", **SPEECHT5)()
    model.speecht5.decoder.prenet._consistent_dropout = lambda states, share: states
    return model


VOICES = [
    Architecture("VITS, text encoder", part_of(VITS, "text_encoder"), {
        "input_ids": tokens(), "padding_mask": numbers(2, LENGTHS, 1), "attention_mask": mask()}),
    Architecture("VITS, flow", part_of(VITS, "flow"), {
        "inputs": numbers(2, 32, (21, 30, 13)), "padding_mask": ONES, "reverse": True}),
    Architecture("VITS, decoder", part_of(VITS, "decoder"),
                 {"spectrogram": numbers(2, 32, (21, 30, 13))}),
    Architecture("VITS, whole", VITS, {"input_ids": tokens(batch=1)}),
    Architecture("HiFi-GAN", made("SpeechT5HifiGan", "SpeechT5HifiGanConfig", model_in_dim=16,
                                  **UPSAMPLES), {"spectrogram": numbers(2, (21, 30, 13), 16)}),
    Architecture("UnivNet", made("UnivNetModel", "UnivNetConfig", model_in_channels=8,
                                 model_hidden_channels=8, num_mel_bins=16,
                                 resblock_kernel_sizes=(3, 3, 3), resblock_stride_sizes=(2, 2, 2),
                                 resblock_dilation_sizes=((1, 3), (1, 3), (1, 3)),
                                 kernel_predictor_hidden_channels=8), {
        "input_features": numbers(1, 20, 16), "noise_sequence": numbers(1, 20, 8)}),
    Architecture("SpeechT5, text to speech", speecht5, {
        "input_ids": tokens(), "attention_mask": mask(),
        "decoder_input_values": numbers(2, (6, 8, 4), 16),
        "speaker_embeddings": numbers(2, 16), "use_cache": False},
        latched=("input_ids", "attention_mask")),
    Architecture("FastSpeech 2 with Conformer", made(
        "FastSpeech2ConformerModel", "FastSpeech2ConformerConfig", vocab_size=VOCABULARY,
        hidden_size=32, num_mel_bins=16, encoder_layers=1, decoder_layers=1,
        encoder_num_attention_heads=4, decoder_num_attention_heads=4, encoder_linear_units=48,
        decoder_linear_units=48, speech_decoder_postnet_units=16, duration_predictor_channels=16,
        energy_predictor_channels=16, pitch_predictor_channels=16), {"input_ids": tokens(batch=1)}),
    Architecture("MusicGen, decoder", made(
        "MusicgenForCausalLM", "MusicgenDecoderConfig", vocab_size=VOCABULARY, hidden_size=32,
        num_hidden_layers=2, ffn_dim=48, num_attention_heads=4, num_codebooks=2,
        max_position_embeddings=64, add_cross_attention=True, pad_token_id=0, bos_token_id=1), {
        "input_ids": tokens(length=(5, 7, 4), batch=4),
        "encoder_hidden_states": numbers(2, LENGTHS, 32),
        "encoder_attention_mask": mask(), "use_cache": False},
        latched=("encoder_hidden_states", "encoder_attention_mask")),
    Architecture("Bark, semantic and coarse", made("BarkSemanticModel", "BarkSemanticConfig", **BARK),
                 {"input_ids": tokens(), "use_cache": False}),
    Architecture("Bark, fine", made("BarkFineModel", "BarkFineConfig", **BARK, n_codes_total=4), {
        "codebook_idx": 2, "input_ids": Drawn((1, LENGTHS, 4), lambda shape, generator:
                                              torch.randint(0, VOCABULARY, shape, generator=generator))}),
    Architecture("EnCodec, decoder", part_of(made(
        "EncodecModel", "EncodecConfig", num_filters=4, hidden_size=16, codebook_dim=16,
        upsampling_ratios=[4, 2], num_lstm_layers=1), "decoder"),
        {"hidden_states": numbers(2, 16, (9, 14, 6))}),
    Architecture("EnCodec, encoder", part_of(made(
        "EncodecModel", "EncodecConfig", num_filters=4, hidden_size=16, codebook_dim=16,
        upsampling_ratios=[4, 2], num_lstm_layers=1), "encoder"),
        {"hidden_states": numbers(2, 1, 160)}),
    Architecture("DAC, decoder", part_of(made(
        "DacModel", "DacConfig", encoder_hidden_size=4, decoder_hidden_size=16,
        downsampling_ratios=[2, 4], upsampling_ratios=[4, 2], n_codebooks=2, codebook_size=32,
        codebook_dim=4), "decoder"), {"hidden_state": numbers(2, 16, (9, 14, 6))}),
    Architecture("Pop2Piano", made(
        "Pop2PianoForConditionalGeneration", "Pop2PianoConfig", vocab_size=VOCABULARY, d_model=32,
        d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0), {
        "inputs_embeds": numbers(2, LENGTHS, 32), "attention_mask": mask(),
        "decoder_input_ids": tokens((5, 7, 4)), "use_cache": False},
        latched=("inputs_embeds", "attention_mask")),
    Architecture("Dia", made(
        "DiaForConditionalGeneration", "DiaConfig",
        encoder_config=dict(STACK, num_key_value_heads=4, head_dim=8),
        decoder_config=dict(STACK, num_key_value_heads=2, head_dim=8, cross_num_attention_heads=4,
                            cross_head_dim=8, cross_num_key_value_heads=4, cross_hidden_size=32,
                            num_channels=2, pad_token_id=0, eos_token_id=2, bos_token_id=1),
        delay_pattern=[0, 1]), {
        "input_ids": tokens(), "attention_mask": mask(),
        "decoder_input_ids": Drawn((2, (5, 7, 4), 2), lambda shape, generator: torch.randint(
            3, VOCABULARY, shape, generator=generator)), "use_cache": False},
        latched=("input_ids", "attention_mask")),
]
