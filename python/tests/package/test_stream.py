"""A sound that is fed in pieces: its transcript is that of the whole sound, in Python and in the command."""

import json
import subprocess

import numpy as np
import pytest

import crosslatch as package
from conftest import TARGET

from .speech import DEMO, EXPECTED, SAMPLES, samples

NAMES = ["light.wav", "timer.wav", "message-22khz.wav"]


def sound(name, silence=2):
    """A recording with silence behind it, and its rate."""
    spoken, rate = samples(name)
    return np.concatenate([spoken, np.zeros(silence * rate, np.float32)]), rate


def feed(stream, spoken, size):
    updates = [stream.feed(spoken[at:at + size]) for at in range(0, len(spoken), size)]
    last, transcript = stream.finish()
    return [update for update in updates if update is not None], last, transcript


@pytest.mark.parametrize("name", NAMES)
def test_the_transcript_of_a_stream_is_that_of_the_sound(name):
    transcriber = package.Transcriber(DEMO)
    spoken, rate = sound(name)
    for size, options in [(rate // 50, {}), (rate // 3 + 7, {"vad_filter": False}), (rate * 2, {})]:
        stream = transcriber.stream(rate, **options)
        updates, last, transcript = feed(stream, spoken, size)
        whole = transcriber.transcribe(spoken, rate, vad_filter=options.get("vad_filter", True)).transcript()
        assert transcript == whole
        assert transcript.text == EXPECTED[name]
        assert last.tentative == "" and last.segments == list(transcript.segments)
        assert "".join(update.certain for update in [*updates, last]) == transcript.text


def test_what_was_said_before_a_pause_is_certain_and_whole_numbers_are_samples():
    transcriber = package.Transcriber(DEMO)
    spoken, rate = sound("light.wav", 3)
    stream = transcriber.stream(rate)
    updates, _, _ = feed(stream, (spoken * 32767).astype(np.int16), rate // 10)
    assert "".join(update.certain for update in updates) == EXPECTED["light.wav"]
    assert updates[-1].certain in repr(updates[-1])


def test_a_stream_refuses_what_it_cannot_take():
    transcriber = package.Transcriber(DEMO)
    stream = transcriber.stream()
    with pytest.raises(TypeError, match="takes samples"):
        stream.feed(b"RIFF")
    with pytest.raises(package.Error, match="no sound"):
        stream.finish()
    with pytest.raises(RuntimeError, match="has ended"):
        stream.feed(np.zeros(10, np.float32))
    with pytest.raises(package.Error):
        transcriber.stream(10)
    with pytest.raises(package.Error, match="English|known"):
        transcriber.stream(language="fr")


def listen(*arguments, **options):
    """Runs the command `listen`."""
    command = [TARGET / "crosslatch", "listen", "-q", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_writes_what_transcribe_writes(name):
    file = SAMPLES / name
    for arguments in [[], ["-f", "srt"], ["-f", "tsv"]]:
        done = listen("--no-vad", *arguments, input=file.read_bytes())
        assert done.returncode == 0, done.stderr
        command = [TARGET / "crosslatch", "transcribe", "-q", file, *arguments]
        assert done.stdout == subprocess.run(command, capture_output=True, check=True).stdout


def test_the_command_takes_raw_samples_and_tells_a_program_what_is_certain():
    spoken, rate = sound("light.wav", 3)
    stereo = np.stack([spoken, spoken], axis=1).astype("<f4")
    done = listen("--encoding", "f32le", "--rate", rate, "--channels", 2, "-f", "json", input=stereo.tobytes())
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["type"] for line in lines} <= {"text", "segment", "transcript"}
    assert "".join(line["certain"] for line in lines if line["type"] == "text") == EXPECTED["light.wav"]
    assert lines[-1]["type"] == "transcript" and lines[-1]["text"] == EXPECTED["light.wav"]
    assert abs(lines[-1]["duration"] - len(spoken) / rate) < 1e-3


def test_the_command_ends_at_an_interrupt_with_the_text():
    spoken, rate = sound("timer.wav", 3)
    command = [TARGET / "crosslatch", "listen", "-q", "-f", "json", "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write((spoken * 32767).astype("<i2").tobytes())
        process.stdin.flush()
        # The pipe stays open. The first text says that the sound has arrived.
        first = process.stdout.readline()
        process.send_signal(subprocess.signal.SIGINT)
        lines = [first, *process.stdout]
        assert process.wait(60) == 0
        assert json.loads(lines[-1])["text"] == EXPECTED["timer.wav"]


def test_the_command_refuses_what_is_no_sound_that_comes():
    for arguments, sound_bytes, cause in [
        ([], b"", "no sound"),
        ([], b"RIFF0000AVI LIST", "no WAV file"),
        (["/no/such/pipe"], b"", "cannot be read"),
    ]:
        done = listen(*arguments, input=sound_bytes)
        assert done.returncode == 1 and cause in done.stderr.decode(), done.stderr
    for arguments in (["--encoding", "mp3"], ["--skip-silence"], ["--clip-timestamps", "0,1"]):
        done = listen(*arguments, input=b"")
        assert done.returncode == 2 and arguments[0] in done.stderr.decode(), done.stderr
    shown = listen("--help").stdout.decode()
    assert "--vad" in shown and "--grammar" in shown
    assert "--skip-silence" not in shown and "--clip-timestamps" not in shown


def test_a_stream_has_the_options_of_decoding(tmp_path):
    transcriber = package.Transcriber(DEMO)
    spoken, rate = sound("light.wav")
    grammar = 'root ::= " turn on the light"'
    for options in [{"beam_size": 3, "patience": 2.0, "length_penalty": 0.5}, {"grammar": grammar},
                    {"temperature": 0.7}, {"no_repeat_ngram_size": 1}, {"hallucination_silence_threshold": 1.0}]:
        _, _, transcript = feed(transcriber.stream(rate, **options), spoken, rate // 3)
        assert transcript == transcriber.transcribe(spoken, rate, vad_filter=True, **options).transcript(), options
    with pytest.raises(package.Error, match="patience"):
        transcriber.stream(rate, beam_size=3, patience=-1.0)
    written = tmp_path / "grammar.gbnf"
    written.write_text(grammar)
    pcm = (spoken * 32767).astype("<i2").tobytes()
    done = listen("--grammar", written, "--rate", rate, input=pcm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == transcriber.transcribe(
        spoken, rate, vad_filter=True, grammar=grammar).transcript().text
