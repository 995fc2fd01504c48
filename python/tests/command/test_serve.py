"""The server from the clients' view: OpenAI's own client, a browser, and misbehaving clients."""

import base64
import concurrent.futures
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
import wave
from contextlib import contextmanager

import openai
import pytest

from browser import browser
from conftest import ROOT, TARGET

SAMPLES = ROOT / "demo" / "samples"


def transcripts():
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


class Server:
    """A running `crosslatch serve`."""

    def __init__(self, *flags, **variables):
        self.process = subprocess.Popen(
            [TARGET / "crosslatch", "serve", "--port", "0", *map(str, flags)],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "warn", **variables})
        self.said = ""  # before it listens
        found = None
        while not found:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", line)
        self.port, self.url = int(found[1]), f"http://127.0.0.1:{found[1]}"

    def client(self, **options):
        return openai.OpenAI(base_url=self.url + "/v1", **{"api_key": "none", "max_retries": 0,
                                                           **options})

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def count(self, series):
        return float(re.search(rf"^{series} (\S+)$", self.get("/metrics"), re.MULTILINE)[1])

    def until(self, series, value):
        """Waits until a metric has a value."""
        for _ in range(500):
            if self.count(series) == value:
                return
            time.sleep(0.02)
        raise AssertionError(f"{series} is never {value}\n{self.get('/metrics')}")


@contextmanager
def serving(*flags, **variables):
    server = Server(*flags, **variables)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def ask(client, name="light.wav", **fields):
    with open(SAMPLES / name, "rb") as file:
        return client.audio.transcriptions.create(**{"model": "whisper-1", "file": file, **fields})


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A minute of sentences, ten windows of the demo model."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with wave.open(str(path), "wb") as long, wave.open(str(SAMPLES / "light.wav")) as short:
        long.setparams(short.getparams())
        sound = short.readframes(short.getnframes()).ljust(2 * 6 * 16_000, b"\0")
        long.writeframes(sound * 10)
    return path


def test_each_sample_has_its_transcript(client):
    assert {name: ask(client, name).text for name in transcripts()} == transcripts()


@pytest.mark.parametrize("name", ["light.wav", "alarm.mp3", "wake-up.flac", "long"])
@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
def test_formats_are_what_the_command_prints(crosslatch, client, long, name, format):
    path = long if name == "long" else SAMPLES / name
    printed, _ = crosslatch("transcribe", path, "--format", format)
    assert ask(client, path, response_format=format) == printed


@pytest.mark.parametrize("name", ["light.wav", "long"])
def test_json_has_the_numbers_that_the_command_prints(crosslatch, client, long, name):
    path = long if name == "long" else SAMPLES / name
    printed = json.loads(crosslatch("transcribe", path, "--format", "json", "--timestamps")[0])
    answer = ask(client, path, response_format="verbose_json", timestamp_granularities=["segment"])
    assert (answer.text, answer.language, answer.duration) == (
        printed["text"], printed["language"], printed["duration"])
    assert len(answer.segments) == len(printed["segments"])
    for given, expected in zip(answer.segments, printed["segments"]):
        given = given.model_dump()
        assert 0 <= given.pop("no_speech_prob") <= 1
        assert given.pop("seek") == int(expected["start"] * 100)
        assert given == {name: expected[name] for name in given}
    printed = json.loads(crosslatch("transcribe", path, "--format", "json")[0])
    assert ask(client, path).text == printed["text"]


def test_a_stream_is_the_text_piece_by_piece(client, long):
    whole = ask(client, long).text
    with ask(client, long, stream=True) as stream:
        *deltas, done = stream
    assert len(deltas) == 10
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert "".join(event.delta for event in deltas) == whole
    assert (done.type, done.text) == ("transcript.text.done", whole)


def test_options_reach_the_model(crosslatch, client):
    assert ask(client, language="en", temperature=0, prompt="").text == transcripts()["light.wav"]
    for prompt in ("start a timer", "word " * 500):
        printed, _ = crosslatch("transcribe", SAMPLES / "timer.wav", "--prompt", prompt)
        assert ask(client, "timer.wav", prompt=prompt, response_format="text") == printed
    # The demo model has a token for the task, and English only to translate.
    printed, _ = crosslatch("transcribe", SAMPLES / "light.wav", "--task", "translate",
                            "--format", "srt")
    with open(SAMPLES / "light.wav", "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer = client.audio.translations.create(model="whisper-1", file=file,
                                                  response_format="srt")
    assert answer == printed


def test_the_model_is_listed_by_the_name_of_its_file(client):
    assert [model.id for model in client.models.list()] == ["model"]
    assert client.models.retrieve("model").id == "model"
    assert ask(client, model="model").text == transcripts()["light.wav"]
    with pytest.raises(openai.NotFoundError, match="does not exist") as raised:
        ask(client, model="gpt-4o-transcribe")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("fields, param, words", [
    ({"timestamp_granularities": ["word"], "response_format": "verbose_json"},
     "timestamp_granularities", "no times for words"),
    ({"language": "de"}, "language", "it knows en"),
    ({"temperature": 7}, "temperature", "from 0 to 1"),
    ({"response_format": "diarized_json"}, "response_format", "verbose_json"),
    ({"include": ["logprobs"]}, "include[]", "not supported"),
])
def test_what_cannot_be_had_is_a_bad_request_that_names_the_field(client, fields, param, words):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, **fields)
    assert raised.value.param == param and words in raised.value.message


def test_what_is_no_sound_is_refused_by_its_kind(client):
    with pytest.raises(openai.APIStatusError, match="is not a sound file that can be read") as raised:
        ask(client, file=("notes.txt", b"these are words"))
    assert raised.value.status_code == 415
    with pytest.raises(openai.UnprocessableEntityError, match="contains no sound"):
        ask(client, file=("empty.wav", (SAMPLES / "light.wav").read_bytes()[:40] + b"\0\0\0\0"))


def test_clients_at_once_get_each_their_own(client):
    names = sorted(transcripts()) * 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda name: ask(client, name).text, names))
    assert texts == [transcripts()[name] for name in names]


def test_too_much_is_refused_and_the_client_reads_why():
    with serving("--max-body", 200_000, "--max-seconds", 3) as server:
        client = server.client()
        with pytest.raises(openai.APIStatusError, match="larger than 200000 bytes") as raised:
            ask(client, file=("big.wav", bytes(8_000_000)))
        assert raised.value.status_code == 413
        with pytest.raises(openai.BadRequestError, match="longer than 3 s"):
            ask(client, "heldout-voice.wav")
        assert ask(client).text == transcripts()["light.wav"]


def test_a_key_is_asked_for():
    with serving(CROSSLATCH_API_KEY="sesame") as server:
        with pytest.raises(openai.AuthenticationError, match="not the one"):
            ask(server.client(api_key="wrong"))
        assert ask(server.client(api_key="sesame")).text == transcripts()["light.wav"]


def test_a_page_of_another_host_cannot_use_a_server_on_loopback():
    def status(server, **headers):
        request = urllib.request.Request(server.url + "/v1/models", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            error = json.loads(refusal.read())["error"]
            assert set(error) == {"message", "type", "param", "code"}
            return refusal.code

    with serving() as server:
        assert status(server) == status(server, Host="localhost:1") == 200
        assert status(server, Origin=server.url) == 200
        assert status(server, Host=f"rebound.example:{server.port}") == 403
        assert status(server, Origin="https://evil.example") == 403
    with serving("--allow-host", "voice.example") as server:
        assert status(server, Host="voice.example", Origin="https://voice.example") == 200
        assert status(server, Host="other.example") == 403


def test_a_prompt_of_megabytes_is_refused_at_once_and_costs_nobody_else(server, client):
    begun = time.monotonic()
    with pytest.raises(openai.BadRequestError, match="65536 bytes") as raised:
        ask(client, prompt="word " * 800_000)
    assert raised.value.param == "prompt"
    assert ask(client, prompt="word " * 13_000).text == ask(client, prompt="word " * 500).text
    assert time.monotonic() - begun < 10


def test_a_model_that_others_may_write_is_read_and_may_then_be_cut_short(tmp_path):
    path = tmp_path / "model.pt2"
    shutil.copy(ROOT / "demo" / "model.pt2", path)
    path.chmod(0o666)
    with serving("--model", path, RUST_LOG="info") as server:
        assert "read into memory and not mapped, because everybody may write it" in server.said
        path.write_bytes(b"")
        assert ask(server.client()).text == transcripts()["light.wav"]


def upload(server, path):
    """A connection on which a long request has been sent, and nothing read."""
    sound = path.read_bytes()
    form = (b"--cut\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n"
            b"--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"
            + sound + b"\r\n--cut--\r\n")
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
                       b"content-type: multipart/form-data; boundary=cut\r\n"
                       b"content-length: %d\r\n\r\n" % len(form) + form)
    return connection


@pytest.fixture(scope="module")
def endless(tmp_path_factory, long):
    """Twenty minutes, which take a worker seconds."""
    path = tmp_path_factory.mktemp("long") / "endless.wav"
    with wave.open(str(path), "wb") as out, wave.open(str(long)) as minute:
        out.setparams(minute.getparams())
        out.writeframes(minute.readframes(minute.getnframes()) * 12)
    return path


def test_a_full_queue_answers_429_and_clients_that_hang_up_make_room(endless):
    with serving("--workers", 1, "--queue", 1) as server:
        decoding = upload(server, endless)
        server.until("crosslatch_requests_in_flight", 1)
        waiting = upload(server, endless)
        server.until("crosslatch_queue_length", 1)
        with pytest.raises(openai.RateLimitError) as raised:
            ask(server.client())
        assert int(raised.value.response.headers["retry-after"]) >= 1
        waiting.close()
        decoding.close()
        server.until("crosslatch_requests_cancelled_total", 2)
        server.until("crosslatch_requests_in_flight", 0)
        assert server.count("crosslatch_decode_seconds_count") == 0
        assert ask(server.client()).text == transcripts()["light.wav"]


def test_a_stream_that_nobody_reads_on_is_given_up(endless):
    with serving("--workers", 1) as server:
        with ask(server.client(), endless, stream=True) as stream:
            assert next(stream).delta == transcripts()["light.wav"]
        server.until("crosslatch_requests_in_flight", 0)
        assert server.count("crosslatch_requests_cancelled_total") == 1
        assert server.count("crosslatch_decode_seconds_count") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_was_accepted_and_lets_nothing_more_in(long, number):
    with serving("--workers", 1) as server:
        accepted = [upload(server, long) for _ in range(3)]
        server.until("crosslatch_queue_length", 2)
        idle = socket.create_connection(("127.0.0.1", server.port))
        server.process.send_signal(number)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", server.port)).close()
            except ConnectionRefusedError:
                break
            time.sleep(0.02)
        else:
            raise AssertionError("it still listens")
        for connection in accepted:
            with connection, connection.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 200")
                assert answer.read().count(transcripts()["light.wav"].encode()) == 10
        assert server.process.wait(10) == 0
        idle.close()


def test_a_second_signal_does_not_wait(endless):
    with serving("--workers", 1) as server:
        with upload(server, endless):
            server.until("crosslatch_requests_in_flight", 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(5) == 0


def test_what_cannot_be_served_is_said_at_once(crosslatch, server, tmp_path):
    (tmp_path / "no.pt2").write_bytes(b"nothing")
    _, error = crosslatch("serve", "--model", tmp_path / "no.pt2", status=1)
    assert "no.pt2" in error
    _, error = crosslatch("serve", "--port", server.port, status=1)
    assert "cannot listen" in error and str(server.port) in error
    crosslatch("serve", "--workers", 0, status=2)


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile"), "--use-fake-ui-for-media-stream",
                 "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-audio-capture={SAMPLES / 'light.wav'}%noloop") as context:
        yield context.new_page()


@pytest.fixture
def opened(page, server):
    """The page, just loaded, and that it had nothing to complain about."""
    complaints = []

    def complain(message):
        # The browser logs a refusal as well, as expected.
        if message.type == "error" and "status of 400" not in message.text:
            complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    yield page
    page.remove_listener("console", complain)
    assert complaints == []


def drop(page, *names):
    files = [(name, base64.b64encode((SAMPLES / name).read_bytes()).decode()) for name in names]
    transfer = page.evaluate_handle("""files => {
        const transfer = new DataTransfer();
        for (const [name, text] of files)
            transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
        return transfer;
    }""", files)
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def test_files_dropped_on_the_page_are_transcribed(opened):
    from playwright.sync_api import expect
    names = ["light.wav", "alarm.mp3"]
    drop(opened, *names)
    for name in names:
        article = opened.locator("article", has_text=name)
        expect(article.locator(".text")).to_have_text(transcripts()[name])
        expect(article.get_by_role("button", name="Copy")).to_be_enabled()


def test_the_page_says_what_is_wrong(opened):
    from playwright.sync_api import expect
    opened.get_by_text("Options").click()
    opened.get_by_role("textbox", name="Language").fill("klingon")
    opened.set_input_files("#file", SAMPLES / "light.wav")
    expect(opened.locator("article .failed")).to_contain_text("it knows en")


def test_the_page_records(opened):
    from playwright.sync_api import expect
    opened.get_by_role("button", name="Record").click()
    expect(opened.locator("#status")).to_have_text(re.compile("Recording… 3 s"), timeout=15_000)
    opened.get_by_role("button", name="Stop and transcribe").click()
    text = opened.locator("article .text")
    expect(text).to_have_text(transcripts()["light.wav"], timeout=15_000)
