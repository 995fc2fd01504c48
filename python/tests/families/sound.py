"""Sound to text: spectrograms and waveforms."""

import torch
import transformers

from .family import DECODES, SIZES, STACK, VOCABULARY, Family, config, values

PARAKEET = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
                num_mel_bins=16, subsampling_conv_channels=8, max_position_embeddings=256)
SEAMLESS = dict(SIZES, hidden_size=32, max_position_embeddings=64, speech_encoder_layers=1,
                speech_encoder_attention_heads=4, speech_encoder_intermediate_size=48,
                feature_projection_input_dim=16, max_source_positions=200,
                conv_depthwise_kernel_size=3, adaptor_kernel_size=4, adaptor_stride=4)
FRAMES = values("input_features", (1, 160, 16), (1, 50, 16), (1, 101, 16))


def wav2vec_to_bart():
    return transformers.SpeechEncoderDecoderConfig(
        encoder=transformers.Wav2Vec2Config(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
            conv_dim=(16, 16), conv_stride=(8, 8), conv_kernel=(10, 8), num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2).to_dict(),
        decoder=transformers.BartConfig(**dict(
            SIZES, **DECODES, encoder_layers=2, max_position_embeddings=64))
        .to_dict(), decoder_start_token_id=1, pad_token_id=0)


COMPOSERS = {f"composer{i}": 5 + i for i in range(4)}


def composed(index, generator):
    """A spectrogram, and the composer in whose style it is to be played."""
    length = (14, 4, 9)[index]
    return {"input_features": torch.randn(1, length, 32, generator=generator),
            "composer": torch.tensor([index + 1])}


def pop2piano(model, inputs):
    """The arguments of `generate`, which knows composers by name."""
    model.generation_config.composer_to_feature_token = COMPOSERS
    return {"input_features": inputs["input_features"], "composer": f"composer{inputs['composer'].item()}"}


def pop2piano_states(model, inputs):
    named = pop2piano(model, inputs)
    embedded, _ = model.get_mel_conditioner_outputs(**named, generation_config=model.generation_config)
    return model.get_encoder()(inputs_embeds=embedded).last_hidden_state


SOUND = [
    Family("Whisper", "WhisperForConditionalGeneration", config("WhisperConfig", **dict(
        SIZES, eos_token_id=None, max_source_positions=30, max_target_positions=40,
        num_mel_bins=16, suppress_tokens=None, begin_suppress_tokens=None)),
        values("input_features", (1, 16, 60))),
    Family("Speech2Text", "Speech2TextForConditionalGeneration", config(
        "Speech2TextConfig", **SIZES, max_source_positions=200, max_target_positions=64,
        input_feat_per_channel=16, conv_channels=16, num_conv_layers=2),
        values("input_features", (1, 90, 16), (1, 30, 16), (1, 61, 16))),
    Family("Moonshine", "MoonshineForConditionalGeneration", config(
        "MoonshineConfig", vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48,
        encoder_num_hidden_layers=1, decoder_num_hidden_layers=2, encoder_num_attention_heads=4,
        decoder_num_attention_heads=4, max_position_embeddings=64, decoder_start_token_id=1),
        values("input_values", (1, 16000), (1, 5000), (1, 9001)), {"max_source": 32000}),
    Family("Moonshine streaming", "MoonshineStreamingForConditionalGeneration", config(
        "MoonshineStreamingConfig", **dict(STACK, max_position_embeddings=128),
        num_key_value_heads=4, decoder_start_token_id=1, encoder_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=512, sliding_windows=((4, 1), (4, 0)))),
        values("input_values", (1, 16000), (1, 4800), (1, 9040)), {"max_source": 32000}),
    Family("CohereAsr", "CohereAsrForConditionalGeneration", lambda: transformers.CohereAsrConfig(
        **STACK, encoder_config=transformers.ParakeetEncoderConfig(**PARAKEET),
        decoder_start_token_id=1), FRAMES, {"max_source": 400}),
    Family("Canary", "CanaryForConditionalGeneration", lambda: transformers.CanaryConfig(
        vocab_size=VOCABULARY, encoder_config=transformers.ParakeetEncoderConfig(**PARAKEET),
        decoder_config=dict(STACK, num_key_value_heads=4, head_dim=8), decoder_start_token_id=1),
        FRAMES, {"max_source": 400}),
    Family("SpeechT5, speech to text", "SpeechT5ForSpeechToText", config(
        "SpeechT5Config", **SIZES, hidden_size=32, conv_dim=(16, 16), conv_stride=(8, 8),
        conv_kernel=(10, 8), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        max_text_positions=64, feat_extract_norm="layer"),
        values("input_values", (1, 4000), (1, 1700), (1, 2901)), {"max_source": 8000}),
    Family("Pop2Piano", "Pop2PianoForConditionalGeneration", config(
        "Pop2PianoConfig", vocab_size=VOCABULARY, composer_vocab_size=len(COMPOSERS), d_model=32,
        d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0), composed,
        generating=pop2piano, states=pop2piano_states),
    Family("SeamlessM4T, speech to text", "SeamlessM4TForSpeechToText",
           config("SeamlessM4TConfig", **SEAMLESS), FRAMES, seed=30),
    Family("SeamlessM4T v2, speech to text", "SeamlessM4Tv2ForSpeechToText",
           config("SeamlessM4Tv2Config", **SEAMLESS), FRAMES),
    Family("wav2vec 2.0 to BART", "SpeechEncoderDecoderModel", wav2vec_to_bart,
           values("input_values", (1, 4000), (1, 1700), (1, 2901)), {"max_source": 8000}),
]
