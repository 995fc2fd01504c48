"""Where transcripts go and what a person sees: folders, headings, subtitles, the bar, Ctrl-C."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import wave

import pytest

from conftest import ROOT, TARGET

SAMPLES = ROOT / "demo" / "samples"
RATE = 16_000


def transcripts():
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


TEXT = transcripts()["light.wav"]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """One sentence many times, each in a window of its own, and how many times."""
    path, times = tmp_path_factory.mktemp("long") / "long.wav", 400
    with wave.open(str(SAMPLES / "light.wav")) as short:
        sound = short.readframes(short.getnframes()).ljust(2 * 6 * RATE, b"\0")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound * times)
    return path, times


def test_each_input_gets_a_file_for_each_format(crosslatch, tmp_path):
    out, error = crosslatch("transcribe", SAMPLES / "light.wav", SAMPLES / "alarm.mp3",
                            "-o", tmp_path / "a" / "b", "-f", "SRT,json", "--format", "Text")
    assert out == "" and "error" not in error
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["alarm.json", "alarm.srt", "alarm.txt", "light.json", "light.srt", "light.txt"]
    folder = tmp_path / "a" / "b"
    assert (folder / "light.txt").read_text() == TEXT + "\n"
    document = json.loads((folder / "light.json").read_text())
    assert document["file"] == str(SAMPLES / "light.wav") and document["text"] == TEXT
    assert TEXT in (folder / "light.srt").read_text()


def test_inputs_of_one_name_do_not_overwrite_each_other(crosslatch, tmp_path):
    inputs = [tmp_path / "talk.wav", tmp_path / "talk.mp3", tmp_path / "other" / "talk.mp3"]
    inputs[2].parent.mkdir()
    for path, sample in zip(inputs, ["light.wav", "alarm.mp3", "alarm.mp3"]):
        shutil.copy(SAMPLES / sample, path)
    crosslatch("transcribe", *inputs, "-o", tmp_path / "out")
    alarm = transcripts()["alarm.mp3"]
    texts = {path.name: path.read_text().strip() for path in (tmp_path / "out").iterdir()}
    assert texts == {"talk.wav.txt": TEXT, "talk.mp3.txt": alarm, "talk.mp3.2.txt": alarm}


def test_a_file_that_cannot_be_read_leaves_the_others_alone(crosslatch, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound" * 100)
    _, error = crosslatch("transcribe", tmp_path / "bad.wav", SAMPLES / "light.wav",
                          "-o", tmp_path / "out", status=1)
    assert "bad.wav" in error and "1 of 2 files" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["light.txt"]


def test_a_folder_that_cannot_be_made_is_named(crosslatch, tmp_path):
    (tmp_path / "file").write_text("")
    _, error = crosslatch("transcribe", SAMPLES / "light.wav", "-o", tmp_path / "file", status=1)
    assert str(tmp_path / "file") in error


def test_documents_of_several_files_are_told_apart(crosslatch):
    inputs = [SAMPLES / "light.wav", SAMPLES / "timer.wav"]
    out, _ = crosslatch("transcribe", *inputs, "-f", "json")
    decoder, files = json.JSONDecoder(), []
    while out.strip():
        document, end = decoder.raw_decode(out.lstrip())
        files.append(document["file"])
        out = out.lstrip()[end:]
    assert files == [str(path) for path in inputs]
    out, _ = crosslatch("transcribe", *inputs, "-f", "vtt")
    assert re.findall(r"^==> (.*) <==\nWEBVTT$", out, re.M) == files


def test_subtitles_have_lines_of_a_width(crosslatch):
    out, _ = crosslatch("transcribe", SAMPLES / "light.wav", "-f", "srt",
                        "--max-line-width", 14, "--max-line-count", 1)
    cues = [cue.split("\n") for cue in out.strip().split("\n\n")]
    assert [cue[0] for cue in cues] == [str(i + 1) for i in range(len(cues))] and len(cues) > 1
    assert all(len(cue) == 3 and len(cue[2]) <= 14 for cue in cues)
    assert " ".join(cue[2] for cue in cues) == TEXT
    times = [cue[1].split(" --> ") for cue in cues]
    assert all(start < end for start, end in times)
    assert all(before[1] == after[0] for before, after in zip(times, times[1:]))
    both, _ = crosslatch("transcribe", SAMPLES / "light.wav", "-f", "vtt", "--max-line-width", 14)
    assert len(both.strip().split("\n\n")) == 2


@pytest.mark.parametrize("flags, message", [
    (["-f", "srt,vtt"], "--output-dir"),
    (["--max-line-width", 40], "only srt and vtt"),
    (["-f", "srt", "--max-line-count", 2], "--max-line-width"),
    (["-f", "docx"], "possible values: text, json, srt, vtt, tsv"),
    (["-q", "-v"], "cannot be used with"),
    (["--output_format", "srt"], "use --format"),
    (["-osrt"], "use `--format srt --output-dir DIR`"),
    (["-of", "name"], "use --output-dir"),
    (["-ml", 42], "use --max-line-width"),
    (["--initial_prompt", "Ada"], "use --prompt"),
    (["--beam_size=5"], "use --beam-size"),
    (["--word_timestamps", "True"], "use --word-timestamps"),
])
def test_wrong_usage_says_what_to_write(crosslatch, flags, message):
    _, error = crosslatch("transcribe", SAMPLES / "light.wav", *flags, status=2)
    assert message in error, error


def test_names_are_taken_in_any_case(crosslatch):
    flags = ["-m", ROOT / "demo" / "model.pt2", "-l", "English", "--task", "Transcribe", "-f", "TXT"]
    assert crosslatch("transcribe", SAMPLES / "light.wav", *flags)[0] == TEXT + "\n"
    assert crosslatch("transcribe", SAMPLES / "light.wav", "-l", "auto")[0] == TEXT + "\n"


def test_verbose_says_how_fast_it_was(crosslatch):
    _, error = crosslatch("transcribe", SAMPLES / "light.wav", "-v")
    assert re.search(r"light.wav: 0:02 of sound, 16000 Hz, channels: 1, .*\d × real time", error), error


def test_parts_of_a_sound_are_decoded(crosslatch, long):
    path, _ = long
    document = json.loads(crosslatch("transcribe", path, "-f", "json", "--clip-timestamps", "12,24,60,66")[0])
    assert [s["text"] for s in document["segments"] if s["text"]] == [TEXT] * 3
    assert all(12 <= s["start"] < s["end"] <= 24 or 60 <= s["start"] < s["end"] <= 66 for s in document["segments"])


def start(*arguments, **pipes):
    return subprocess.Popen([TARGET / "crosslatch", "transcribe", *map(str, arguments)], **pipes)


def test_text_comes_as_it_is_decoded_and_is_kept_at_an_interrupt(long):
    path, times = long
    with start(path, "-f", "tsv", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        head = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = ("".join(head) + out).splitlines()
    assert rows[0] == "start\tend\ttext" and 3 <= len(rows) < times
    assert all(row.endswith("\t" + TEXT) for row in rows[1:])
    assert re.search(r"stopped at \d+:\d\d of 40:00 of .*long.wav; the text up to there", error), error


def test_files_are_written_at_an_interrupt(long, tmp_path):
    path, times = long
    with start(path, "-o", tmp_path, "-f", "txt,json", "--batch", 2, stderr=subprocess.PIPE, text=True) as process:
        # Long enough for some windows; if it was not, there is a message instead of a file.
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    if "before any text" in error:
        pytest.skip("the machine is too slow to be interrupted in time")
    assert str(tmp_path / "long.txt") in error
    document = json.loads((tmp_path / "long.json").read_text())
    assert 1 <= len(document["segments"]) < times and document["language"] == "en"
    texts = [s["text"] for s in document["segments"] if s["text"]]
    assert (tmp_path / "long.txt").read_text().splitlines() == texts


def on_a_terminal(*arguments):
    """What a terminal is shown of both outputs."""
    controller, terminal = pty.openpty()
    with start(*arguments, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                if select.select([controller], [], [], 60)[0]:
                    piece = os.read(controller, 1 << 16)
            except OSError:  # the other end was closed
                piece = b""
            if not piece:
                break
            shown += piece
    os.close(controller)
    assert process.returncode == 0
    return shown.decode()


def test_a_terminal_shows_times_above_a_bar_that_says_how_fast_it_is(long, tmp_path):
    path, times = long
    short = tmp_path / "short.wav"
    with wave.open(str(path)) as file, wave.open(str(short), "wb") as cut:
        cut.setparams(file.getparams())
        cut.writeframes(file.readframes(RATE * 6 * 20))
    shown = on_a_terminal(short)
    assert len(re.findall(r"\[\d\d:\d\d\.\d{3} --> \d\d:\d\d\.\d{3}\] " + TEXT, shown)) == 20
    assert re.search(r"\d+%  [\d.]+ × real time, \d+:\d\d left +short.wav", shown), shown
    # Text is shown as it grows, before its line is there.
    assert shown.count(TEXT.split()[0]) > 20, shown
    quiet = on_a_terminal(short, "-q")
    assert TEXT in quiet and "%" not in quiet
    folder = on_a_terminal(short, "-o", tmp_path)
    assert len(re.findall(r"\] " + TEXT, folder)) == 20


def test_segments_end_with_the_sound_and_do_not_overlap(crosslatch, long, tmp_path):
    path, _ = long
    cut = tmp_path / "cut.wav"
    with wave.open(str(path)) as file, wave.open(str(cut), "wb") as out:
        out.setparams(file.getparams())
        out.writeframes(file.readframes(int(RATE * 32.87)))
    for flags in ([], ["--batch", 2], ["--no-timestamps"]):
        document = json.loads(crosslatch("transcribe", cut, "-f", "json", *flags)[0])
        ends = [0.0]
        for segment in document["segments"]:
            assert ends[-1] <= segment["start"] <= segment["end"] <= document["duration"]
            ends.append(segment["end"])
