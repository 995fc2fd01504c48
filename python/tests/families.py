"""Encoder–decoder families as tiny models with random weights, and inputs for them.

Nothing is downloaded: a family is its configuration class with small sizes.  Weights are drawn so
that every part of a model has a say: with transformers' own initial values biases are zero and
scores nearly equal, and much could be wrong unseen.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
import transformers as tf

VOCABULARY = 99
DECODER_LAYERS = 2  # in every family
SIZES = dict(vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=2,
             encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
             decoder_ffn_dim=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
             decoder_start_token_id=1)
# transformers makes T5's cache for as many layers as its encoder has, so there are two of each.
T5_SIZES = dict(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                decoder_start_token_id=0)
# A long input, a short one and a medium one: what the first leaves behind must not be seen later.
LENGTHS = (14, 4, 9)


@dataclass
class Family:
    name: str
    make: Callable
    inputs: Callable                      # (length index, generator) → encoder inputs
    options: dict = field(default_factory=dict)   # for `crosslatch.export`
    reason: str = ""                      # a pattern of why it is refused, if it is

    def __str__(self):
        return self.name.replace(" ", "-")

    def model(self):
        """The model with its weights drawn anew, and nothing that bends greedy decoding."""
        torch.manual_seed(7)
        model = self.make().eval()
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    # Small embeddings: where they are the output projection as well, large ones
                    # make a model repeat its last token, whatever the layers say.
                    scale = 0.3 if weight.shape[0] == VOCABULARY else 1.5
                    weight.normal_(std=scale * weight[0].numel() ** -0.5, generator=generator)
                else:
                    weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        for name in ("eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "max_length",
                     "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"):
            setattr(model.generation_config, name, None)
        return model


def text(batch=1):
    def inputs(index, generator):
        length = LENGTHS[index]
        ids = torch.randint(3, VOCABULARY, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(batch):  # the last input and every second row are padded
            padding = (length // 3 if index == 2 else 0) + (row % 2)
            mask[row, length - padding:] = 0
        return {"input_ids": ids * mask, "attention_mask": mask}
    return inputs


def sound(name, *shapes):
    return lambda index, generator: {name: torch.randn(shapes[index % len(shapes)],
                                                       generator=generator)}


def seq2seq(name, config, model, **sizes):
    make = lambda: getattr(tf, model)(getattr(tf, config)(**{**SIZES, **sizes}))
    return Family(name, make, text())


def t5(name, config, model, **sizes):
    make = lambda: getattr(tf, model)(getattr(tf, config)(**{**T5_SIZES, **sizes}))
    return Family(name, make, text())


FAMILIES = [
    Family("Whisper", lambda: tf.WhisperForConditionalGeneration(tf.WhisperConfig(
        **{**SIZES, "eos_token_id": None}, max_source_positions=30, max_target_positions=40,
        num_mel_bins=16, suppress_tokens=None, begin_suppress_tokens=None)),
        sound("input_features", (1, 16, 60))),
    seq2seq("Marian", "MarianConfig", "MarianMTModel", max_position_embeddings=64),
    seq2seq("M2M100 (NLLB)", "M2M100Config", "M2M100ForConditionalGeneration",
            max_position_embeddings=64),
    seq2seq("mBART", "MBartConfig", "MBartForConditionalGeneration", max_position_embeddings=64),
    seq2seq("BART", "BartConfig", "BartForConditionalGeneration", max_position_embeddings=64),
    t5("T5", "T5Config", "T5ForConditionalGeneration"),
    t5("T5 v1.1", "T5Config", "T5ForConditionalGeneration", feed_forward_proj="gated-gelu",
       tie_word_embeddings=False),
    t5("mT5", "MT5Config", "MT5ForConditionalGeneration"),
    t5("UMT5", "UMT5Config", "UMT5ForConditionalGeneration"),
    Family("Moonshine", lambda: tf.MoonshineForConditionalGeneration(tf.MoonshineConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
        max_position_embeddings=64, decoder_start_token_id=1)),
        sound("input_values", (1, 16000), (1, 5000), (1, 9001)), {"max_source": 32000}),
    seq2seq("Pegasus", "PegasusConfig", "PegasusForConditionalGeneration",
            max_position_embeddings=64),
    seq2seq("Blenderbot", "BlenderbotConfig", "BlenderbotForConditionalGeneration",
            max_position_embeddings=64),
    seq2seq("BlenderbotSmall", "BlenderbotSmallConfig", "BlenderbotSmallForConditionalGeneration",
            max_position_embeddings=64),
    Family("Speech2Text", lambda: tf.Speech2TextForConditionalGeneration(tf.Speech2TextConfig(
        **SIZES, max_source_positions=200, max_target_positions=64, input_feat_per_channel=16,
        conv_channels=16, num_conv_layers=2)),
        sound("input_features", (1, 90, 16), (1, 30, 16), (1, 61, 16))),
]


def picture_to_text(name, encoder, decoder):
    config = lambda: tf.VisionEncoderDecoderConfig(
        encoder=encoder().to_dict(), decoder=decoder().to_dict(), decoder_start_token_id=1,
        pad_token_id=0)
    return Family(name, lambda: tf.VisionEncoderDecoderModel(config()),
                  sound("pixel_values", (1, 3, 32, 32)))


def vit():
    return tf.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
                        intermediate_size=48, image_size=32, patch_size=8)


def swin():
    return tf.DonutSwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1],
                              num_heads=[2, 2], window_size=4)


READS_PICTURES = dict(vocab_size=VOCABULARY, d_model=32, decoder_layers=2,
                      decoder_attention_heads=4, decoder_ffn_dim=48, max_position_embeddings=64,
                      is_decoder=True, add_cross_attention=True, pad_token_id=0, bos_token_id=1,
                      eos_token_id=2, decoder_start_token_id=1)
GEMMA = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
             sliding_window=8, query_pre_attn_scalar=8)
FAMILIES += [
    picture_to_text("TrOCR", vit, lambda: tf.TrOCRConfig(**READS_PICTURES,
                                                         cross_attention_hidden_size=32)),
    picture_to_text("Donut, Nougat", swin, lambda: tf.MBartConfig(**READS_PICTURES)),
    picture_to_text("ViT with GPT-2", vit, lambda: tf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, is_decoder=True,
        add_cross_attention=True)),
    Family("T5Gemma", lambda: tf.T5GemmaForConditionalGeneration(tf.T5GemmaConfig(
        encoder=GEMMA, decoder=dict(GEMMA, is_decoder=True, cross_attention_hidden_size=32),
        vocab_size=VOCABULARY, decoder_start_token_id=1)), text()),
    Family("Moonshine streaming", lambda: tf.MoonshineStreamingForConditionalGeneration(
        tf.MoonshineStreamingConfig(
            encoder_config=dict(
                hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=4, max_position_embeddings=512,
                sliding_windows=((4, 1), (4, 0))),
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128,
            decoder_start_token_id=1)),
        sound("input_values", (1, 16000), (1, 4800), (1, 9040)), {"max_source": 32000}),
    Family("CohereAsr", lambda: tf.CohereAsrForConditionalGeneration(tf.CohereAsrConfig(
        encoder_config=tf.ParakeetEncoderConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
            num_mel_bins=16, subsampling_conv_channels=8, max_position_embeddings=256),
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=64, decoder_start_token_id=1)),
        sound("input_features", (1, 160, 16), (1, 50, 16), (1, 101, 16)), {"max_source": 400}),
    seq2seq("MVP", "MvpConfig", "MvpForConditionalGeneration", max_position_embeddings=64),
    seq2seq("PLBart", "PLBartConfig", "PLBartForConditionalGeneration",
            max_position_embeddings=64),
    seq2seq("BigBirdPegasus, full attention", "BigBirdPegasusConfig",
            "BigBirdPegasusForConditionalGeneration", max_position_embeddings=64,
            attention_type="original_full"),
    Family("SpeechT5", lambda: tf.SpeechT5ForSpeechToText(tf.SpeechT5Config(
        **{**SIZES, "hidden_size": 32}, conv_dim=(16, 16), conv_stride=(8, 8),
        conv_kernel=(10, 8), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        max_text_positions=64, feat_extract_norm="layer")),
        sound("input_values", (1, 4000), (1, 1700), (1, 2901)), {"max_source": 8000}),
    seq2seq("SeamlessM4T, text to text", "SeamlessM4TConfig", "SeamlessM4TForTextToText",
            hidden_size=32, max_position_embeddings=64),
    seq2seq("SeamlessM4T v2, text to text", "SeamlessM4Tv2Config", "SeamlessM4Tv2ForTextToText",
            hidden_size=32, max_position_embeddings=64),
]

# Each with words of the reason why not.
REFUSED = [
    t5("LongT5", "LongT5Config", "LongT5ForConditionalGeneration", local_radius=4,
       encoder_attention_type="local"),
    seq2seq("PegasusX", "PegasusXConfig", "PegasusXForConditionalGeneration",
            max_position_embeddings=64, block_size=8, num_global_tokens=4),
    Family("ProphetNet", lambda: tf.ProphetNetForConditionalGeneration(tf.ProphetNetConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_encoder_layers=1, num_decoder_layers=2,
        num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_position_embeddings=64, decoder_start_token_id=1)), text()),
    t5("SwitchTransformers", "SwitchTransformersConfig",
       "SwitchTransformersForConditionalGeneration", num_sparse_encoder_layers=1,
       num_sparse_decoder_layers=1, num_experts=2),
    Family("Pix2Struct", lambda: tf.Pix2StructForConditionalGeneration(tf.Pix2StructConfig(
        text_config=dict(vocab_size=VOCABULARY, hidden_size=32, d_kv=8, d_ff=48, num_layers=2,
                         num_heads=4, decoder_start_token_id=0),
        vision_config=dict(hidden_size=32, patch_embed_hidden_size=32, d_ff=48, d_kv=8,
                           num_hidden_layers=1, num_attention_heads=4, seq_len=64))), text()),
    Family("Florence2", lambda: tf.Florence2ForConditionalGeneration(tf.Florence2Config(
        text_config=dict(SIZES, model_type="bart", max_position_embeddings=64),
        vision_config=dict(depths=(1,), patch_size=(7,), patch_stride=(4,), patch_padding=(3,),
                           patch_prenorm=(False,), embed_dim=(8,), num_heads=(2,),
                           num_groups=(2,), window_size=4, projection_dim=32))), text()),
]
for family, reason in zip(REFUSED, (
        "cannot be traced", "cannot be traced", "decoder cannot be traced", "cannot be traced",
        "flattened_patches", "pictures together"), strict=True):
    family.reason = reason
BATCHED = Family("BART, two texts at once", FAMILIES[4].make, text(batch=2), {"batch": 2})
