"""Text that goes on: models of one stack."""

from families.family import STACK, VOCABULARY

from .architecture import Architecture, decoder, made, tokens

GROUPED = dict(STACK, num_key_value_heads=2, head_dim=8)
GPT = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64)
EXPERTS = dict(num_local_experts=4, num_experts_per_tok=2)



def batched_experts(build):
    """With the setting by which transformers gathers the weights of the experts that each token meets."""
    def make():
        model = build()
        model.set_experts_implementation("batched_mm")
        return model
    return make


DECODERS = [
    decoder("GPT-2", "GPT2LMHeadModel", "GPT2Config", **GPT),
    decoder("GPT-NeoX", "GPTNeoXForCausalLM", "GPTNeoXConfig", **STACK),
    decoder("OPT", "OPTForCausalLM", "OPTConfig", vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            word_embed_proj_dim=32),
    decoder("Bloom", "BloomForCausalLM", "BloomConfig", vocab_size=VOCABULARY, hidden_size=32,
            n_layer=2, n_head=4),
    decoder("Falcon", "FalconForCausalLM", "FalconConfig", **STACK),
    decoder("Llama", "LlamaForCausalLM", "LlamaConfig", **GROUPED),
    decoder("Mistral", "MistralForCausalLM", "MistralConfig", **GROUPED, sliding_window=4),
    decoder("Mixtral", "MixtralForCausalLM", "MixtralConfig", **GROUPED, **EXPERTS),
    Architecture("Mixtral, experts by batched products", batched_experts(made(
        "MixtralForCausalLM", "MixtralConfig", **GROUPED, **EXPERTS)),
        {"input_ids": tokens(), "use_cache": False}),
    decoder("Qwen2", "Qwen2ForCausalLM", "Qwen2Config", **dict(STACK, num_key_value_heads=2)),
    decoder("Qwen3", "Qwen3ForCausalLM", "Qwen3Config", **GROUPED),
    decoder("Qwen3, mixture of experts", "Qwen3MoeForCausalLM", "Qwen3MoeConfig", **GROUPED,
            num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
    decoder("Gemma", "GemmaForCausalLM", "GemmaConfig", **GROUPED),
    decoder("Gemma 2", "Gemma2ForCausalLM", "Gemma2Config", **GROUPED, sliding_window=4),
    decoder("Gemma 3", "Gemma3ForCausalLM", "Gemma3TextConfig", **GROUPED, sliding_window=4),
    decoder("Phi", "PhiForCausalLM", "PhiConfig", **STACK),
    decoder("Phi-3", "Phi3ForCausalLM", "Phi3Config", **STACK, num_key_value_heads=2, pad_token_id=0),
    decoder("OLMo 2", "Olmo2ForCausalLM", "Olmo2Config", **STACK, num_key_value_heads=2),
    decoder("GPT-OSS", "GptOssForCausalLM", "GptOssConfig", **GROUPED, **EXPERTS, sliding_window=4),
    decoder("Mamba", "MambaForCausalLM", "MambaConfig", vocab_size=VOCABULARY, hidden_size=32,
            state_size=8, num_hidden_layers=2),
    decoder("Mamba 2", "Mamba2ForCausalLM", "Mamba2Config", vocab_size=VOCABULARY, hidden_size=32,
            state_size=8, num_hidden_layers=2, num_heads=8, head_dim=8, n_groups=2, chunk_size=4),
    decoder("RWKV", "RwkvForCausalLM", "RwkvConfig", vocab_size=VOCABULARY, hidden_size=32,
            attention_hidden_size=32, num_hidden_layers=2, context_length=64),
    decoder("RecurrentGemma", "RecurrentGemmaForCausalLM", "RecurrentGemmaConfig",
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, lru_width=32, attention_window_size=8),
]
