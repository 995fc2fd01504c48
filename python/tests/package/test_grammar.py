"""Grammars: transformers' `generate`, held to a regular expression that says the same, is the oracle."""

import functools
import json

import pytest
import regex
import torch
from families.checkpoints import CHECKPOINTS, TEXTS
from tokenizers.pre_tokenizers import ByteLevel
from transformers import WhisperFeatureExtractor
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

import crosslatch as package

from .speech import DEMO, SAMPLES, noise, random_folder

# For words w0 to w59: the same in both notations.
WORDS = {
    "numbers": ('root ::= word (" " word)*\nword ::= "w" [1-5] [0-9]?', rb"w[1-5][0-9]?( w[1-5][0-9]?)*"),
    "counted": ('root ::= "w1" ("2" | "7") (" w" [0-9]{2}){2,5} " w3"?',
                rb"w1[27]( w[0-9]{2}){2,5}( w3)?"),
    "a list": ('root ::= "w4 w5" | "w4 w" .. " w9" | ([^\\n4]+ "4"){3}', rb"w4 w5|w4 w.. w9|([^\n4]+4){3}"),
}
LETTERS = {
    "commands": ('root ::= ("set" | "stop" | "play") (" " [a-z]+){1,4} "."?', rb"(set|stop|play)( [a-z]+){1,4}\.?"),
    "digits": ('# a time\nroot ::= hour ":" [0-5] [0-9] (" am" | " pm")?\nhour ::= [1-9] | "1" [0-2]',
               rb"([1-9]|1[0-2]):[0-5][0-9]( am| pm)?"),
    "others": ('root ::= [^a-z]+ "é"{1,2}', r"[^a-z]+é{1,2}"),
}


@functools.cache
def begun(data):
    """Letters whose bytes begin with these."""
    return [letter for letter in map(chr, (*range(0xD800), *range(0xE000, 0x11000))) if letter.encode().startswith(data)]


def allowing(pattern, texts, eos):
    """What `generate` may write next: bytes of tokens, by a regular expression over bytes or letters."""
    is_bytes = isinstance(pattern, bytes)
    compiled = regex.compile(pattern, regex.DOTALL)

    def matches(data, partial):
        for start in {data, data.removeprefix(b" ")}:
            if not is_bytes:
                # A letter that is not whole yet may become any that begins so.
                try:
                    start = start.decode()
                except UnicodeDecodeError as error:
                    if not partial or error.reason != "unexpected end of data":
                        continue
                    broken, start = start[error.start:], start[:error.start].decode()
                    if any(compiled.fullmatch(start + letter, partial=True) for letter in begun(broken)):
                        return True
                    continue
            if compiled.fullmatch(start, partial=partial):
                return True
        return False

    def allowed(_, tokens):
        data = b"".join(texts.get(token, b"") for token in tokens.tolist())
        found = [token for token, text in texts.items() if text and matches(data + text, True)]
        return found + [eos] * matches(data, False) or [eos]

    return allowed


@pytest.fixture(scope="module", params=[0, 1, 2], ids=[str(c) for c in CHECKPOINTS[:3]])
def text_model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grammar")
    checkpoint = CHECKPOINTS[request.param]
    return folder, checkpoint, *checkpoint.save(folder)


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("beams", [1, 4])
def test_texts_obey_and_are_those_of_transformers(text_model, kind, beams):
    folder, checkpoint, model, tokenizer = text_model
    source, pattern = WORDS[kind]
    special = set(tokenizer.all_special_ids)
    texts = {token: b" " + word.encode() for word, token in tokenizer.get_vocab().items() if token not in special}
    generator = package.Generator(folder)
    written = generator.generate(TEXTS, beam_size=beams, max_new_tokens=14, grammar=source, truncate=True, batch=3)
    complete = 0
    for text, mine in zip(TEXTS, written):
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            (tokens,) = model.generate(**inputs, num_beams=beams, max_new_tokens=14,
                                       prefix_allowed_tokens_fn=allowing(pattern, texts, checkpoint.end)).tolist()
        wanted = [token for token in tokens[1:] if token not in (checkpoint.end, model.config.pad_token_id)]
        assert mine.tokens == wanted
        is_whole = regex.fullmatch(pattern, mine.text.encode(), partial=True)
        assert is_whole
        complete += bool(regex.fullmatch(pattern, mine.text.encode()))
    assert complete > 0


@pytest.fixture(scope="module")
def speech_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grammar")
    return folder, random_folder(folder, seed=5)


@pytest.mark.parametrize("kind", LETTERS)
@pytest.mark.parametrize("beams", [1, 3])
def test_speech_obeys_and_is_that_of_transformers(speech_model, kind, beams):
    folder, model = speech_model
    source, pattern = LETTERS[kind]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    letters = {letter: byte for byte, letter in bytes_to_unicode().items()}
    assert set(letters) == set(ByteLevel.alphabet())
    texts = {token: bytes(letters[letter] for letter in text) for text, token in tokenizer["model"]["vocab"].items()}
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    config = model.generation_config
    transcriber = package.Transcriber(folder)
    for seed in range(3):
        sound = noise(0.9, seed=seed)
        options = dict(beam_size=beams, grammar=source, language="en", timestamps=False)
        mine = transcriber.transcribe(sound, 16000, **options).transcript()
        inputs = extractor(sound, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            (tokens,) = model.generate(inputs.input_features, num_beams=beams, return_timestamps=False, language="en",
                                       prefix_allowed_tokens_fn=allowing(pattern, texts, config.eos_token_id)).tolist()
        wanted = [token for token in tokens if token in texts]
        (segment,) = mine.segments
        assert segment.tokens == wanted
        # With points in time, the text between them obeys.
        timed = transcriber.transcribe(sound, 16000, **(options | dict(timestamps=True))).transcript()
        if segment.complete:
            form = pattern if isinstance(pattern, bytes) else pattern.encode()
            assert regex.fullmatch(form.decode(), mine.text)
        assert all(segment.tokens for segment in timed.segments)


def test_command_and_library_write_the_same(crosslatch, tmp_path):
    grammar = tmp_path / "lights.gbnf"
    grammar.write_text('root ::= "Turn " ("on" | "off") " the " [a-z ]+ "."\n')
    out, _ = crosslatch("transcribe", "--grammar", grammar, "-m", DEMO, SAMPLES / "light.wav")
    assert regex.fullmatch(r"Turn (on|off) the [a-z ]+\.", out.strip())
    transcriber = package.Transcriber(DEMO)
    said = transcriber.transcribe(SAMPLES / "light.wav", grammar=grammar.read_text()).transcript()
    assert said.text == out.strip()
    timed = transcriber.transcribe(SAMPLES / "light.wav", grammar=grammar.read_text(), timestamps=True).transcript()
    assert timed.text == said.text
    grammar.write_text('root ::= "a"\nroot ::= "b"\n')
    _, error = crosslatch("transcribe", "--grammar", grammar, "-m", DEMO, SAMPLES / "light.wav", status=1)
    assert f"{grammar}: line 2, column 1: the rule `root` is there twice" in error
    with pytest.raises(package.Error, match="grammar: line 1, column 10: there is no rule `b`"):
        transcriber.transcribe(SAMPLES / "light.wav", grammar="root ::= b")
    _, error = crosslatch("transcribe", "--grammar", tmp_path / "none", "-m", DEMO, SAMPLES / "light.wav", status=1)
    assert "none: " in error


def test_a_text_that_nests_obeys_to_its_end(text_model, crosslatch, tmp_path):
    folder, *_ = text_model
    source = 'root ::= "w1 " root " w2" | "w3 w4" | "w3 " root\n'

    def obeys(words):
        while words and words[0] == "w1":
            if words[-1] != "w2":
                return False
            words = words[1:-1]
        return words == ["w3", "w4"] or (words[:1] == ["w3"] and obeys(words[1:]))

    grammar = tmp_path / "nested.gbnf"
    grammar.write_text(source)
    generator = package.Generator(folder)
    for beams in (1, 3):
        for written in generator.generate(TEXTS, beam_size=beams, max_new_tokens=20, grammar=source, truncate=True):
            if written.complete:
                assert obeys(written.text.split()), written.text
        lines = tmp_path / "texts"
        lines.write_text("\n".join(TEXTS))
        out, _ = crosslatch("generate", "--model", folder, "--grammar", grammar, "--beam-size", beams,
                            "--max-tokens", 20, "--truncate", lines)
        mine = generator.generate(TEXTS, beam_size=beams, max_new_tokens=20, grammar=source, truncate=True)
        assert out.splitlines() == [written.text for written in mine]
