"""Transcripts as values: compared, pickled, written in each format, shown in short."""

import copy
import json
import pickle

import pytest
from .speech import DEMO, SAMPLES

import crosslatch as package


@pytest.fixture(scope="module")
def transcript():
    return package.Transcriber(DEMO, threads=2).transcribe(SAMPLES / "timer.wav", timestamps=True).transcript()


def test_it_is_written_as_the_command_writes_it(crosslatch, transcript):
    for name in ("text", "json", "srt", "vtt", "tsv"):
        expected, _ = crosslatch("transcribe", "--timestamps", "--format", name, SAMPLES / "timer.wav")
        if name == "json":
            expected = expected.replace(f'  "file": {json.dumps(str(SAMPLES / "timer.wav"))},\n', "")
        assert transcript.to(name) == expected
        assert transcript.to(name.upper()) == expected
    assert transcript.to("txt") == transcript.to("text")
    with pytest.raises(ValueError, match="unknown format \"docx\"; expected text"):
        transcript.to("docx")


def test_a_dictionary_has_the_fields_of_the_json(transcript):
    def near(value):
        if isinstance(value, dict):
            return {name: near(field) for name, field in value.items()}
        if isinstance(value, list):
            return [near(entry) for entry in value]
        return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value

    written = json.loads(transcript.to("json"))
    assert list(written["segments"][0]) == list(transcript.segments[0].to_dict())
    assert transcript.to_dict() == near(written)
    assert json.loads(json.dumps(transcript.to_dict())) == transcript.to_dict()
    for segment in transcript.segments:
        for name, value in segment.to_dict().items():
            assert getattr(segment, name) == value
    assert [segment.id for segment in transcript.segments] == list(range(len(transcript.segments)))


def test_copies_are_equal_and_changes_are_not(transcript):
    first = transcript.segments[0]
    for value in (transcript, first, *transcript.segments):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(value, protocol)) == value
        assert copy.deepcopy(value) == value == copy.copy(value)
    for name, value in first.to_dict().items():
        other = {bool: lambda x: not x, str: lambda x: x + "!", list: lambda x: [*x, 1],
                 type(None): lambda x: 0.5}.get(type(value), lambda x: x + 1)(value)
        changed = package.Segment(**first.to_dict() | {name: other})
        assert changed != first and getattr(changed, name) == other
    with pytest.raises(AttributeError):
        first.text = "other"


def test_words_are_values_as_well():
    word = package.Word(start=0.5, end=1.25, word=" Hello", probability=0.5)
    assert word.to_dict() == dict(start=0.5, end=1.25, word=" Hello", probability=0.5)
    assert repr(word) == '<crosslatch.Word 0.50 to 1.25 s: " Hello">'
    assert word != package.Word(**word.to_dict() | dict(end=1.5))
    segment = package.Segment(start=0, end=2, text="Hello there", words=[word, dict(word.to_dict(), word=" there")])
    assert segment.words[0] == word and segment.words[1].word == " there"
    transcript = package.Transcript([segment])
    for value in (word, segment, transcript):
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
    assert transcript.to_dict()["segments"][0]["words"][0] == word.to_dict()
    assert package.Segment(start=0, end=2, text="Hello there").words is None
    shown = transcript.to("srt", max_words_per_line=1)
    assert shown.count("00:00:00,500 --> 00:00:01,250") == 2
    assert "<u>Hello</u> there" in transcript.to("vtt", highlight_words=True)
    assert "Hello\nthere" in transcript.to("srt", max_line_width=6)


def test_transcripts_can_be_put_together():
    segments = [package.Segment(start=0, end=1.5, text="Hello"), package.Segment(start=2, end=3.25, text="there <b>")]
    transcript = package.Transcript(segments, language="en")
    assert (transcript.text, transcript.duration) == ("Hello there <b>", 3.25)
    assert transcript.to("vtt") == ("WEBVTT\n\n00:00.000 --> 00:01.500\nHello\n\n"
                                    "00:02.000 --> 00:03.250\nthere &lt;b&gt;\n\n")
    assert package.Transcript([]).to("text") == "" and package.Transcript([]).duration == 0


def test_what_is_shown_is_short(transcript):
    long = package.Segment(start=0, end=600, text="véry " * 1000, tokens=list(range(5000)))
    assert repr(long) == f'<crosslatch.Segment 0.00 to 600.00 s: "{"véry " * 12}…">'
    assert len(repr(package.Transcript([long] * 100))) < 120
    assert repr(transcript.segments[0]).startswith("<crosslatch.Segment 0.00 to ")
    assert len(repr(transcript)) < 120
