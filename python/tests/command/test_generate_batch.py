"""Texts that are decoded together: the same tokens as one at a time, in order.

Checkpoints are exported for one text and for three at a time; a handwritten program takes any number up
to a limit.  Lines have odd lengths, some are blank, and there are more of them than are decoded at once.
"""

import functools
import json
import pickle

import numpy as np
import pytest
import torch
from test_generate import Case
from torch.export.pt2_archive._package import package_pt2

from families.checkpoints import CHECKPOINTS, TEXTS, text

import crosslatch as python_package  # the fixture `crosslatch` is the command

LINES = [*TEXTS, "", text(3, 5), "  ", *[text(1 + 7 * i % 31, 3 + 2 * i) for i in range(9)]]
ROWS = 3
OPTIONS = {
    "greedy": ["--beam-size", 1, "--max-tokens", 20],
    "beams": ["--beam-size", 4, "--alternatives", 2, "--max-tokens", 14],
    "rules": ["--beam-size", 2, "--no-repeat-ngram", 2, "--repetition-penalty", 1.3, "--min-tokens", 5],
    "as the file says": [],
}


class Batched(Case):
    """A checkpoint, exported for one text at a time and for several."""

    def __init__(self, index, folder):
        super().__init__(index, folder)
        self.rows = folder / "rows.pt2"
        python_package.export(folder / "checkpoint", self.rows, batch=ROWS, say=lambda line: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return functools.cache(lambda index: Batched(index, tmp_path_factory.mktemp("batch")))


@pytest.fixture(scope="module", params=range(len(CHECKPOINTS)), ids=map(str, CHECKPOINTS))
def case(request, made):
    return made(request.param)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    file = tmp_path_factory.mktemp("lines") / "lines.txt"
    file.write_text("".join(f"{line}\n" for line in LINES))
    return file


def written(crosslatch, model, *args):
    out, _ = crosslatch("generate", "--model", model, "--format", "json", "--threads", 2, *args)
    return [json.loads(line) for line in out.splitlines()]


def same(found, expected):
    assert [line["source"] for line in found] == [line["source"] for line in expected]
    for line, alone in zip(found, expected):
        for a, b in zip([line, *line.get("alternatives", [])], [alone, *alone.get("alternatives", [])]):
            assert (a["tokens"], a["text"], a["complete"]) == (b["tokens"], b["text"], b["complete"])
            assert a["score"] == pytest.approx(b["score"], rel=1e-4, abs=2e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_command_writes_what_it_writes_one_at_a_time(crosslatch, case, lines, name):
    alone = written(crosslatch, case.path, *OPTIONS[name], lines)
    assert [line["source"] for line in alone] == LINES
    assert len({str(line["tokens"]) for line in alone}) > 6
    for batch in (2, 30):
        same(written(crosslatch, case.path, *OPTIONS[name], "--batch", batch, lines), alone)
    for flags in ([], ["--batch", 2], ["--batch", 8]):
        same(written(crosslatch, case.rows, *OPTIONS[name], *flags, lines), alone)
    # Fewer lines than rows.
    same(written(crosslatch, case.rows, *OPTIONS[name], "--text", LINES[4]), alone[4:5])


def test_python_writes_the_same(case):
    alone = [python_package.Generator(case.path, threads=2).generate(line, beam_size=2) for line in LINES]
    for path in (case.path, case.rows):
        generator = python_package.Generator(path, threads=2)
        for batch in (None, 1, 4, 4):
            found = generator.generate(LINES, beam_size=2, batch=batch)
            same([line.to_dict() for line in found], [line.to_dict() for line in alone])
        assert generator.generate([], batch=4) == []
        one = generator.generate(LINES[2], beam_size=2, alternatives=1)
        assert one.tokens == alone[2].tokens
        assert pickle.loads(pickle.dumps(one)) == one and len(one.alternatives) == 1
    for batch in (0, 257):
        with pytest.raises(ValueError, match=f"batch is {batch}; give 1 to 256"):
            generator.generate(LINES, batch=batch)


def test_a_bad_text_ends_it_after_those_before_it(crosslatch, made, tmp_path):
    case = made(0)
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"{line}\n" for line in [*LINES[:5], text(60, 7), *LINES[5:]]))
    alone = written(crosslatch, case.path, *[a for line in LINES[:5] for a in ("--text", line)])
    for model, flags in ((case.path, []), (case.path, ["--batch", 4]), (case.rows, [])):
        out, error = crosslatch("generate", "--model", model, "--format", "json", *flags, file, status=1)
        same([json.loads(line) for line in out.splitlines()], alone)
        assert f"{file}: line 6: the text has" in error
        missing = tmp_path / "missing.txt"
        file.write_text(f"{LINES[0]}\n{LINES[1]}\n")
        out, error = crosslatch("generate", "--model", model, "--format", "json", *flags, file, missing, file, status=1)
        same([json.loads(line) for line in out.splitlines()], alone[:2])
        assert f"{missing}: No such file" in error
        file.write_text("".join(f"{line}\n" for line in [*LINES[:5], text(60, 7), *LINES[5:]]))
        with pytest.raises(python_package.Error, match="the text has"):
            python_package.Generator(model).generate([*LINES[:5], text(60, 7)], batch=4)


MOST = 5


class Encoder(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def forward(self, input_ids, attention_mask):
        return self.table[input_ids] * attention_mask.unsqueeze(-1)


class Decoder(torch.nn.Module):
    """One step of attention over the source and over what was fed, with a cache of `MOST` rows."""

    def __init__(self, table, head, positions):
        super().__init__()
        self.table, self.head = torch.nn.Parameter(table), torch.nn.Parameter(head)
        self.register_buffer("seen", torch.zeros(MOST, positions, table.shape[1]))

    def forward(self, input_ids, cache_position, encoder_hidden_states, encoder_attention_mask):
        fed = self.table[input_ids]
        batch = fed.shape[0]
        rows = torch.arange(batch)
        self.seen[rows[:, None], cache_position] = fed
        seen = self.seen[:batch]
        later = torch.arange(seen.shape[1]) > cache_position[:, None]
        shares = (fed @ seen.transpose(1, 2)).masked_fill(later, -torch.inf).softmax(-1)
        own = shares @ seen
        scores = fed @ encoder_hidden_states.transpose(1, 2)
        shares = scores.masked_fill(encoder_attention_mask[:, None] == 0, -torch.inf).softmax(-1)
        return (own + 2 * shares @ encoder_hidden_states) @ self.head.T


@pytest.fixture(scope="module")
def dynamic(made, tmp_path_factory):
    """A program whose batch is 1 to `MOST`, with the tokenizer and settings of a checkpoint."""
    case = made(len(CHECKPOINTS) - 1)
    torch.manual_seed(5)
    table, head = torch.randn(2, len(case.tokenizer), 24)
    rows, length, new = (torch.export.Dim(name, min=1, max=most)
                         for name, most in (("rows", MOST), ("length", 64), ("new", 32)))
    encoder = torch.export.export(
        Encoder(table), (torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64)),
        dynamic_shapes=({0: rows, 1: length}, {0: rows, 1: length}))
    arguments = (torch.ones(2, 3, dtype=torch.int64), torch.arange(3), torch.randn(2, 7, 24),
                 torch.ones(2, 7, dtype=torch.int64))
    decoder = torch.export.export(
        Decoder(table, head, 32), arguments,
        dynamic_shapes=({0: rows, 1: new}, {0: new}, {0: rows, 1: length}, {0: rows, 1: length}))
    path = tmp_path_factory.mktemp("dynamic") / "model.pt2"
    folder = case.path.parent / "checkpoint"
    package_pt2(str(path), exported_programs={"encoder": encoder, "decoder": decoder}, extra_files={
        name: (folder / name).read_text() for name in ("tokenizer.json", "config.json", "generation_config.json")})
    return path


@pytest.mark.parametrize("name", ["greedy", "beams"])
def test_a_program_for_any_number_up_to_a_limit_is_given_as_many(crosslatch, dynamic, lines, name):
    flags = [*OPTIONS[name], "--target-language", "fra_Latn"]
    alone = written(crosslatch, dynamic, *flags, "--batch", 1, lines)
    assert len({str(line["tokens"]) for line in alone}) > 6
    for batch in ([], ["--batch", 2], ["--batch", 3 * MOST]):
        same(written(crosslatch, dynamic, *flags, *batch, lines), alone)
