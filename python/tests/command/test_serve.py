"""The server under load, at its limits, with a key, with signals, and with misbehaving clients."""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
import wave

import pytest

from conftest import ROOT
from serving import SAMPLES, ask, endless, long, serving, transcripts  # noqa: F401

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return server.client()


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
    with serving("--allow-origin", "https://voice.example") as server:
        assert status(server, Origin="https://voice.example") == 200
        assert status(server, Origin="http://voice.example") == 403
        assert status(server, Host="voice.example", Origin="https://voice.example") == 403
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
            assert transcripts()["light.wav"].startswith(next(stream).delta)
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
    _, error = crosslatch("serve", "--allow-origin", "voice.example", status=2)
    assert "is no origin" in error and "https://voice.example" in error
    _, error = crosslatch("serve", "--port", 0, "--language", "klingon", status=1)
    assert "klingon" in error and "it knows en" in error
    _, error = crosslatch("serve", "--port", 0, "--skip-silence=nan", status=1)
    assert "-120 to 0" in error
    crosslatch("serve", "--port", 0, "--beam-size", 100_000, status=1)
