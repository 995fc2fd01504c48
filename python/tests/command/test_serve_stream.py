"""Sound that is sent to the server while it comes: over a WebSocket, by a client that others wrote."""

import contextlib
import http.client
import json
import signal
import socket as sockets
import struct
import wave

import pytest

from serving import SAMPLES, ask, endless, long, serving, transcripts  # noqa: F401

websockets = pytest.importorskip("websockets", reason="the tests' client is not installed: pip install websockets")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 1) as server:
        yield server


def samples(name, silence=2.0):
    """A recording as the bytes of its samples, with silence behind it, and its rate."""
    with wave.open(str(SAMPLES / name)) as file:
        rate = file.getframerate()
        return file.readframes(file.getnframes()) + bytes(2 * int(rate * silence)), rate


def opened(server, **options):
    return connect(server.url.replace("http", "ws") + "/v1/audio/stream", **options)


def started(socket, **start):
    socket.send(json.dumps({"type": "start", **start}))
    assert json.loads(socket.recv(30))["type"] == "started"


def messages(socket):
    """What still comes, and the code with which the socket is closed."""
    heard = []
    while True:
        try:
            heard.append(json.loads(socket.recv(60)))
        except ConnectionClosed as closed:
            return heard, closed.rcvd.code


def certain(heard):
    return "".join(message["certain"] for message in heard if message["type"] == "text")


def test_the_text_is_that_of_the_file_and_comes_while_the_sound_is_sent(server, crosslatch):
    for name in ("light.wav", "timer.wav", "message-22khz.wav"):
        sound, rate = samples(name)
        with opened(server) as socket:
            started(socket, rate=rate)
            for at in range(0, len(sound), rate // 5):
                socket.send(sound[at:at + rate // 5])
            text = ""
            while text != transcripts()[name]:
                message = json.loads(socket.recv(30))
                assert message["type"] == "text" and message["open"].endswith(message["certain"])
                text += message["certain"]
            socket.send(json.dumps({"type": "end"}))
            heard, code = messages(socket)
        assert code == 1000 and certain(heard) == ""
        assert heard[-1]["type"] == "transcript" and heard[-1]["text"] == transcripts()[name]
        (segment,) = [message for message in heard if message["type"] == "segment"]
        printed, _ = crosslatch("transcribe", SAMPLES / name, "--vad", "-f", "json")
        (expected,) = json.loads(printed)["segments"]
        assert segment["tokens"] == expected["tokens"]
        assert abs(heard[-1]["duration"] - len(sound) / 2 / rate) < 1e-3


def test_options_are_those_of_a_form_and_words_have_times(server):
    sound, rate = samples("light.wav")
    with opened(server) as socket:
        started(socket, rate=rate, timestamp_granularities=["word"], beam_size=3, vad_filter=False)
        socket.send(sound)
        socket.send(json.dumps({"type": "end"}))
        heard, _ = messages(socket)
    (segment,) = [message for message in heard if message["type"] == "segment"]
    assert "".join(word["word"] for word in segment["words"]).strip() == transcripts()["light.wav"]


def test_sounds_of_several_speakers_and_a_file_share_one_worker(server, endless):
    names = ["light.wav", "timer.wav", "message-22khz.wav"]
    file = ask_for(server, endless)
    server.until("crosslatch_requests_in_flight", 1)
    with contextlib.ExitStack() as all_open:
        speakers = [(name, all_open.enter_context(opened(server))) for name in names]
        for name, socket in speakers:
            sound, rate = samples(name)
            started(socket, rate=rate)
            socket.send(sound)
            socket.send(json.dumps({"type": "end"}))
        assert server.count("crosslatch_streams") == 3
        for name, socket in speakers:
            heard, code = messages(socket)
            assert (heard[-1]["text"], code) == (transcripts()[name], 1000)
    # They did not wait for the file's end.
    assert server.count("crosslatch_requests_in_flight") == 1
    file.close()
    server.until("crosslatch_streams", 0)


def ask_for(server, path):
    """A request for the transcript of a file, which ends when it is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = (b'--cut\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            + path.read_bytes() + b"\r\n--cut--\r\n")
    connection.request("POST", "/v1/audio/transcriptions", body,
                       {"content-type": "multipart/form-data; boundary=cut"})
    return connection


def test_what_is_wrong_is_said_and_what_cannot_be_opened_as_well(server):
    for start, reason in [
        ({"type": "start", "response_format": "json"}, "response_format is not supported"),
        ({"type": "start", "language": "xx"}, "xx"),
        ({"type": "start", "rate": 1}, "1 samples a second"),
    ]:
        with opened(server) as socket:
            socket.send(json.dumps(start))
            heard, code = messages(socket)
        assert heard[-1]["type"] == "error" and reason in heard[-1]["error"]["message"]
        assert set(heard[-1]["error"]) == {"message", "type", "param", "code"} and code == 1008
    with pytest.raises(InvalidStatus) as refused, opened(server, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    with serving("--streams", 0, CROSSLATCH_API_KEY="sesame") as none:
        with pytest.raises(InvalidStatus) as refused, opened(none):
            pass
        assert refused.value.response.status_code == 401
        key = {"Authorization": "Bearer sesame"}
        with pytest.raises(InvalidStatus) as refused, opened(none, additional_headers=key):
            pass
        assert b"takes no sound that still comes" in refused.value.response.body


def test_a_server_that_ends_gives_the_text_of_what_it_heard():
    sound, rate = samples("light.wav")
    with serving("--workers", 1) as server, opened(server) as socket:
        started(socket, rate=rate)
        socket.send(sound)
        json.loads(socket.recv(30))
        server.process.send_signal(signal.SIGTERM)
        heard, code = messages(socket)
        assert (heard[-1]["text"], heard[-1]["ended_by"]) == (transcripts()["light.wav"], "server_ends")
        assert code == 1001 and server.process.wait(30) == 0


def test_a_client_that_breaks_off_frees_its_place(server):
    sound, rate = samples("light.wav")
    for _ in range(20):
        with opened(server) as socket:
            started(socket, rate=rate)
            socket.send(sound)
            # No close: as if the network were gone.
            socket.socket.setsockopt(*linger())
            socket.socket.close()
    server.until("crosslatch_streams", 0)
    assert ask(server.client()).text == transcripts()["light.wav"]


def linger():
    """The option that has a socket reset its connection."""
    return sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0)
