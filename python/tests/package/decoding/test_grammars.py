"""Texts that obey a grammar: transformers' `generate` with `prefix_allowed_tokens_fn` is the oracle, which asks an
acceptor of our own (`gbnf.py`) about every token of the vocabulary; grammars and models are random."""

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (BartConfig, BartForConditionalGeneration, GenerationConfig, PreTrainedTokenizerFast,
                          WhisperFeatureExtractor)

import crosslatch
from grammar import Language

from .gbnf import Acceptor, Grammar
from ..speech import noise, random_folder

SPEECH = [word for word in Language().words if word.isalpha()]
SENTENCES = ["the cat sat on the mat", "a dog and a cat, the end", "on and on and on", "mats are for cats",
             "naïve cafés cost 3 €", "the dog sat. the end."]
COUNT = 4


def bytes_of(tokenizer):
    """The bytes of each token of a tokenizer of bytes; none for special tokens."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in letters]
    byte = {chr(b): b for b in letters} | {chr(256 + i): b for i, b in enumerate(others)}
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return {number: bytes(byte[letter] for letter in token)
            for token, number in tokenizer.get_vocab().items() if token not in special}


def allowing(grammar, texts, prompt, end):
    """A function for transformers that allows the tokens with which a sentence goes on."""
    acceptor = Acceptor(grammar)
    known = {}

    def allowed(_, ids):
        said = b"".join(texts[token] for token in ids.tolist()[prompt:] if token in texts)
        if said not in known:
            known[said] = [token for token, text in texts.items() if text and acceptor.begins(said + text)]
            if acceptor.is_sentence(said):
                known[said].append(end)
        return known[said]

    return allowed


def chosen(sequence, prompt, end):
    """The tokens after the prompt, and whether the text ended."""
    tokens = sequence.tolist()[prompt:]
    return (tokens[:tokens.index(end)], True) if end in tokens else (tokens, False)


def obeyed(grammar, texts, tokens, is_complete):
    """Whether a text obeys, by the acceptor."""
    acceptor = Acceptor(grammar)
    said = b"".join(texts[token] for token in tokens)
    return acceptor.is_sentence(said) if is_complete else acceptor.begins(said)


@pytest.mark.parametrize("seed", range(COUNT))
def test_speech_has_the_tokens_of_transformers(seed, tmp_path):
    # Every letter has a token, so no text gets stuck; what begins a window is left to the grammar.
    model = random_folder(tmp_path, seed=seed, begin_suppress_tokens=[])
    config = model.generation_config
    texts = bytes_of(Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path)
    transcriber = crosslatch.Transcriber(tmp_path, threads=1)
    choice = random.Random(seed)
    for _ in range(3):
        grammar = Grammar(choice, SPEECH)
        sound = noise(0.9, seed=choice.randint(0, 99))
        features = extractor(sound, sampling_rate=16000, return_tensors="pt").input_features
        for beams in (1, 3):
            model.generation_config = GenerationConfig.from_pretrained(tmp_path)
            with torch.no_grad():
                out = model.generate(features, num_beams=beams, max_new_tokens=24, return_timestamps=False,
                                     prefix_allowed_tokens_fn=allowing(grammar, texts, 4, config.eos_token_id))[0]
            # transformers leaves the prompt out, and the end.
            tokens, _ = chosen(out, 0, config.eos_token_id)
            (segment,) = transcriber.transcribe(sound, 16000, grammar=str(grammar), beam_size=beams, timestamps=False,
                                                max_new_tokens=24).transcript().segments
            assert segment.tokens == tokens, str(grammar)
            assert obeyed(grammar, texts, tokens, segment.complete), str(grammar)


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A folder of BART with random weights and a tokenizer of bytes, and the eager model."""
    folder = tmp_path_factory.mktemp("bart")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                        unk_token="<unk>")
    torch.manual_seed(3)
    model = BartForConditionalGeneration(BartConfig(
        vocab_size=made.get_vocab_size(), d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=48, init_std=0.4,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None)).eval()
    model.generation_config = GenerationConfig(decoder_start_token_id=2, eos_token_id=2, pad_token_id=1, max_length=30)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer, bytes_of(made)


@pytest.mark.parametrize("seed", range(COUNT))
def test_text_has_the_tokens_of_transformers(seed, translator):
    folder, model, tokenizer, texts = translator
    generator = crosslatch.Generator(folder, threads=1)
    choice = random.Random(100 + seed)
    words = sorted({word for sentence in SENTENCES for word in sentence.split() if word.isascii()})
    for _ in range(3):
        grammar = Grammar(choice, words)
        source = choice.choice(SENTENCES)
        inputs = tokenizer(source, return_tensors="pt", return_token_type_ids=False)
        for beams in (1, 3):
            with torch.no_grad():
                out = model.generate(**inputs, num_beams=beams, max_new_tokens=20,
                                     prefix_allowed_tokens_fn=allowing(grammar, texts, 1, 2))[0]
            tokens, is_complete = chosen(out, 1, 2)
            generation = generator.generate(source, grammar=str(grammar), beam_size=beams, max_new_tokens=20)
            assert list(generation.tokens) == tokens, str(grammar)
            assert generation.complete == is_complete
            assert obeyed(grammar, texts, tokens, is_complete), str(grammar)
