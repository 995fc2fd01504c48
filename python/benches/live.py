"""How late text is while somebody speaks: `crosslatch listen`, fed in real time.

    python python/benches/live.py MODEL RECORDING… [--precision P] [--computed]

Recordings are WAV files.  For each it prints how many seconds after the end of a word (by `--word-timestamps`) its
text was first shown as it is in the end, and was certain; the processor time as a share of one core; and the time from the end of the sound
to the final text, which has to be that of `transcribe --vad`.  Words that the model wrote otherwise before the final
text are counted apart.

By the clock, all of that says something only if nothing else runs.  `--computed` feeds `Transcriber.stream` with one
thread instead, and has its clock go on by the processor time of each decoding: so late would text be on one free core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python" / "tests")]

import crosslatch  # noqa: E402

from conftest import TARGET  # noqa: E402
from delays import delays, shown  # noqa: E402

PIECE = 0.05


def spoken(model, file, flags):
    """The final text, and its words with their ends.

    With times of words a model writes timestamps, and may set another comma: they are a run of their own.
    """
    def transcribe(*more):
        command = [TARGET / "crosslatch", "transcribe", "-q", "-m", model, "--vad", "-f", "json", file, *flags, *more]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    segments = transcribe("--word-timestamps")["segments"]
    return transcribe()["text"], [(w["word"], w["end"]) for segment in segments for w in segment["words"]]


def followed(model, file, flags):
    """[(message, when it came)], seconds of processor time, and seconds from the sound's end to the last message."""
    with wave.open(str(file)) as sound:
        assert (sound.getsampwidth(), sound.getnchannels()) == (2, 1)
        rate, samples = sound.getframerate(), sound.readframes(sound.getnframes())
    command = [TARGET / "crosslatch", "listen", "-q", "-m", model, "-f", "json", "--rate", str(rate), *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # Opening the model is no part of it.
    time.sleep(2)
    messages, before, opening = [], os.times(), processor_time(process.pid)
    begun = time.monotonic()

    def read():
        for line in process.stdout:
            messages.append((json.loads(line), time.monotonic() - begun))

    reader = threading.Thread(target=read)
    reader.start()
    step = 2 * int(PIECE * rate)
    for at in range(0, len(samples), step):
        end = min(at + step, len(samples))
        time.sleep(max(0.0, begun + end / 2 / rate - time.monotonic()))
        process.stdin.write(samples[at:end])
        process.stdin.flush()
    ended = time.monotonic() - begun
    process.stdin.close()
    reader.join()
    process.wait()
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4]) - opening
    return messages, spent, messages[-1][1] - ended


def computed(model, file, precision):
    """What `followed` returns, by a clock that counts sound and the processor time of one thread."""
    with wave.open(str(file)) as sound:
        rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    stream = crosslatch.Transcriber(model, precision=precision, threads=1).stream(rate)
    messages, spent, clock, fed = [], 0.0, 0.0, 0
    while fed < len(samples):
        clock = max(clock, (fed / rate) + PIECE)
        there = min(len(samples), int(clock * rate))
        begun = time.process_time()
        update = stream.feed(samples[fed:there])
        took = time.process_time() - begun
        fed, clock, spent = there, clock + took, spent + took
        if update:
            messages.append(({"type": "text", "certain": update.certain, "tentative": update.tentative}, clock))
    clock, begun = max(clock, len(samples) / rate), time.process_time()
    update, transcript = stream.finish()
    took = time.process_time() - begun
    last = clock + took
    messages.append(({"type": "text", "certain": update.certain, "tentative": update.tentative}, last))
    messages.append(({"type": "transcript", "text": transcript.text, "duration": transcript.duration}, last))
    return messages, spent + took, last - len(samples) / rate


def processor_time(pid):
    """Seconds that a running process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lines(messages):
    """[(all text that is shown, when)]."""
    certain, told = "", []
    for message, when in messages:
        if message["type"] == "text":
            certain += message["certain"]
            told.append((certain + message["tentative"], when))
    return told


def line(values):
    values = sorted(values)
    return (f"{statistics.median(values):.2f} / {values[int(0.9 * (len(values) - 1))]:.2f} / {values[-1]:.2f}"
            if values else "–")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--computed", action="store_true")
    arguments = parser.parse_args()
    flags = ["--precision", arguments.precision]
    print("| recording | shown | certain | share of one core | to the final text | written otherwise before |")
    print("|---|---|---|---|---|---|")
    for file in arguments.recordings:
        text, words = spoken(arguments.model, file, flags)
        if arguments.computed:
            messages, spent, last = computed(arguments.model, file, arguments.precision)
        else:
            messages, spent, last = followed(arguments.model, file, flags)
        assert messages[-1][0]["text"] == text, (messages[-1][0]["text"], text)
        certain = [(message["certain"], when) for message, when in messages if message["type"] == "text"]
        late, other = delays(words, certain)
        seen, _ = shown(words, lines(messages))
        seconds = messages[-1][0]["duration"]
        print(f"| {file.name}, {seconds:.0f} s | {line(seen)} | {line(late)} | {spent / seconds:.0%} | {last:.2f} s "
              f"| {other} of {len(words)} |", flush=True)


if __name__ == "__main__":
    main()
