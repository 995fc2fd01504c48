"""Sound to text or to states."""

from torch import nn

from families.family import DECODES, SIZES, STACK, VOCABULARY

from .architecture import TARGET, Architecture, configured, made, numbers
from .lora import with_adapters

WHISPER = made("WhisperForConditionalGeneration", "WhisperConfig", **dict(
    SIZES, eos_token_id=2, max_source_positions=30, max_target_positions=40, num_mel_bins=16,
    suppress_tokens=None, begin_suppress_tokens=None))
HEARS = {"input_features": numbers(2, 16, 60), **TARGET, "use_cache": False}
SAMPLES = numbers(2, (2000, 3100, 1700))
CONVOLUTIONS = dict(conv_dim=(16, 16), conv_stride=(8, 8), conv_kernel=(10, 8),
                    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
                    vocab_size=VOCABULARY)
WAV2VEC = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
               **CONVOLUTIONS)
FRAMES = numbers(2, (80, 120, 64), 16)
SEAMLESS = dict(SIZES, hidden_size=32, max_position_embeddings=64, speech_encoder_layers=1,
                speech_encoder_attention_heads=4, speech_encoder_intermediate_size=48,
                feature_projection_input_dim=16, max_source_positions=200,
                conv_depthwise_kernel_size=3, adaptor_kernel_size=4, adaptor_stride=4)
PARAKEET = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
                num_mel_bins=16, subsampling_conv_channels=8, max_position_embeddings=256)


def heard(name, kind, configuration, **sizes):
    return Architecture(name, made(kind, configuration, **sizes), {"input_values": SAMPLES})


SOUND = [
    Architecture("Whisper", WHISPER, HEARS, latched=("input_features",)),
    Architecture("Whisper with LoRA", with_adapters(WHISPER, rank=4), HEARS,
                 latched=("input_features",)),
    heard("wav2vec 2.0", "Wav2Vec2ForCTC", "Wav2Vec2Config", **WAV2VEC),
    heard("HuBERT", "HubertForCTC", "HubertConfig", **WAV2VEC),
    heard("WavLM", "WavLMForCTC", "WavLMConfig", **WAV2VEC),
    heard("SEW", "SEWForCTC", "SEWConfig", **WAV2VEC),
    heard("wav2vec 2.0 with Conformer", "Wav2Vec2ConformerForCTC", "Wav2Vec2ConformerConfig",
          **WAV2VEC, conv_depthwise_kernel_size=3),
    Architecture("wav2vec 2.0 BERT", made(
        "Wav2Vec2BertForCTC", "Wav2Vec2BertConfig", vocab_size=VOCABULARY, hidden_size=32,
        num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
        feature_projection_input_dim=16, conv_depthwise_kernel_size=3), {"input_features": FRAMES}),
    Architecture("Parakeet", made("ParakeetForCTC", "ParakeetCTCConfig", vocab_size=VOCABULARY,
                                  encoder_config=configured("ParakeetEncoderConfig", **PARAKEET)),
                 {"input_features": FRAMES}),
    Architecture("wav2vec 2.0 to BART", made(
        "SpeechEncoderDecoderModel", "SpeechEncoderDecoderConfig",
        encoder=lambda: configured("Wav2Vec2Config", **WAV2VEC)().to_dict(),
        decoder=lambda: configured("BartConfig", **dict(
            SIZES, **DECODES, encoder_layers=2, max_position_embeddings=64))().to_dict(),
        decoder_start_token_id=1, pad_token_id=0),
        {"input_values": SAMPLES, **TARGET, "use_cache": False}, latched=("input_values",)),
    Architecture("Speech2Text", made(
        "Speech2TextForConditionalGeneration", "Speech2TextConfig", **SIZES,
        max_source_positions=200, max_target_positions=64, input_feat_per_channel=16,
        conv_channels=16, num_conv_layers=2),
        {"input_features": FRAMES, **TARGET, "use_cache": False}, latched=("input_features",)),
    Architecture("Moonshine", made(
        "MoonshineForConditionalGeneration", "MoonshineConfig", vocab_size=VOCABULARY,
        hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
        max_position_embeddings=64, decoder_start_token_id=1),
        {"input_values": numbers(2, (6000, 9001, 5000)), **TARGET, "use_cache": False},
        latched=("input_values",)),
    Architecture("SpeechT5, speech to text", made(
        "SpeechT5ForSpeechToText", "SpeechT5Config", **SIZES, hidden_size=32,
        max_text_positions=64, feat_extract_norm="layer", **{
            k: v for k, v in CONVOLUTIONS.items() if k != "vocab_size"}),
        {"input_values": SAMPLES, **TARGET, "use_cache": False}, latched=("input_values",)),
    Architecture("SeamlessM4T, speech to text", made(
        "SeamlessM4TForSpeechToText", "SeamlessM4TConfig", **SEAMLESS),
        {"input_features": FRAMES, **TARGET, "use_cache": False}, latched=("input_features",)),
    Architecture("SeamlessM4T v2, speech to text", made(
        "SeamlessM4Tv2ForSpeechToText", "SeamlessM4Tv2Config", **SEAMLESS),
        {"input_features": FRAMES, **TARGET, "use_cache": False}, latched=("input_features",)),
    Architecture("Audio Spectrogram Transformer", made(
        "ASTForAudioClassification", "ASTConfig", hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=48, patch_size=4, frequency_stride=4,
        time_stride=4, max_length=32, num_mel_bins=16), {"input_values": numbers(2, 32, 16)}),
]
