"""OpenAI's own client against the server: each format, streams, translations, errors."""

import json
import warnings

import pytest

from serving import SAMPLES, ask, demo_that_says, long, serving, transcripts  # noqa: F401

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return server.client()


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
