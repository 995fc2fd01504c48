"""The server under more clients than it has workers, for minutes, while some of them hang up.

First a single client requests one transcript after the other: that is the throughput to beat.  Then many
clients do, each with a connection of its own; one request in ten is abandoned at a random moment.  Every
answer is compared with the known words of the sample.  Then a single client runs again, which shows
whether the abandoned requests left anything behind.  Memory is read every second.  Processor time per
transcript is reported as well, because the load of shared machines varies.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CROSSLATCH_TARGET", ROOT / "target" / "release"))
SAMPLES = ROOT / "demo" / "samples"


def requests():
    """The bytes of a request for each sample, and the words to expect."""
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    for name, words in (line.split("\t") for line in lines):
        form = (b"--cut\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--cut\r\n"
                b"content-disposition: form-data; name=\"file\"; filename=\"%s\"\r\n\r\n%s\r\n--cut--\r\n"
                % (name.encode(), (SAMPLES / name).read_bytes()))
        head = (b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: soak\r\n"
                b"content-type: multipart/form-data; boundary=cut\r\ncontent-length: %d\r\n\r\n")
        yield head % len(form) + form, words


class Soak:
    def __init__(self, port, process):
        self.port, self.pid = port, process.pid
        self.requests = list(requests())
        self.random = random.Random(1)
        self.clear()

    def clear(self):
        self.right = self.abandoned = self.refused = 0
        self.wrong, self.seconds = [], []

    def kilobytes(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def processor_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def metric(self, series):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return float(re.search(rf"^{series} (\S+)$", text, re.MULTILINE)[1])

    async def client(self, until, abandons):
        """Asks until a time; abandons so large a part of its requests."""
        connection = None
        while time.monotonic() < until:
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = connection
            request, words = self.random.choice(self.requests)
            begun = time.monotonic()
            if self.random.random() < abandons:
                writer.write(request[:self.random.choice([len(request), self.random.randrange(len(request))])])
                await asyncio.sleep(self.random.uniform(0, 0.5))
                writer.transport.abort()
                self.abandoned += 1
                connection = None
                continue
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.search(r"content-length: (\d+)", head)[1])
            answer = json.loads(await reader.readexactly(length))
            if head.startswith("HTTP/1.1 200") and answer["text"] == words:
                self.right += 1
                self.seconds.append(time.monotonic() - begun)
            elif head.startswith("HTTP/1.1 429"):
                self.refused += 1
                await asyncio.sleep(int(re.search(r"retry-after: (\d+)", head)[1]))
            else:
                self.wrong.append((head.splitlines()[0], answer, words))
        if connection:
            connection[1].close()

    async def phase(self, name, clients, seconds, abandons=0.0):
        self.clear()
        begun, memory = time.monotonic(), []
        used = self.processor_seconds()
        work = [asyncio.create_task(self.client(begun + seconds, abandons)) for _ in range(clients)]
        while not all(task.done() for task in work):
            memory.append(self.kilobytes() / 1024)
            await asyncio.wait(work, timeout=1)
        await asyncio.gather(*work)
        took = time.monotonic() - begun
        times = sorted(self.seconds)
        used = self.processor_seconds() - used
        print(f"{name}: {self.right} right in {took:.0f} s ({self.right / took:.1f}/s), "
              f"{len(self.wrong)} wrong, {self.refused} refused, {self.abandoned} abandoned; "
              f"median {statistics.median(times) * 1000:.0f} ms, "
              f"99% {times[int(len(times) * 0.99)] * 1000:.0f} ms; "
              f"{used / took:.2f} cores, {used / self.right * 1000:.1f} ms of one each", flush=True)
        return self.right / took, memory

    async def run(self, clients, seconds):
        wrong = []
        alone, _ = await self.phase("one client", 1, 15)
        wrong += self.wrong
        together, memory = await self.phase(f"{clients} clients", clients, seconds, abandons=0.1)
        wrong += self.wrong
        after, _ = await self.phase("one client again", 1, 15)
        wrong += self.wrong
        left = [await self.metric("crosslatch_requests_in_flight"),
                await self.metric("crosslatch_queue_length")]
        size = max(len(memory) // 6, 1)
        sixths = [max(memory[at:at + size]) for at in range(0, len(memory), size)][:6]
        print(f"throughput {together / alone:.2f} times one client's; after it {after / alone:.2f} times")
        print("memory by sixths of the time: " + ", ".join(f"{m:.1f}" for m in sixths) + " MiB")
        failures = [f"wrong answer: {case}" for case in wrong[:5]]
        if left != [0, 0]:
            failures.append(f"in flight and waiting afterwards: {left}")
        # The first sixth is for plans and buffers that are made once.
        if sixths[-1] > 1.1 * sixths[min(1, len(sixths) - 1)]:
            failures.append("memory grows")
        return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("flags", nargs="*", help="for crosslatch serve, behind --")
    args = parser.parse_args()
    process = subprocess.Popen(
        [TARGET / "crosslatch", "serve", "--port", "0", "--queue", str(args.queue), *args.flags],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "error"})
    try:
        line = process.stderr.readline()
        found = re.search(r":(\d+)$", line.strip())
        if not found:
            sys.exit(line + process.stderr.read())
        failures = asyncio.run(Soak(int(found[1]), process).run(args.clients, args.seconds))
    finally:
        process.terminate()
        status = process.wait(30)
    if status != 0:
        failures.append(f"the server ended with {status}")
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
