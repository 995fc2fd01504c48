"""The command from a user's view: results, messages, exit status."""

import json
import os
import shutil
import subprocess
import wave
import zipfile

import numpy as np
import pytest
import torch

from conftest import ROOT, TARGET

import crosslatch.ops  # noqa: F401  defines the operators

ops = torch.ops.executorch

DEMO = ROOT / "demo" / "model.pt2"
SAMPLES = ROOT / "demo" / "samples"


def transcripts():
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def test_samples_are_transcribed_alone_and_together_in_any_order(crosslatch):
    expected = transcripts()
    names = sorted(expected)
    alone = {name: crosslatch("transcribe", SAMPLES / name)[0].strip() for name in names}
    assert alone == expected
    for order in (names, names[::-1]):
        out, _ = crosslatch("transcribe", *(SAMPLES / name for name in order))
        texts = [f"==> {SAMPLES / name} <==\n{expected[name]}\n" for name in order]
        assert out == "\n".join(texts)


def test_wrong_usage_has_status_2(crosslatch):
    crosslatch("transcribe", status=2)
    crosslatch("no-such-command", status=2)


def test_a_missing_file_is_named(crosslatch):
    _, error = crosslatch("inspect", "missing.pt2", status=1)
    assert "missing.pt2" in error and "panicked" not in error


@pytest.mark.parametrize("length", [0, 1, 100, 5000, 500_000, -1, -30, -3000])
def test_a_truncated_archive_is_refused(crosslatch, tmp_path, length):
    path = tmp_path / "short.pt2"
    path.write_bytes(DEMO.read_bytes()[:length])
    _, error = crosslatch("inspect", path, status=1)
    assert str(path) in error and "panicked" not in error


@pytest.mark.parametrize("command", [["verify"], ["inspect"], ["bench"], ["transcribe", "--model"],
                                     ["generate", "--text", "a", "--model"]])
def test_what_is_no_file_is_refused_at_once_by_every_command(crosslatch, tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    sound = [SAMPLES / "light.wav"] if "transcribe" in command else []
    for path, words in [(tmp_path / "pipe", "is a pipe, not a file"),
                        ("/dev/zero", "is a device, not a file"),
                        (tmp_path, "name a .pt2 file")]:
        _, error = crosslatch(*command, path, *sound, status=1)
        assert words in error and str(path) in error


def test_an_archive_with_a_name_twice_is_refused(crosslatch, tmp_path):
    path = tmp_path / "twice.pt2"
    shutil.copy(DEMO, path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(file.infolist()[0].filename, b"another")
    _, error = crosslatch("verify", path, status=1)
    assert "occurs twice" in error


def test_a_model_may_be_read_instead_of_mapped(crosslatch, tmp_path):
    sound = SAMPLES / "light.wav"
    assert crosslatch("transcribe", sound, "--no-map") == crosslatch("transcribe", sound)
    for command in ("verify", "inspect"):
        assert crosslatch(command, DEMO, "--no-map") == crosslatch(command, DEMO)


def rewrite(path, change):
    """The demo archive with one entry changed."""
    with zipfile.ZipFile(DEMO) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))


@pytest.mark.parametrize("old, new, message", [
    (b'"major": 8', b'"major": 9', "schema version 9"),
    (b"torch.ops.aten.gelu.default", b"torch.ops.aten.gelu.unheard", "aten::gelu.unheard"),
    (b'"as_int": 160', b'"as_int": 9999999999999', "decoder.json"),
])
def test_a_changed_program_is_refused(crosslatch, tmp_path, old, new, message):
    path = tmp_path / "changed.pt2"
    rewrite(path, lambda name, data: data.replace(old, new) if "/models/" in name else data)
    _, error = crosslatch("inspect", path, status=1)
    assert message in error and "panicked" not in error


def test_a_pickled_weight_is_refused_by_name(crosslatch, tmp_path):
    path = tmp_path / "pickle.pt2"
    rewrite(path, lambda name, data: data.replace(b'"use_pickle": false', b'"use_pickle": true')
            if name.endswith("weights_config.json") else data)
    _, error = crosslatch("inspect", path, status=1)
    assert "pickle" in error and "data/weights/" in error


def test_a_wrong_input_is_named_with_both_shapes(crosslatch, tmp_path):
    import numpy as np
    np.savez(tmp_path / "in.npz", input_features=np.zeros((1, 80, 7), np.float32))
    _, error = crosslatch("run", DEMO, "--method", "encoder", "--input", tmp_path / "in.npz",
                          "--output", tmp_path / "out.npz", status=1)
    assert "input_features" in error and "[1, 80, 7]" in error and "[1, 80, 600]" in error


def test_inspect_says_first_what_the_model_is(crosslatch):
    out, _ = crosslatch("inspect", DEMO)
    lines = out.splitlines()
    assert lines[0].startswith("whisper (WhisperForConditionalGeneration), ")
    assert "4 encoder and 2 decoder layers, width 160, 955 tokens, language en" in lines[1]
    assert out.index("method encoder") < out.index("method decoder")
    states = [line for line in lines if line.startswith("  state ")]
    assert len(states) == 2 and "caches.{0..1}.{keys,values}" in states[0] and "× 4" in states[0]


def test_a_reader_that_goes_away_is_no_error():
    for options in ([], ["--json"]):
        command = subprocess.Popen([TARGET / "crosslatch", "inspect", DEMO, *options],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        command.stdout.close()
        assert command.stderr.read() == b"" and command.wait() == 0


def test_verify_proves_the_demo_model_and_refuses_a_hazard(crosslatch, tmp_path):
    out, _ = crosslatch("verify", DEMO)
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["decoder", "encoder"]
    assert all("safe for (" in line and "cache bytes copied: 0" in line for line in lines)
    out, _ = crosslatch("verify", DEMO, "--details")
    assert "state @caches.0.cross_keys is the memory of" in out and "  copied:" not in out
    assert "%getitem (then: executorch::alias; else: executorch::update_cross_attn_cache)" in out

    class Undecided(torch.nn.Module):
        """The memory of the result depends on the branch, and then the cache is written."""

        def __init__(self):
            super().__init__()
            self.register_buffer("cache", torch.zeros(1, 1, 4, 2))

        def forward(self, x, ready):
            keys = torch.cond(ready, lambda c, v: ops.alias(c, v)[0], lambda c, v: v + 1,
                              (self.cache, x))
            ops.update_cross_attn_cache(x, self.cache)
            return keys + self.cache

    path = tmp_path / "undecided.pt2"
    example = torch.ones(1, 1, 4, 2), torch.tensor(True)
    torch.export.save(torch.export.export(Undecided(), example, strict=False), path)
    _, error = crosslatch("verify", path, status=1)
    assert "after one branch" in error and "higher_order::cond" in error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_every_command(crosslatch, shell):
    script, _ = crosslatch("completions", shell)
    for command in ("transcribe", "run", "inspect", "bench", "verify"):
        assert command in script


def test_the_manual_has_a_page_for_each_command(crosslatch):
    overview, _ = crosslatch("man")
    assert overview.startswith(".ie") and "transcribe" in overview
    page, _ = crosslatch("man", "transcribe")
    assert ".TH" in page and "\\-\\-language" in page
    _, error = crosslatch("man", "nothing", status=1)
    assert "no command `nothing`" in error


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_read_as_numpy_writes_them(crosslatch, tmp_path, compressed):
    program = torch.export.export(Doubled(), (torch.zeros(2, 3),))
    torch.export.save(program, tmp_path / "m.pt2")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "in.npz", x=x)
    crosslatch("run", tmp_path / "m.pt2", "--input", tmp_path / "in.npz",
               "--output", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        (out,) = arrays.values()
    np.testing.assert_array_equal(out, 2 * x)


class Doubled(torch.nn.Module):
    def forward(self, x):
        return x + x


def test_formats_with_times_ask_the_model_for_them(crosslatch):
    words = transcripts()["light.wav"]
    out, _ = crosslatch("transcribe", SAMPLES / "light.wav", "--format", "tsv")
    (start, end, text) = out.splitlines()[1].split("\t")
    assert int(start) < 500 and 1000 < int(end) < 2264 and text == words
    out, _ = crosslatch("transcribe", SAMPLES / "light.wav", "--format", "tsv", "--no-timestamps")
    assert out.splitlines()[1].split("\t") == ["0", "2265", words]


def test_pieces_side_by_side_are_cut_between_sentences_however_many_there_are(crosslatch, tmp_path):
    path, sentences = tmp_path / "long.wav", []
    with wave.open(str(path), "wb") as long:
        for name in ("light.wav", "timer.wav", "heldout-voice.wav") * 3:
            with wave.open(str(SAMPLES / name)) as short:
                if not sentences:
                    long.setparams(short.getparams())
                sound = short.readframes(short.getnframes())
            long.writeframes(sound.ljust(2 * 5 * 16_000, b"\0"))
            sentences.append(transcripts()[name])
    results = [crosslatch("transcribe", path, "--format", "json", "--batch", n)[0] for n in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert [s["text"] for s in json.loads(results[0])["segments"] if s["text"]] == sentences
    skipped, _ = crosslatch("transcribe", path, "--batch", 2, "--skip-silence")
    assert skipped.splitlines() == sentences


def test_what_the_options_cannot_be_is_said_before_anything_is_decoded(crosslatch):
    for flags, status, message in [
        (["--language", "xx"], 1, "language \"xx\" is not known to this model; it knows en"),
        (["--beam-size", 0], 1, "ask for 1 to 64"),
        (["--temperature", "0,warm"], 2, "--temperature"),
        (["--keep-prompt"], 2, "--prompt"),
        (["--timestamps", "--no-timestamps"], 2, "cannot be used with"),
        (["--max-new-tokens", 200], 1, "ask for fewer new tokens"),
        (["--batch", 2, "--condition-on-previous"], 1, "side by side"),
    ]:
        _, error = crosslatch("transcribe", SAMPLES / "light.wav", *flags, status=status)
        assert message in error, error


def test_bench_says_how_many_times_faster_than_real_time_a_speech_model_is(crosslatch):
    out, _ = crosslatch("bench", DEMO, "--passes", 1, "--json")
    (row,) = json.loads(out)["rows"]
    assert (row["window_seconds"], row["window_tokens"]) == (6, 64)
    assert row["times_real_time"] == pytest.approx(6000 / row["window_ms"])
    out, _ = crosslatch("bench", DEMO, "--passes", 1)
    assert "ms for 6 s of sound with 64 tokens: " in out and "× real time" in out
