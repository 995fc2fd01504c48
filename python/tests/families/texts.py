"""Text to text."""

import torch
import transformers

from .family import DECODES, LONGEST_TEXT, SIZES, STACK, VOCABULARY, Family, config, seq2seq, t5, text

POSITIONS = dict(max_position_embeddings=LONGEST_TEXT)
GEMMA = dict(STACK, num_key_value_heads=2, head_dim=8, sliding_window=8, query_pre_attn_scalar=8)
BART = seq2seq("BART", "BartConfig", "BartForConditionalGeneration", **POSITIONS)


def two_stacks():
    """BERT on both sides, as people put together models that were trained apart."""
    return transformers.EncoderDecoderConfig(
        encoder=transformers.BertConfig(**STACK).to_dict(),
        decoder=transformers.BertConfig(**STACK, **DECODES).to_dict(), decoder_start_token_id=1,
        pad_token_id=0)


def text_with_places(index, generator):
    """For each token, the corners of its box on the page."""
    inputs = text()(index, generator)
    corner = 0.6 * torch.rand(*inputs["input_ids"].shape, 2, generator=generator)
    return inputs | {"bbox": torch.cat([corner, corner + 0.2], -1)}


TEXTS = [
    seq2seq("Marian", "MarianConfig", "MarianMTModel", **POSITIONS),
    seq2seq("M2M100, NLLB", "M2M100Config", "M2M100ForConditionalGeneration", **POSITIONS),
    seq2seq("mBART", "MBartConfig", "MBartForConditionalGeneration", **POSITIONS),
    BART,
    t5("T5", "T5Config", "T5ForConditionalGeneration"),
    t5("T5 v1.1", "T5Config", "T5ForConditionalGeneration", feed_forward_proj="gated-gelu",
       tie_word_embeddings=False),
    t5("mT5", "MT5Config", "MT5ForConditionalGeneration"),
    t5("UMT5", "UMT5Config", "UMT5ForConditionalGeneration"),
    Family("T5Gemma", "T5GemmaForConditionalGeneration", config(
        "T5GemmaConfig", encoder=GEMMA,
        decoder=dict(GEMMA, is_decoder=True, cross_attention_hidden_size=32),
        vocab_size=VOCABULARY, decoder_start_token_id=1), text()),
    seq2seq("Pegasus", "PegasusConfig", "PegasusForConditionalGeneration", **POSITIONS),
    seq2seq("BigBirdPegasus, full attention", "BigBirdPegasusConfig",
            "BigBirdPegasusForConditionalGeneration", attention_type="original_full", **POSITIONS),
    seq2seq("Blenderbot", "BlenderbotConfig", "BlenderbotForConditionalGeneration", **POSITIONS),
    seq2seq("BlenderbotSmall", "BlenderbotSmallConfig", "BlenderbotSmallForConditionalGeneration",
            **POSITIONS),
    seq2seq("MVP", "MvpConfig", "MvpForConditionalGeneration", **POSITIONS),
    seq2seq("PLBart", "PLBartConfig", "PLBartForConditionalGeneration", **POSITIONS),
    seq2seq("SeamlessM4T, text to text", "SeamlessM4TConfig", "SeamlessM4TForTextToText",
            hidden_size=32, **POSITIONS),
    seq2seq("SeamlessM4T v2, text to text", "SeamlessM4Tv2Config", "SeamlessM4Tv2ForTextToText",
            hidden_size=32, **POSITIONS),
    Family("BERT to BERT", "EncoderDecoderModel", two_stacks, text()),
    seq2seq("LED", "LEDConfig", "LEDForConditionalGeneration", attention_window=4,
            max_encoder_position_embeddings=64, max_decoder_position_embeddings=64),
    t5("LongT5, local attention", "LongT5Config", "LongT5ForConditionalGeneration", local_radius=4,
       encoder_attention_type="local"),
    seq2seq("PegasusX", "PegasusXConfig", "PegasusXForConditionalGeneration", block_size=8,
            num_global_tokens=4, **POSITIONS),
    Family("FSMT", "FSMTForConditionalGeneration", config("FSMTConfig", **dict(
        SIZES, src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY), **POSITIONS), text()),
    t5("Switch Transformers", "SwitchTransformersConfig",
       "SwitchTransformersForConditionalGeneration", num_decoder_layers=2,
       num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_experts=3),
    seq2seq("NLLB, mixture of experts", "NllbMoeConfig", "NllbMoeForConditionalGeneration",
            num_experts=2, expert_capacity=8, encoder_sparse_step=1, decoder_sparse_step=2,
            **POSITIONS),
    Family("UDOP, text and places", "UdopForConditionalGeneration", config(
        "UdopConfig", vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2,
        num_heads=4, image_size=32, decoder_start_token_id=0), text_with_places),
    Family("T5Gemma 2, text", "T5Gemma2ForConditionalGeneration", config(
        "T5Gemma2Config", decoder=GEMMA, image_token_index=92, encoder=dict(
            text_config=GEMMA, mm_tokens_per_image=16, boi_token_index=90, eoi_token_index=91,
            image_token_index=92, vision_config=dict(
                hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
                image_size=32, patch_size=8))), text()),
]
