"""Text to text: encoder–decoder models."""

from families.family import DECODES, SIZES, STACK, VOCABULARY

from .architecture import TARGET, TEXT, Architecture, boxes, configured, made, seq2seq

POSITIONS = dict(SIZES, max_position_embeddings=64)
T5 = dict(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
          decoder_start_token_id=0)
EXPERTS = dict(num_experts=2, expert_capacity=64)

TEXTS = [
    seq2seq("BART", "BartForConditionalGeneration", "BartConfig", **POSITIONS),
    seq2seq("mBART", "MBartForConditionalGeneration", "MBartConfig", **POSITIONS),
    seq2seq("Marian", "MarianMTModel", "MarianConfig", **POSITIONS),
    seq2seq("M2M100, NLLB", "M2M100ForConditionalGeneration", "M2M100Config", **POSITIONS),
    seq2seq("Pegasus", "PegasusForConditionalGeneration", "PegasusConfig", **POSITIONS),
    seq2seq("PegasusX", "PegasusXForConditionalGeneration", "PegasusXConfig", **POSITIONS,
            block_size=4, num_global_tokens=4),
    seq2seq("BigBirdPegasus, block-sparse attention", "BigBirdPegasusForConditionalGeneration",
            "BigBirdPegasusConfig", **POSITIONS, block_size=2, num_random_blocks=1),
    seq2seq("LED", "LEDForConditionalGeneration", "LEDConfig", **SIZES, attention_window=4,
            max_encoder_position_embeddings=64, max_decoder_position_embeddings=64),
    seq2seq("FSMT", "FSMTForConditionalGeneration", "FSMTConfig", **dict(
        POSITIONS, src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY)),
    seq2seq("ProphetNet", "ProphetNetForConditionalGeneration", "ProphetNetConfig",
            vocab_size=VOCABULARY, hidden_size=32, num_encoder_layers=1, num_decoder_layers=2,
            num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=64, decoder_start_token_id=1),
    seq2seq("T5", "T5ForConditionalGeneration", "T5Config", **T5),
    seq2seq("mT5", "MT5ForConditionalGeneration", "MT5Config", **T5),
    seq2seq("UMT5", "UMT5ForConditionalGeneration", "UMT5Config", **T5),
    seq2seq("LongT5, local attention", "LongT5ForConditionalGeneration", "LongT5Config", **T5,
            local_radius=3, encoder_attention_type="local"),
    seq2seq("LongT5, transient global attention", "LongT5ForConditionalGeneration", "LongT5Config",
            **T5, local_radius=3, global_block_size=4, encoder_attention_type="transient-global"),
    seq2seq("Switch Transformers", "SwitchTransformersForConditionalGeneration",
            "SwitchTransformersConfig", **T5, **EXPERTS, num_sparse_encoder_layers=1,
            num_sparse_decoder_layers=1),
    seq2seq("NLLB, mixture of experts", "NllbMoeForConditionalGeneration", "NllbMoeConfig",
            **POSITIONS, **EXPERTS, encoder_sparse_step=1, decoder_sparse_step=2),
    seq2seq("SeamlessM4T, text to text", "SeamlessM4TForTextToText", "SeamlessM4TConfig",
            **POSITIONS, hidden_size=32),
    seq2seq("BERT to BERT", "EncoderDecoderModel", "EncoderDecoderConfig",
            encoder=lambda: configured("BertConfig", **STACK)().to_dict(),
            decoder=lambda: configured("BertConfig", **STACK, **DECODES)().to_dict(),
            decoder_start_token_id=1, pad_token_id=0),
    Architecture("UDOP", made("UdopForConditionalGeneration", "UdopConfig", **T5, image_size=32),
                 {**TEXT, "bbox": boxes(), **TARGET, "use_cache": False},
                 latched=(*TEXT, "bbox")),
]
