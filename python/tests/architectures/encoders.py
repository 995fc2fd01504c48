"""Text to states: models that read."""

from families.family import STACK, VOCABULARY

from .architecture import Architecture, encoder, made, tokens

ENCODERS = [
    encoder("BERT", "BertModel", "BertConfig", **STACK),
    encoder("RoBERTa", "RobertaForMaskedLM", "RobertaConfig", **STACK, pad_token_id=0),
    encoder("DistilBERT", "DistilBertModel", "DistilBertConfig", vocab_size=VOCABULARY, dim=32,
            hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64),
    encoder("ALBERT", "AlbertModel", "AlbertConfig", **STACK, embedding_size=16),
    encoder("DeBERTa v2", "DebertaV2Model", "DebertaV2Config", **STACK, relative_attention=True,
            position_buckets=8, pos_att_type=["p2c", "c2p"]),
    encoder("ModernBERT", "ModernBertModel", "ModernBertConfig", **STACK, local_attention=4,
            pad_token_id=0, eos_token_id=2, bos_token_id=1, cls_token_id=1, sep_token_id=2),
    encoder("BigBird, full attention", "BigBirdModel", "BigBirdConfig", **STACK,
            attention_type="original_full"),
    encoder("Longformer", "LongformerModel", "LongformerConfig", **STACK, attention_window=4),
    encoder("XLNet", "XLNetModel", "XLNetConfig", vocab_size=VOCABULARY, d_model=32, n_layer=2,
            n_head=4, d_inner=48),
    encoder("Funnel Transformer", "FunnelModel", "FunnelConfig", vocab_size=VOCABULARY,
            block_sizes=[1, 1], num_decoder_layers=1, d_model=32, n_head=4, d_head=8, d_inner=48),
    # It has no mask: it mixes all positions.
    Architecture("FNet", made("FNetModel", "FNetConfig", vocab_size=VOCABULARY, hidden_size=32,
                              intermediate_size=48, num_hidden_layers=2,
                              max_position_embeddings=64), {"input_ids": tokens()}),
]
