"""OpenAI's own client against the server: each format, streams, translations, errors."""

import array
import json
import random
import warnings
import wave

import pytest

from serving import SAMPLES, ask, demo_that_says, long, serving, transcripts  # noqa: F401

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 2) as server:
        yield server


@pytest.fixture(scope="module")
def silence(tmp_path_factory):
    """Nine seconds of faint noise, a window and a half of the demo model, and a sentence."""
    path = tmp_path_factory.mktemp("silence") / "silence.wav"
    noise = random.Random(3)
    with wave.open(str(path), "wb") as out, wave.open(str(SAMPLES / "light.wav")) as short:
        out.setparams(short.getparams())
        faint = array.array("h", (noise.randint(-9, 9) for _ in range(9 * 16_000)))
        out.writeframes(faint.tobytes() + short.readframes(short.getnframes()))
    return path


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
    # Token by token, or with `fallback` segment by segment.
    assert len(deltas) >= len(whole.split())
    with ask(client, long, stream=True, extra_body={"fallback": True}) as stream:
        *segments, _ = stream
    assert len(segments) == 10
    for events in (deltas, segments):
        assert {event.type for event in events} == {"transcript.text.delta"}
        assert "".join(event.delta for event in events) == whole
    assert (done.type, done.text) == ("transcript.text.done", whole)


def test_options_reach_the_model(crosslatch, client):
    assert ask(client, language="en", temperature=0, prompt="").text == transcripts()["light.wav"]
    for prompt in ("start a timer", "word " * 500):
        printed, _ = crosslatch("transcribe", SAMPLES / "timer.wav", "--prompt", prompt)
        assert ask(client, "timer.wav", prompt=prompt, response_format="text") == printed


def translate(client, path, **fields):
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return client.audio.translations.create(model="whisper-1", file=file, **fields)


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
def test_translations_are_what_the_command_prints(crosslatch, client, long, format):
    # The demo model has a token for the task, and English only to translate.
    printed, _ = crosslatch("transcribe", long, "--task", "translate", "--format", format)
    assert translate(client, long, response_format=format) == printed


def test_translations_in_json_say_that_they_are_some(crosslatch, client, long):
    printed = json.loads(crosslatch("transcribe", long, "--task", "translate", "--format", "json",
                                    "--timestamps")[0])
    verbose = translate(client, long, response_format="verbose_json")
    assert (verbose.text, verbose.task, verbose.language) == (printed["text"], "translate", "en")
    assert [(s.start, s.end, s.text) for s in verbose.segments] == [
        (s["start"], s["end"], s["text"]) for s in printed["segments"]]
    assert translate(client, SAMPLES / "light.wav").text == transcripts()["light.wav"]


def test_a_stream_in_verbose_json_says_times_and_progress(client, long):
    whole = ask(client, long, response_format="verbose_json")
    with ask(client, long, stream=True, response_format="verbose_json") as stream:
        events = list(stream)
    by_type = {}
    for event in events:
        by_type.setdefault(event.type, []).append(event)
    segments = by_type["transcript.text.segment"]
    assert [(s.start, s.end, s.text) for s in segments] == [
        (s.start, s.end, s.text) for s in whole.segments]
    assert "".join(event.delta for event in by_type["transcript.text.delta"]) == whole.text
    done = [event.seconds for event in by_type["transcript.progress"]]
    assert done == sorted(done) and done[-1] == whole.duration == 60
    last, whole = events[-1].model_dump(), whole.model_dump(exclude_unset=True)
    assert last["type"] == "transcript.text.done"
    assert (last["usage"]["type"], last["usage"]["seconds"]) == ("duration", 60)
    del whole["usage"]
    assert {name: last[name] for name in whole} == whole


def test_the_model_goes_by_its_files_name_and_by_those_of_openais(client):
    names = [model.id for model in client.models.list()]
    assert names[0] == "model" and {"whisper-1", "gpt-4o-transcribe"} < set(names)
    for name in names:
        assert client.models.retrieve(name).id == name
        assert ask(client, model=name).text == transcripts()["light.wav"]
    with pytest.raises(openai.NotFoundError, match="does not exist") as raised:
        ask(client, model="large-v3")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    assert all(name in raised.value.message for name in names)


def test_names_that_are_given_replace_openais():
    with serving("--name", "scribe", "--alias", "tiny,small", "--alias", "base") as server:
        client = server.client()
        assert [model.id for model in client.models.list()] == ["scribe", "tiny", "small", "base"]
        assert ask(client, model="base").text == transcripts()["light.wav"]
        with pytest.raises(openai.NotFoundError, match='"scribe", also called "tiny", "small"'):
            ask(client, model="whisper-1")
    with serving("--name", "scribe", "--alias=") as server:
        assert [model.id for model in server.client().models.list()] == ["scribe"]


def test_english_may_be_named_where_a_model_knows_nothing_else(tmp_path):
    english = demo_that_says(tmp_path / "english.pt2", is_multilingual=False, lang_to_id=None,
                             task_to_id=None, language=None, task=None)
    with serving("--model", english) as server:
        client = server.client()
        (model, *_) = client.models.list()
        assert (model.id, model.languages, model.tasks) == ("english", ["en"], ["transcribe"])
        usual = ask(client).text
        for language in ("en", "English", "auto"):
            assert ask(client, language=language).text == usual
        assert ask(client, response_format="verbose_json").language == "en"
        with pytest.raises(openai.BadRequestError, match="English only"):
            ask(client, language="de")
        with pytest.raises(openai.BadRequestError, match="English only"):
            translate(client, SAMPLES / "light.wav")


def test_what_the_server_decides_a_request_may_decide_otherwise(crosslatch, silence):
    def printed(*flags):
        return crosslatch("transcribe", silence, "--format", "srt", *flags)[0]

    skipped, decoded = printed("--skip-silence"), printed()
    assert skipped != decoded
    for flags, default in (((), decoded), (("--skip-silence",), skipped),
                           (("--skip-silence=-45", "--fallback", "--beam-size", 2), None)):
        with serving(*flags) as server:
            def text(**fields):
                return ask(server.client(), silence, response_format="srt", extra_body=fields)
            if default is not None:
                assert text() == default
            if "--fallback" not in flags:
                assert text(skip_silence=True) == text(skip_silence=-45) == skipped
                assert text(skip_silence=False) == decoded
            assert text(fallback=True, skip_silence=False) == printed("--fallback", *flags[2:])
            assert text(fallback=False, skip_silence=True) == printed("--skip-silence", *flags[2:])


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """A sentence on each of two channels, one after the other, with 4 s of a tone between."""
    path = tmp_path_factory.mktemp("call") / "call.wav"
    said = []
    for name in ("light.wav", "timer.wav"):
        with wave.open(str(SAMPLES / name)) as file:
            said.append(array.array("h", file.readframes(file.getnframes())))
    tone = array.array("h", (8000 if i // 18 % 2 else -8000 for i in range(4 * 16_000)))
    left = said[0] + tone + array.array("h", [0] * len(said[1]))
    right = array.array("h", [0] * len(said[0])) + tone + said[1]
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, 16_000, 0, "NONE", ""))
        out.writeframes(array.array("h", (x for pair in zip(left, right) for x in pair)).tobytes())
    return path


def test_only_speech_is_decoded_and_each_channel_by_itself(crosslatch, call):
    def printed(*flags):
        return crosslatch("transcribe", call, "--format", "srt", *flags)[0]

    spoken, everything = printed("--vad"), printed()
    assert spoken != everything
    for flags, default in (((), everything), (("--vad",), spoken)):
        with serving(*flags) as server:
            def text(**fields):
                return ask(server.client(), call, response_format="srt", extra_body=fields)
            assert text() == default
            assert text(vad_filter=True) == spoken
            assert text(vad_filter=False) == everything
            apart = text(vad_filter=True, channels=True)
            assert apart == printed("--vad", "--channels")
            assert [line for line in apart.splitlines() if ":" in line and "-->" not in line] \
                == [f"{name}: {transcripts()[file]}" for name, file in (("left", "light.wav"), ("right", "timer.wav"))]
            answer = ask(server.client(), call, response_format="verbose_json",
                         extra_body=dict(vad_filter=True, channels=True))
            assert [segment.model_extra["channel"] for segment in answer.segments] == ["left", "right"]
            assert text(clip_timestamps="0,1") == printed("--clip-timestamps", "0,1")
            assert text(hotwords="set", beam_size=2, no_repeat_ngram_size=1) \
                == printed("--hotwords", "set", "--beam-size", 2, "--no-repeat-ngram-size", 1, *flags)
            assert text(beam_size=3, length_penalty=-2.5, patience=2) \
                == printed("--beam-size", 3, "--length-penalty", -2.5, "--patience", 2, *flags)
            assert text(hallucination_silence_threshold=0.5) \
                == printed("--hallucination-silence-threshold", 0.5, *flags)


@pytest.mark.parametrize("fields, param, words", [
    ({"language": "de"}, "language", "it knows en"),
    ({"temperature": 7}, "temperature", "from 0 to 1"),
    ({"response_format": "diarized_json"}, "response_format", "verbose_json"),
    ({"include": ["logprobs"]}, "include[]", "not supported"),
    ({"extra_body": {"beam_size": "many"}}, "beam_size", "a whole number"),
    ({"extra_body": {"patience": "much"}}, "patience", "a number"),
    ({"extra_body": {"clip_timestamps": "1;2"}}, "clip_timestamps", "commas"),
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
