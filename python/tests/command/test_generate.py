"""`crosslatch generate` and `crosslatch.Generator` against `model.generate`: the same tokens.

Checkpoints with a tokenizer (`families.checkpoints`) are exported from their folders, like published ones.  Several
texts follow each other in one process: long, then short, then long.
"""

import functools
import json
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors
from torch.export.pt2_archive._package import load_pt2

from conftest import ROOT, TARGET
from families.checkpoints import CHECKPOINTS, POSITIONS, TEXTS, WORDS

import crosslatch as python_package  # the fixture `crosslatch` is the command
from crosslatch.exporting import describing_files, write_archive
from crosslatch.exporting.programs import export_decoder, export_encoder
from crosslatch.exporting.sources import source_of

# Options of transformers, and the equivalent flags of the command.
OPTIONS = {
    "as the file says": ({}, []),
    "greedy": (dict(num_beams=1, max_new_tokens=30), ["--beam-size", 1, "--max-tokens", 30]),
    "beams": (dict(num_beams=4), ["--beam-size", 4]),
    "longer beams": (dict(num_beams=4, max_new_tokens=20, min_new_tokens=9, length_penalty=-1.5),
                     ["--beam-size", 4, "--max-tokens", 20, "--min-tokens", 9,
                      "--length-penalty", -1.5]),
    "no repetition": (dict(num_beams=1, no_repeat_ngram_size=2, repetition_penalty=1.3),
                      ["--beam-size", 1, "--no-repeat-ngram", 2, "--repetition-penalty", 1.3]),
    "beams without repetition": (
        dict(num_beams=3, max_new_tokens=25, no_repeat_ngram_size=2, repetition_penalty=1.5),
        ["--beam-size", 3, "--max-tokens", 25, "--no-repeat-ngram", 2, "--repetition-penalty", 1.5]),
}
# The equivalent keywords in Python.
KEYWORDS = {"num_beams": "beam_size"}


@dataclass
class Written:
    tokens: list        # without start and end
    complete: bool
    score: float | None


class Case:
    """An exported checkpoint, and what transformers generates for texts."""

    def __init__(self, index, folder):
        torch.set_num_threads(1)
        checkpoint = CHECKPOINTS[index]
        self.name, self.path = checkpoint.name, folder / "model.pt2"
        self.model, self.tokenizer = checkpoint.save(folder / "checkpoint")
        python_package.export(folder / "checkpoint", self.path, say=lambda line: None)

    def expected(self, text, **arguments):
        """The texts that are returned, best first."""
        with torch.no_grad():
            inputs = self.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            out = self.model.generate(**inputs, return_dict_in_generate=True, output_scores=True,
                                      **arguments)
        end = self.model.generation_config.eos_token_id
        scores = getattr(out, "sequences_scores", None)
        written = []
        for i, sequence in enumerate(out.sequences.tolist()):
            tokens = sequence[1:]
            # Tokens after the end are padding.
            complete = end in tokens
            tokens = tokens[:tokens.index(end)] if complete else tokens
            written.append(Written(tokens, complete, None if scores is None else scores[i].item()))
        return written


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The case of a checkpoint, which is exported once."""
    return functools.cache(lambda index: Case(index, tmp_path_factory.mktemp("generate")))


@pytest.fixture(scope="module", params=range(len(CHECKPOINTS)), ids=map(str, CHECKPOINTS))
def case(request, made):
    return made(request.param)


@pytest.fixture(scope="module")
def nllb(made):
    return made(len(CHECKPOINTS) - 1)


def written_by(crosslatch, model, *args):
    out, _ = crosslatch("generate", "--model", model, "--format", "json", "--threads", 2, *args)
    return [json.loads(line) for line in out.splitlines()]


def given(texts):
    return [argument for text in texts for argument in ("--text", text)]


def check(found, expected):
    assert found["tokens"] == expected.tokens
    assert found["complete"] == expected.complete
    if expected.score is not None:
        assert found["score"] == pytest.approx(expected.score, rel=1e-4, abs=2e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_texts_in_a_row_are_those_of_transformers(crosslatch, case, name):
    arguments, flags = OPTIONS[name]
    lines = written_by(crosslatch, case.path, *flags, *given(TEXTS))
    assert [line["source"] for line in lines] == TEXTS
    for line, text in zip(lines, TEXTS):
        (expected,) = case.expected(text, **arguments)
        check(line, expected)
        assert line["text"] == case.tokenizer.decode(expected.tokens, skip_special_tokens=True)


def test_the_models_tell_inputs_apart_and_end_at_various_lengths(case):
    arguments = dict(num_beams=1, max_new_tokens=30, no_repeat_ngram_size=2, repetition_penalty=1.3)
    written = [case.expected(text, **arguments)[0] for text in TEXTS]
    assert len({tuple(w.tokens) for w in written}) >= 5
    assert len({len(w.tokens) for w in written}) >= 3
    assert sum(w.complete for w in written) >= 2
    assert len({token for w in written for token in w.tokens}) >= 15


def test_the_next_best_texts_come_in_order(crosslatch, case):
    arguments = dict(num_beams=4, num_return_sequences=3, max_new_tokens=15)
    flags = ["--beam-size", 4, "--alternatives", 2, "--max-tokens", 15]
    for line, text in zip(written_by(crosslatch, case.path, *flags, *given(TEXTS[:3])), TEXTS):
        found = [line, *line["alternatives"]]
        for one, expected in zip(found, case.expected(text, **arguments), strict=True):
            check(one, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_generator_in_python_writes_what_the_command_writes(crosslatch, case, name):
    arguments, flags = OPTIONS[name]
    keywords = {KEYWORDS.get(key, key): value for key, value in arguments.items()}
    generator = python_package.Generator(case.path, threads=2)
    found = generator.generate(TEXTS, **keywords)
    lines = written_by(crosslatch, case.path, *flags, *given(TEXTS))
    for generation, line in zip(found, lines, strict=True):
        assert (generation.text, generation.tokens, generation.source, generation.complete) \
            == (line["text"], line["tokens"], line["source"], line["complete"])
        assert generation.score == pytest.approx(line["score"])
    assert generator.generate(TEXTS[0], **keywords).tokens == found[0].tokens


def test_an_archive_without_latching_is_latched_when_it_is_loaded(crosslatch, nllb, tmp_path):
    """As exported by hand: the decoder computes everything at every step."""
    source = source_of(nllb.model, 1)
    with torch.no_grad():
        states = nllb.model.get_encoder()(**source.arguments()).last_hidden_state
    programs = {"encoder": export_encoder(nllb.model, source),
                "decoder": export_decoder(nllb.model, states, True, POSITIONS, POSITIONS)}
    plain = tmp_path / "plain.pt2"
    write_archive(plain, programs, describing_files(nllb.model, nllb.tokenizer))
    expected = written_by(crosslatch, nllb.path, "--beam-size", 4, *given(TEXTS))
    inputs = "encoder_hidden_states,encoder_attention_mask"
    for latch in ([], ["--latch", inputs]):
        found = written_by(crosslatch, plain, "--beam-size", 4, *latch, *given(TEXTS))
        assert [line["tokens"] for line in found] == [line["tokens"] for line in expected]
    generator = python_package.Generator(plain, latch=inputs.split(","))
    assert [g.tokens for g in generator.generate(TEXTS, beam_size=4)] \
        == [line["tokens"] for line in expected]


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_texts_are_written_in_fewer_bits(crosslatch, case, precision):
    lines = written_by(crosslatch, case.path, "--precision", precision, *given(TEXTS))
    assert len({tuple(line["tokens"]) for line in lines}) >= 3
    assert all(np.isfinite(line["score"]) for line in lines)


def test_languages_are_those_that_are_named(crosslatch, nllb):
    fra, zho = (nllb.tokenizer.convert_tokens_to_ids(t) for t in ("fra_Latn", "zho_Hant"))
    expected = nllb.expected(TEXTS[2], forced_bos_token_id=fra, num_beams=2)[0]
    assert expected.tokens[0] == fra
    for name in ("fra_Latn", "fra", "FRA_LATN"):
        (line,) = written_by(crosslatch, nllb.path, "--target-language", name, "--beam-size", 2,
                             "--text", TEXTS[2])
        check(line, expected)
        assert "fra" not in line["text"]

    tokenizer = nllb.tokenizer
    other = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    other.post_processor = processors.TemplateProcessing(
        single=["zho_Hant", "$A", "</s>"], special_tokens=[("zho_Hant", zho), ("</s>", 2)])
    nllb.tokenizer = lambda text, **_: {
        name: torch.tensor([values]) for name, values in
        zip(("input_ids", "attention_mask"), (lambda e: (e.ids, e.attention_mask))(other.encode(text)))}
    try:
        expected = nllb.expected(TEXTS[2])[0]
    finally:
        nllb.tokenizer = tokenizer
    assert expected.tokens != nllb.expected(TEXTS[2])[0].tokens
    (line,) = written_by(crosslatch, nllb.path, "--source-language", "zho_Hant", "--text", TEXTS[2])
    check(line, expected)
    for name, message in [("zho", "could be zho_Hans, zho_Hant"),
                          ("klingon", "it knows eng_Latn, fra_Latn, zho_Hans, zho_Hant")]:
        _, error = crosslatch("generate", "--model", nllb.path, "--target-language", name,
                              "--text", "w1", status=1)
        assert message in error and str(nllb.path) in error


def test_a_prefix_goes_in_front_of_every_text(crosslatch, nllb):
    lines = written_by(crosslatch, nllb.path, "--prefix", "w5 w6 ", *given(TEXTS[2:4]))
    for line, text in zip(lines, TEXTS[2:4]):
        check(line, nllb.expected("w5 w6 " + text)[0])
        assert line["source"] == text


def test_files_and_standard_input_are_read_line_by_line(crosslatch, nllb, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes("\r\n".join([TEXTS[1], "", TEXTS[2]]).encode() + b"\n")
    expected = [nllb.tokenizer.decode(nllb.expected(text)[0].tokens, skip_special_tokens=True)
                for text in TEXTS[1:3]]
    out, _ = crosslatch("generate", "--model", nllb.path, file)
    assert out.splitlines() == [expected[0], "", expected[1]]
    process = subprocess.Popen([TARGET / "crosslatch", "generate", "--model", nllb.path, "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for text, line in zip(TEXTS[1:3], expected):  # each answer is there before the next question
        process.stdin.write(text + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == line + "\n"
    process.stdin.close()
    assert process.wait() == 0 and process.stdout.read() == ""


def test_a_text_that_is_too_long_is_named_or_truncated(crosslatch, nllb, tmp_path):
    long = " ".join(WORDS[i % 60] for i in range(60))
    file = tmp_path / "texts.txt"
    file.write_text(f"{TEXTS[1]}\n{long}\n{TEXTS[1]}\n")
    out, error = crosslatch("generate", "--model", nllb.path, file, status=1)
    assert f"{file}: line 2: the text has 62 tokens, and the model takes at most 48" in error
    assert "truncate" in error and len(out.splitlines()) == 1
    cut = nllb.expected(" ".join(long.split()[:46]))[0]
    lines = written_by(crosslatch, nllb.path, "--truncate", file)
    assert len(lines) == 3 and lines[1]["source"] == long
    check(lines[1], cut)
    # As many tokens as the decoder has positions, and the one that is not fed; one more is refused.
    (line,) = written_by(crosslatch, nllb.path, "--max-tokens", 48, "--min-tokens", 48, "--text", long[:20])
    assert len(line["tokens"]) == 48
    _, error = crosslatch("generate", "--model", nllb.path, "--max-tokens", 49, "--text", "w1", status=1)
    assert "49 new ones exceed the decoder's 48 positions" in error


def test_wrong_usage_and_wrong_models_are_told(crosslatch, nllb, tmp_path):
    crosslatch("generate", "--model", nllb.path, status=2)
    crosslatch("generate", "--text", "w1", status=2)
    _, error = crosslatch("generate", "--model", ROOT / "demo" / "model.pt2", "--text", "w1", status=1)
    assert "demo/model.pt2: not a text model: `encoder` takes `input_features`" in error
    _, error = crosslatch("generate", "--model", nllb.path, tmp_path / "none.txt", status=1)
    assert "none.txt" in error
    (tmp_path / "bad.txt").write_bytes(b"w1\n\xff\n")
    _, error = crosslatch("generate", "--model", nllb.path, tmp_path / "bad.txt", status=1)
    assert "bad.txt: line 2:" in error
    for flags, message in [(["--beam-size", 0], "a beam search with 0 beams"),
                           (["--beam-size", 2, "--alternatives", 2], "alternatives: must be fewer"),
                           (["--repetition-penalty", 0], "repetition penalty: must be"),
                           (["--max-tokens", 0], "must be at least 1")]:
        _, error = crosslatch("generate", "--model", nllb.path, *flags, "--text", "w1", status=1)
        assert message in error and str(nllb.path) in error


def test_settings_that_are_not_supported_are_refused_by_name(crosslatch, nllb, tmp_path):
    model, path = nllb.model, tmp_path / "m.pt2"
    programs = load_pt2(str(nllb.path)).exported_programs
    files = describing_files(model, nllb.tokenizer)
    settings = json.loads(files["generation_config.json"])
    for name, value in [("do_sample", True), ("num_beam_groups", 2), ("stop_strings", ["w1"]),
                        ("sequence_bias", [[[4], -1.0]]), ("renormalize_logits", True)]:
        changed = json.dumps({**settings, name: value})
        write_archive(path, programs, {**files, "generation_config.json": changed})
        _, error = crosslatch("generate", "--model", path, "--text", "w1", status=1)
        assert f"{path}: generation_config.json: {name} is" in error
    del files["tokenizer.json"]
    write_archive(path, programs, files)
    _, error = crosslatch("generate", "--model", path, "--text", "w1", status=1)
    assert "there is no tokenizer: neither `tokenizer.json` nor SentencePiece files" in error
