"""The demo model's shape: a small WhisperForConditionalGeneration and its configurations.

Everything that a decoder must know beside the weights is made here (model, generation and feature
extraction configs), complete as Whisper's own are, so that nothing about this model has to be
known by whoever runs it.
"""

from transformers import (GenerationConfig, WhisperConfig, WhisperFeatureExtractor,
                          WhisperForConditionalGeneration)

from tokenizer import SPECIAL, WINDOW_SECONDS

POSITIONS = WINDOW_SECONDS * 50  # encoder positions: 10 ms frames, halved by the second convolution
LONGEST_OUTPUT = 80


def special_ids(tokenizer):
    """Name without the bars → id, e.g. ids["transcribe"]."""
    return {text[2:-2]: tokenizer.token_to_id(text) for text in SPECIAL}


def make_config(tokenizer):
    ids = special_ids(tokenizer)
    return WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(), num_mel_bins=80, d_model=160,
        encoder_layers=4, encoder_attention_heads=5, encoder_ffn_dim=640,
        decoder_layers=2, decoder_attention_heads=5, decoder_ffn_dim=640,
        max_source_positions=POSITIONS, max_target_positions=LONGEST_OUTPUT,
        dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        pad_token_id=ids["endoftext"], bos_token_id=ids["endoftext"],
        eos_token_id=ids["endoftext"], decoder_start_token_id=ids["startoftranscript"],
        tie_word_embeddings=True)


def make_generation_config(tokenizer):
    ids = special_ids(tokenizer)
    space = tokenizer.token_to_id("Ġ")
    return GenerationConfig(
        decoder_start_token_id=ids["startoftranscript"], bos_token_id=ids["endoftext"],
        eos_token_id=ids["endoftext"], pad_token_id=ids["endoftext"],
        max_length=LONGEST_OUTPUT, is_multilingual=True,
        lang_to_id={"<|en|>": ids["en"]}, language="<|en|>", task="transcribe",
        task_to_id={"transcribe": ids["transcribe"], "translate": ids["translate"]},
        no_timestamps_token_id=ids["notimestamps"], prev_sot_token_id=ids["startofprev"],
        forced_decoder_ids=[[1, ids["en"]], [2, ids["transcribe"]], [3, ids["notimestamps"]]],
        max_initial_timestamp_index=50, return_timestamps=False,
        # <|endoftext|> may come first, unlike in Whisper: silence has an empty transcript here.
        begin_suppress_tokens=[space] if space is not None else [],
        suppress_tokens=sorted(i for name, i in ids.items() if name != "endoftext"))


def make_feature_extractor():
    return WhisperFeatureExtractor(feature_size=80, sampling_rate=16_000, hop_length=160,
                                   chunk_length=WINDOW_SECONDS, n_fft=400)


def make_model(tokenizer):
    return WhisperForConditionalGeneration(make_config(tokenizer)).eval()
