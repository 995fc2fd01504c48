"""Models of one stack: text that goes on."""

import torch

from .family import LENGTHS, LONGEST_TEXT, STACK, VOCABULARY, Family, config

GROUPED = dict(STACK, num_key_value_heads=2, head_dim=8, bos_token_id=1, eos_token_id=2, pad_token_id=0)
GPT = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=LONGEST_TEXT,
           bos_token_id=1, eos_token_id=2)


def beginning(index, generator):
    return {"input_ids": torch.randint(3, VOCABULARY, (1, LENGTHS[index]), generator=generator)}


def stack(name, kind, configuration, **sizes):
    return Family(name, kind, config(configuration, **sizes), beginning)


STACKS = [
    stack("GPT-2", "GPT2LMHeadModel", "GPT2Config", **GPT),
    stack("GPT-NeoX", "GPTNeoXForCausalLM", "GPTNeoXConfig", **STACK, bos_token_id=1, eos_token_id=2),
    stack("Llama", "LlamaForCausalLM", "LlamaConfig", **GROUPED),
    stack("Mistral", "MistralForCausalLM", "MistralConfig", **GROUPED, sliding_window=4),
    stack("Mixtral", "MixtralForCausalLM", "MixtralConfig", **GROUPED, num_local_experts=4,
          num_experts_per_tok=2),
    stack("Qwen2", "Qwen2ForCausalLM", "Qwen2Config", **dict(STACK, num_key_value_heads=2)),
    stack("Qwen3", "Qwen3ForCausalLM", "Qwen3Config", **GROUPED),
    stack("Gemma", "GemmaForCausalLM", "GemmaConfig", **GROUPED),
    stack("Gemma 2", "Gemma2ForCausalLM", "Gemma2Config", **GROUPED, sliding_window=4),
    stack("Gemma 3", "Gemma3ForCausalLM", "Gemma3TextConfig", **GROUPED, sliding_window=4),
    stack("Phi", "PhiForCausalLM", "PhiConfig", **STACK),
    stack("Phi-3", "Phi3ForCausalLM", "Phi3Config", **STACK, num_key_value_heads=2, pad_token_id=0),
]
