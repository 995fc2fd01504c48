"""The parts of the benchmark of other runtimes that do without those: counting, tables, files, attention."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

PEERS = Path(__file__).resolve().parents[2] / "benches" / "peers"
sys.path.append(str(PEERS))

import catalogue  # noqa: E402
import machine  # noqa: E402
import tables  # noqa: E402
import windows  # noqa: E402
from models import BEAMS, STEPS, attention, making, names, parents  # noqa: E402
from models.whisper import ggml  # noqa: E402
from models.whisper.model import Step  # noqa: E402
from neighbour import Neighbour  # noqa: E402
from real import clips, words  # noqa: E402
from spread import shown, spread  # noqa: E402


def errors_by_recursion(expected, found):
    """Straight from the definition."""
    if not expected or not found:
        return len(expected) + len(found)
    return min(errors_by_recursion(expected[1:], found) + 1, errors_by_recursion(expected, found[1:]) + 1,
               errors_by_recursion(expected[1:], found[1:]) + (expected[0] != found[0]))


def test_word_errors():
    rng = np.random.default_rng(0)
    for _ in range(50):
        said, found = (rng.choice(list("abc"), rng.integers(0, 7)).tolist() for _ in range(2))
        assert words.word_errors(" ".join(said), " ".join(found)) == errors_by_recursion(said, found)


def test_words_are_compared_after_normalisation():
    assert words.compared("It's Twenty-one, Mister Smith!", "it is 21 mr smith") == (0, 5)
    assert words.compared("one word after another", "") == (4, 4)
    assert words.rate(1, 8) == "12.50%"


def test_spread_is_numpys():
    rng = np.random.default_rng(1)
    for count in (1, 2, 3, 8, 101):
        values = rng.normal(size=count)
        np.testing.assert_allclose(spread(iter(values)), np.percentile(values, [25, 50, 75]))
    assert shown([1.04, 2.06, 3.0], 1) == "2.1 (1.0–3.0)"


@pytest.mark.parametrize("least", [0.1, 7, 10.5, 260])
def test_clips_repeat_in_whole_rounds(least):
    lengths = [2.0, 3.5, 0.25]
    chosen = clips.order(lengths, 0.5, least)
    rounds, left = divmod(len(chosen), 3)
    assert left == 0 and chosen == [0, 1, 2] * rounds
    once = sum(lengths) + 1.5
    assert (rounds - 1) * once < least <= rounds * once


def test_precisions_are_those_of_the_command(crosslatch):
    listed = re.search(r"--precision <P>\s+How weights are stored: (.*?) \[default", crosslatch(
        "transcribe", "--help")[0], re.DOTALL)[1]
    assert set(catalogue.known_to_the_package()) == set(re.split(r",\s*|\s+or\s+", listed.strip()))


def test_every_kind_has_a_precision_of_ours_and_a_limit():
    kinds = {entry.kind for entry in catalogue.entries()}
    assert kinds <= {*catalogue.known_to_the_package(), "int4"} and kinds <= set(tables.LEAST_COSINE)
    for limits in machine.LIMITS.values():
        assert set(limits) == set(catalogue.RUNTIMES)
    assert machine.limit(None, "ort") == ({}, True)
    assert machine.limit("avx2", "ort") == ({}, False)


def test_files_are_made_after_what_they_are_made_of():
    for size, lacks in (("base", set()), ("t5-large", {"cpp"})):
        entries = catalogue.entries()
        assert {entry.runtime for entry in entries if not making.can_be_made(size, entry.needs)} == lacks
        found = making.with_sources([file for entry in entries for file in entry.needs])
        assert len(found) == len(set(found))
        for name, source in making.SOURCES.items():
            assert found.index(source) < found.index(name)


def test_summary_of_windows():
    rng = np.random.default_rng(4)
    taken = [{"encoder": 5.0 + i, "first": 2.0, "later": rng.uniform(1, 2, 7).tolist()} for i in range(3)]
    found = windows.summary(taken, 5)
    decoder = [2 + STEPS * np.mean(window["later"]) for window in taken]
    np.testing.assert_allclose(found["encoder"], [5.5, 6, 6.5])
    np.testing.assert_allclose(found["later"][1], np.median([step for w in taken for step in w["later"]]))
    np.testing.assert_allclose(found["window"][1], np.median([5 + i + part for i, part in enumerate(decoder)]))
    np.testing.assert_allclose(found["decoder_per_second"][1], 5e3 / np.median(decoder))


def dequantized(kind, data, count):
    """The elements of the blocks, as ggml's documents describe them."""
    sizes = {"q8_0": 34, "q5_0": 22, "q4_0": 18}
    blocks = np.frombuffer(data, np.uint8).reshape(-1, sizes[kind])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if kind == "q8_0":
        return (blocks[:, 2:].view(np.int8) * scale).ravel()
    nibbles = blocks[:, -16:]
    levels = np.hstack([nibbles & 15, nibbles >> 4]).astype(np.int32)
    middle = 8
    if kind == "q5_0":
        levels |= np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little").astype(np.int32) << 4
        middle = 16
    return ((levels - middle) * scale).ravel()[:count]


@pytest.mark.parametrize(("kind", "levels"), [("q8_0", 127), ("q5_0", 16), ("q4_0", 8)])
def test_ggml_blocks(kind, levels):
    matrix = np.random.default_rng(2).normal(size=(7, 96)).astype(np.float32)
    matrix[3, :32] = 0
    found = dequantized(kind, ggml.ENCODE[kind](matrix), matrix.size).reshape(matrix.shape)
    # Half a step, or a whole one at the end that a signed range lacks, and half precision of the scale.
    step = np.abs(matrix.reshape(7, 3, 32)).max(2).repeat(32, 1) / levels
    assert (np.abs(found - matrix) <= 1.01 * step).all()
    assert np.abs(found - matrix).mean() < 0.3 * step.mean()


def test_a_step_of_several_texts_is_that_of_each():
    config = transformers.WhisperConfig(
        vocab_size=61, d_model=24, encoder_layers=1, decoder_layers=2, encoder_attention_heads=3,
        decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=40, max_source_positions=9,
        max_target_positions=16, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1)
    torch.manual_seed(3)
    step = Step(transformers.WhisperForConditionalGeneration(config).eval())
    shape = attention.Shape(layers=2, heads=3, size=8, width=24, source=9)
    _, position, past, _ = attention.sample(shape, 4, BEAMS)
    _, _, _, cross = attention.sample(shape, 4)
    tokens = torch.randint(0, 61, (BEAMS, 1))
    with torch.no_grad():
        logits, *present = attention.Chosen(step)(tokens, position, torch.tensor(parents()), *past, *cross)
        for text, parent in enumerate(parents()):
            own = [cache[parent : parent + 1] for cache in past]
            alone, *caches = step(tokens[text : text + 1], position, *own, *cross)
            torch.testing.assert_close(logits[text : text + 1], alone)
            for found, expected in zip(present, caches, strict=True):
                torch.testing.assert_close(found[text : text + 1], expected)
    assert len(present) == len(names(2)[0])


def comes_to(process, states):
    """Whether a process is in one of these states soon, as Linux names them."""
    for _ in range(1000):
        if Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in states:
            return True
        time.sleep(0.01)
    return False


def test_a_neighbour_spins_only_while_it_is_asked_to():
    neighbour = Neighbour()
    try:
        assert comes_to(neighbour.process, "T")
        with neighbour.busy():
            assert comes_to(neighbour.process, "R")
        assert comes_to(neighbour.process, "T")
    finally:
        neighbour.end()


def test_a_watched_command():
    work = "import time; block = bytearray(b'x') * 200_000_000; time.sleep(0.2); print('said')"
    done = subprocess.run([sys.executable, PEERS / "real" / "watch.py", sys.executable, "-c", work],
                          capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["text"] == "said\n" and found["status"] == 0
    assert found["seconds"] > 0.2 and 190 < found["peak_mib"] < 400


def row(runtime, name, window, **more):
    quartiles = lambda middle: [0.9 * middle, middle, 1.1 * middle]
    part = {"encoder": quartiles(window / 2), "first": quartiles(10.0), "later": quartiles(window / 200),
            "window": quartiles(window), "decoder_per_second": quartiles(1e3 / window)}
    return {"runtime": runtime, "name": name, "kind": "f32", "mode": "alone", "lanes": 1, "cosine": 1.0, **part,
            "to_first_token": quartiles(300.0), "peak_mib": 123.4, **more}


def test_tables_of_a_run():
    slow = row("ort", "ONNX Runtime f32", 150.0, cosine=0.2, not_held=True)
    slow["busy"] = {part: [1.5 * value for value in slow[part]] for part in ("encoder", "later", "window")}
    rows = [row("engine", "Crosslatch f32", 100.0), slow,
            row("engine", "Crosslatch f32", 100.0, mode="beams", lanes=5),
            row("ort", "ONNX Runtime f32", 300.0, mode="beams", lanes=5),
            {"runtime": "cpp", "name": "whisper.cpp f16", "kind": "bf16", "mode": "alone", "failure": "a | b"}]
    spoken = {"search": "greedy", "kind": "f32", "seconds": [1, 2, 3], "processor_seconds": [2, 3, 4],
              "peak_mib": 100.0, "wrong": 3}
    run = {"machine": {"processor": "P", "cores": 2, "memory_gib": 8, "instructions": ["AVX2"]}, "date": "D",
           "commit": "C", "threads": 2, "turns": 3, "instructions": "avx2",
           "versions": {"ONNX Runtime": "1"}, "held": {"Crosslatch": True, "ONNX Runtime": False},
           "models": [{"size": "tiny", "memory_gbs": [1, 2, 3], "rows": rows}],
           "recording": {"model": "M", "seconds": 262.0, "words": 100, "settings": "S.", "rows": [
               {**spoken, "name": "Crosslatch f32", "is_ours": True},
               {**spoken, "name": "faster-whisper f32", "is_ours": False, "seconds": [3, 4, 5]}]}}
    text = tables.document(json.loads(json.dumps(run)))
    assert "| ONNX Runtime f32, not held (**wrong scores**) | 75 (68–82) |" in text
    assert "| 150 (135–165) | 1.50 | 300 | 123 |" in text
    assert "| whisper.cpp f16 | failed: a / b |" in text
    assert re.search(r"\| ONNX Runtime f32 \| 0\.75 \(.*\) \| 1\.50 \(1\.35–1\.65\) \| 2\.00 \| 3\.00 \|", text)
    assert "| 225 (202–248) | +50% |" in text
    assert "| Crosslatch f32 | greedy | 2.00 (1.00–3.00) | 0.50 | 3.0 (2.0–4.0) | 100 | 1.00 |" in text
    assert "Nothing holds these to AVX2: ONNX Runtime." in text
    widths = {}
    for block in re.split(r"\n\n", text):
        if block.startswith("|"):
            widths.setdefault(block, {line.count("|") for line in block.splitlines()})
    assert widths and all(len(counts) == 1 for counts in widths.values())
