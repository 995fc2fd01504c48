"""Random Whispers with the vocabularies of OpenAI's, and the files that OpenAI published beside its own.

The text part of the vocabulary is trained on this repository and short; the special tokens have their real
numbers.  Weights of the tokens in between are zero, so that what a model writes has text.
"""

import json

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from conftest import ROOT

#: {vocabulary: (the token that ends, languages, mel bands)}.
VOCABULARIES = {51864: (50256, 99, 80), 51865: (50257, 99, 80), 51866: (50257, 100, 128)}
TEXT_TOKENS = 2000
AFTER = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]


def special_tokens(vocabulary):
    """[(text, id)]."""
    end, languages, _ = VOCABULARIES[vocabulary]
    names = ["endoftext", "startoftranscript", *list(LANGUAGES)[:languages], *AFTER]
    return [(f"<|{name}|>", end + i) for i, name in enumerate(names)]


def text_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=TEXT_TOKENS, initial_alphabet=alphabet, show_progress=False)
    text = [(ROOT / name).read_text() for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    tokenizer.train_from_iterator(text + ["♪♪♪ (( )) -- 「", "« ♫ »"] * 3, trainer)
    assert tokenizer.get_vocab_size() == TEXT_TOKENS
    return tokenizer


def tokenizer_json(text, vocabulary):
    """`tokenizer.json` with the special tokens."""
    contents = json.loads(text.to_str())
    contents["added_tokens"] = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for token, i in special_tokens(vocabulary)]
    return contents


def suppressed_tokens(text, vocabulary):
    """As OpenAI's `non_speech_tokens`, with the tokens that only a prompt has."""
    symbols = list('"#()*+/:;<=>@[\\]^_`{|}~「」『』')
    symbols += "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split()
    music = set("♩♪♫♬♭♮♯")
    encode = lambda word: text.encode(word, add_special_tokens=False).ids  # noqa: E731
    found = {encode(" -")[0], encode(" '")[0]}
    for symbol in symbols + sorted(music):
        for tokens in (encode(symbol), encode(" " + symbol)):
            if len(tokens) == 1 or symbol in music:
                found.add(tokens[0])
    ids = dict(special_tokens(vocabulary))
    found |= {ids[f"<|{name}|>"] for name in ["startoftranscript", *AFTER[:-1]]}
    return sorted(found)


def generation_config(text, vocabulary, positions):
    end, languages, _ = VOCABULARIES[vocabulary]
    ids = dict(special_tokens(vocabulary))
    is_multilingual = vocabulary > 51864
    config = {
        "bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": end + 1,
        "max_length": positions, "max_initial_timestamp_index": 50, "is_multilingual": is_multilingual,
        "no_timestamps_token_id": ids["<|notimestamps|>"], "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False, "suppress_tokens": suppressed_tokens(text, vocabulary),
        "begin_suppress_tokens": [text.token_to_id("Ġ"), end],
    }
    if is_multilingual:
        config["lang_to_id"] = {f"<|{code}|>": ids[f"<|{code}|>"] for code in list(LANGUAGES)[:languages]}
        config["forced_decoder_ids"] = [[1, None], [2, ids["<|transcribe|>"]]]
        config["task_to_id"] = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    return config


class Whisper:
    """A random model: its weights by transformers' names, and everything beside them."""

    def __init__(self, vocabulary, seed=0, width=64):
        torch.manual_seed(seed)
        end, _, mels = VOCABULARIES[vocabulary]
        self.config = WhisperConfig(
            vocab_size=vocabulary, d_model=width, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, num_mel_bins=mels,
            max_source_positions=1500, max_target_positions=448, bos_token_id=end, eos_token_id=end,
            pad_token_id=end, decoder_start_token_id=end + 1)
        model = WhisperForConditionalGeneration(self.config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Enough to decide for different tokens at each step.
                parameter.normal_(std=0.3 if parameter.dim() == 1 else 2 / width**0.5)
            # The special ones included, so that text comes first.
            first_timestamp = special_tokens(vocabulary)[-1][1] + 1
            model.model.decoder.embed_tokens.weight[TEXT_TOKENS:first_timestamp] = 0
        # Numbers that every format can hold.
        self.state = {name: tensor.half().float().numpy() for name, tensor in model.state_dict().items()
                      if name != "proj_out.weight"}
        self.text = text_tokenizer()
        self.generation = generation_config(self.text, vocabulary, 448)
        self.extractor = WhisperFeatureExtractor(feature_size=mels)

    def files(self):
        """{name: contents} of the files beside the weights of a Hugging Face folder."""
        files = {"generation_config.json": self.generation,
                 "tokenizer.json": tokenizer_json(self.text, self.config.vocab_size)}
        files = {name: json.dumps(contents).encode() for name, contents in files.items()}
        files["config.json"] = self.config.to_json_string(use_diff=False).encode()
        files["preprocessor_config.json"] = self.extractor.to_json_string().encode()
        return files

    def folder(self, path, state=None):
        """Writes a Hugging Face folder."""
        from safetensors.numpy import save_file

        path.mkdir(parents=True, exist_ok=True)
        for name, contents in self.files().items():
            (path / name).write_bytes(contents)
        state = self.state if state is None else state
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()},
                  path / "model.safetensors")
        return path

    def filters(self):
        """The mel filters: a row a band."""
        return np.asarray(self.extractor.mel_filters, dtype=np.float32).T
