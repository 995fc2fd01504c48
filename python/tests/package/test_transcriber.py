"""Speech to text from Python: the command's transcripts, one segment after the other."""

import json
import pickle
import threading
import time
import wave

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

import crosslatch
from crosslatch import Transcriber

from .speech import DEMO, EXPECTED, SAMPLES, noise, random_folder, samples


@pytest.fixture(scope="module")
def transcriber():
    return crosslatch.Transcriber(DEMO, threads=2)


def long_sound(windows):
    """The same words at the start of each window of six seconds."""
    sound, rate = samples("light.wav")
    return np.tile(np.pad(sound, (0, 6 * rate - len(sound))), windows), rate


def test_files_are_transcribed(transcriber):
    texts = {name: transcriber.transcribe(SAMPLES / name).transcript().text for name in EXPECTED}
    assert texts == EXPECTED


def test_segments_are_those_of_the_command(crosslatch, transcriber):
    out, _ = crosslatch("transcribe", "--format", "json", SAMPLES / "timer.wav")
    expected = json.loads(out)
    transcript = transcriber.transcribe(SAMPLES / "timer.wav").transcript()
    assert transcript.text == expected["text"]
    assert transcript.duration == pytest.approx(expected["duration"])
    assert len(transcript.segments) == len(expected["segments"])
    for segment, fields in zip(transcript.segments, expected["segments"]):
        assert (segment.text, segment.tokens) == (fields["text"], fields["tokens"])
        for number in ("start", "end", "avg_logprob"):
            assert getattr(segment, number) == pytest.approx(fields[number])


def test_segments_come_out_as_they_are_decoded(transcriber):
    windows = 24
    transcription = transcriber.transcribe(*long_sound(windows))
    begun = time.perf_counter()
    arrived, texts = [], []
    for segment in transcription:
        arrived.append(time.perf_counter() - begun)
        texts.append(segment.text)
        assert segment.start == pytest.approx(6 * (len(texts) - 1))
    assert texts == [EXPECTED["light.wav"]] * windows
    assert arrived[0] < arrived[-1] / 3, arrived
    whole = transcription.transcript()
    assert [s.text for s in whole.segments] == texts and whole.text == " ".join(texts)
    assert next(transcription, None) is None


def test_text_comes_out_before_its_segment_and_is_all_of_it(transcriber):
    sound, rate = long_sound(6)
    for options, pieces in [({}, 20), ({"beam_size": 3, "timestamps": False}, 6), ({"fallback": True}, 1),
                            ({"batch": 2}, 1), ({"vad_filter": True}, 1)]:
        transcription = transcriber.transcribe(sound, rate, **options)
        deltas = list(transcription.deltas())
        whole = transcription.transcript()
        assert "".join(deltas) == whole.text and all(deltas)
        assert len(deltas) >= pieces, options
    # They can be taken in turns, and nothing is lost when they are left.
    transcription = transcriber.transcribe(sound, rate)
    deltas = transcription.deltas()
    first = next(deltas)
    segment = next(transcription)
    assert segment.text.startswith(first)
    assert first + "".join(deltas) == " ".join([segment.text, *(s.text for s in transcription)])
    assert transcription.transcript().text.startswith(first) and next(deltas, None) is None


def test_the_rest_can_be_left_undecoded(transcriber):
    """A sound whose decoding would take many times as long as this test."""
    transcription = transcriber.transcribe(*long_sound(600))
    assert next(transcription).text == EXPECTED["light.wav"]
    begun = time.perf_counter()
    del transcription
    assert time.perf_counter() - begun < 1
    assert transcriber.transcribe(SAMPLES / "timer.wav").transcript().text == EXPECTED["timer.wav"]


def test_transcripts_are_made_side_by_side(transcriber):
    one, other = (transcriber.transcribe(SAMPLES / name) for name in ("light.wav", "timer.wav"))
    assert [(a.text, b.text) for a, b in zip(one, other)] \
        == [(EXPECTED["light.wav"], EXPECTED["timer.wav"])]
    results = {}

    def work(name):
        results[name] = transcriber.transcribe(SAMPLES / name).transcript().text

    threads = [threading.Thread(target=work, args=[name]) for name in EXPECTED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == EXPECTED


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    """A folder of Whisper with random weights, whose window is a second, and the eager model."""
    folder = tmp_path_factory.mktemp("random")
    return folder, random_folder(folder)


OPTIONS = {
    "history": (dict(condition_on_previous_text=True), ["--condition-on-previous"]),
    "a prompt that stays": (dict(prompt="set a timer", keep_prompt=True, condition_on_previous_text=True),
                            ["--prompt", "set a timer", "--keep-prompt", "--condition-on-previous"]),
    "a draw": (dict(temperature=0.7, seed=3), ["--temperature", 0.7, "--seed", 3]),
    "temperatures": (dict(temperature=[0, 0.3], logprob_threshold=-0.2, seed=1),
                     ["--temperature", "0,0.3", "--logprob-threshold=-0.2", "--seed", 1]),
    "thresholds": (dict(fallback=True, compression_ratio_threshold=2, no_speech_threshold=0.9),
                   ["--fallback", "--compression-ratio-threshold", 2, "--no-speech-threshold", 0.9]),
    "beams": (dict(beam_size=3, timestamps=False, max_new_tokens=20),
              ["--beam-size", 3, "--no-timestamps", "--max-new-tokens", 20]),
    "more of beams": (dict(beam_size=3, length_penalty=2, patience=2, timestamps=False, max_new_tokens=20),
                      ["--beam-size", 3, "--length-penalty", 2, "--patience", 2, "--no-timestamps",
                       "--max-new-tokens", 20]),
    "no repetition": (dict(no_repeat_ngram_size=1), ["--no-repeat-ngram-size", 1]),
    "hotwords": (dict(hotwords="set a timer"), ["--hotwords", "set a timer"]),
    "voices": (dict(vad_filter=True), ["--vad"]),
    "silence": (dict(skip_silence=-21), ["--skip-silence=-21"]),
    "usual silence": (dict(skip_silence=True), ["--skip-silence"]),
    "pieces": (dict(batch=3), ["--batch", 2]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_do_what_those_of_the_command_do(crosslatch, random, case, tmp_path):
    options, flags = OPTIONS[case]
    folder, _ = random
    sound = np.round(noise(4.3) * 32767).astype(np.int16)
    sound[24000:46000] //= 64
    sound[50000:] //= 16
    file = tmp_path / "sound.wav"
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(sound.tobytes())
    printed, _ = crosslatch("transcribe", file, "--model", folder, "--format", "json", *flags)
    transcriber = Transcriber(folder, threads=2)
    expected = json.loads(printed)
    assert expected.pop("file") == str(file)
    transcript = transcriber.transcribe(sound, 16000, **options).transcript()
    assert json.loads(transcript.to("json")) == expected
    assert transcript != transcriber.transcribe(sound, 16000).transcript() or case in ("history", "usual silence", "thresholds")


def test_tokens_are_suppressed_as_by_transformers(random):
    folder, model = random
    sound = noise(0.9)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    features = extractor(sound, sampling_rate=16000, return_tensors="pt").input_features
    transcriber = crosslatch.Transcriber(folder, threads=1)

    def tokens(**options):
        (segment,) = transcriber.transcribe(sound, 16000, timestamps=False, **options).transcript().segments
        return segment.tokens

    def expected(**arguments):
        model.generation_config = type(model.generation_config).from_pretrained(folder)
        with torch.no_grad():
            return model.generate(features, **arguments)[0].tolist()

    plain = tokens()
    for beams in (1, 3):
        for suppressed in ([], sorted({*plain[::2]}), [*range(20, 600)]):
            ours = tokens(suppress_tokens=suppressed, beam_size=beams)
            theirs = expected(suppress_tokens=suppressed or None, num_beams=beams)
            eos = model.generation_config.eos_token_id
            assert ours == [token for token in theirs[-len(ours) - (theirs[-1] == eos):] if token != eos]
            assert not {*ours} & {*suppressed}
    with pytest.raises(crosslatch.Error, match="suppress_tokens: must be ids"):
        transcriber.transcribe(sound, 16000, suppress_tokens=[-2])


def test_the_best_of_several_draws_is_more_probable(random):
    transcriber = crosslatch.Transcriber(random[0], threads=1)
    sound = noise(0.9)

    def drawn(seed, **options):
        transcription = transcriber.transcribe(sound, 16000, temperature=1.0, seed=seed, timestamps=False, **options)
        (segment,) = transcription.transcript().segments
        assert segment.temperature == 1
        return segment

    one = [drawn(seed) for seed in range(6)]
    best = [drawn(seed, best_of=5) for seed in range(6)]
    assert best == [drawn(seed, best_of=5) for seed in range(6)]
    assert one == [drawn(seed, best_of=1) for seed in range(6)]
    assert len({segment.text for segment in one}) > 3
    assert np.mean([s.avg_logprob for s in best]) > np.mean([s.avg_logprob for s in one])
    with pytest.raises(crosslatch.Error, match="best_of: must be 1 to 64"):
        drawn(0, best_of=0)


def test_only_clips_are_decoded(transcriber):
    sound, rate = samples("light.wav")
    other, _ = samples("timer.wav")
    gap = np.zeros(6 * rate - len(sound), np.float32)
    long = np.concatenate([sound, gap, other, np.zeros(6 * rate - len(other), np.float32), sound, gap])
    for batch in (None, 2):
        transcript = transcriber.transcribe(
            long, rate, clip_timestamps=[6, 11, 12.0], batch=batch, timestamps=False).transcript()
        assert transcript.text == f"{EXPECTED['timer.wav']} {EXPECTED['light.wav']}"
        assert [(s.start, s.end) for s in transcript.segments] == [(6, 11), (12, 18)]
        assert [s.seek for s in transcript.segments] == [600, 1200]
        assert transcript.duration == 18
    with pytest.raises(crosslatch.Error, match="clip_timestamps: must be seconds in rising order"):
        transcriber.transcribe(long, rate, clip_timestamps=[3, 2])


def test_language_and_duration_are_known_before_the_end(tmp_path):
    tokens = {"<|en|>": 50, "<|de|>": 41, "<|haw|>": 600}
    model = random_folder(tmp_path, language=None, task=None, forced_decoder_ids=None, lang_to_id=tokens)
    transcriber = crosslatch.Transcriber(tmp_path, threads=1)
    assert transcriber.languages == ["de", "en", "haw"]
    sound = noise(40.5)
    features = WhisperFeatureExtractor.from_pretrained(tmp_path)(
        sound, sampling_rate=16000, return_tensors="pt", truncation=False).input_features[..., :100]
    with torch.no_grad():
        start = torch.tensor([[model.generation_config.decoder_start_token_id]])
        scores = model(features, decoder_input_ids=start).logits[0, -1]
    ids = sorted(tokens, key=lambda name: -scores[tokens[name]])
    expected = torch.softmax(scores[[tokens[name] for name in ids]], 0).tolist()
    for batch in (None, 2):
        segments = transcriber.transcribe(sound, 16000, batch=batch)
        info = segments.info
        probabilities = [probability for _, probability in info.languages]
        assert probabilities == sorted(probabilities, reverse=True)
        if batch is None:  # a piece is shorter than the first window
            assert [code for code, _ in info.languages] == [name[2:-2] for name in ids]
            assert probabilities == pytest.approx(expected, abs=1e-5)
        assert (info.language, info.language_probability) == info.languages[0]
        assert info.duration == segments.duration == 40.5
        assert segments.language == info.language and info == segments.info
        first = next(segments)
        assert first.id == 0
        del segments

    german = transcriber.transcribe(sound[:9000], 16000, language="German")
    assert german.info.languages == [("de", 1)]
    assert german.transcript().language == "de"
    assert repr(german.info) == "<crosslatch.TranscriptionInfo de (1.00), 0.56 s>"
    quiet = transcriber.transcribe(np.zeros(40000, np.float32), 16000, skip_silence=True)
    assert (quiet.info.language, quiet.info.language_probability, quiet.info.languages) == (None, None, [])
    assert [*quiet] == []


def test_segments_wait_while_the_language_is_asked_for(transcriber):
    transcription = transcriber.transcribe(*long_sound(4))
    assert transcription.language == "en"
    assert [segment.text for segment in transcription] == [EXPECTED["light.wav"]] * 4
    assert transcription.info.language == transcription.transcript().language == "en"


def test_a_model_that_knows_english_only_is_asked_for_english(tmp_path):
    random_folder(tmp_path, is_multilingual=False, forced_decoder_ids=None, lang_to_id=None, task_to_id=None)
    transcriber = crosslatch.Transcriber(tmp_path, threads=1)
    assert transcriber.languages == ["en"]
    plain = transcriber.transcribe(noise(0.9), 16000).transcript()
    assert plain.language == "en"
    for language in ("en", "English", "EN", "en-GB"):
        transcription = transcriber.transcribe(noise(0.9), 16000, language=language, task="transcribe")
        assert transcription.transcript() == plain
    for options in (dict(language="de"), dict(task="translate")):
        with pytest.raises(crosslatch.Error, match="knows English only"):
            transcriber.transcribe(noise(0.9), 16000, **options)


def test_options_that_make_no_sense_are_refused(transcriber):
    sound = SAMPLES / "light.wav"
    for options, message in [
        (dict(language="xx"), "it knows en"),
        (dict(language="German"), "it knows en"),
        (dict(temperature=-1), "temperatures: must be finite"),
        (dict(temperature=[0, float("nan")]), "temperatures: must be finite"),
        (dict(keep_prompt=True, prompt="a"), "needs condition_on_previous"),
        (dict(vad_filter=True, vad_parameters={"threshold": 1}), "voice: the threshold must lie between 0 and 1"),
        (dict(patience=0), "patience: must be above 0"),
        (dict(length_penalty=float("nan")), "length_penalty: must be a finite number"),
        (dict(batch=2, condition_on_previous_text=True), "side by side"),
    ]:
        with pytest.raises(crosslatch.Error, match=message):
            transcriber.transcribe(sound, **options)
    for options, message in [
        (dict(task="sing"), "unknown task \"sing\"; expected transcribe or translate"),
        (dict(batch=0), "batch is 0; give 1 to 256"),
        (dict(batch=257), "batch is 257"),
        (dict(vad_parameters={"threshold": 0.4}), "need vad_filter=True"),
        (dict(vad_filter=True, vad_parameters={"max_speech_duration_s": 9}), "there is threshold, min_speech"),
    ]:
        with pytest.raises(ValueError, match=message):
            transcriber.transcribe(sound, **options)
    for options in (dict(temperature="hot"), dict(skip_silence="yes"), dict(suppress_tokens=["a"])):
        with pytest.raises(TypeError):
            transcriber.transcribe(sound, **options)


def test_what_is_no_speech_model_is_refused(tmp_path):
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(2),)), path)
    with pytest.raises(crosslatch.Error, match="m.pt2: .*not a speech model: the archive has no"):
        crosslatch.Transcriber(path)
    with pytest.raises(FileNotFoundError):
        crosslatch.Transcriber(tmp_path / "missing.pt2")


def test_channels_are_transcribed_by_themselves(transcriber, crosslatch, tmp_path):
    """Two people on two channels: a file, an array, the command."""
    left, right = (np.round(samples(name)[0] * 32768).astype(np.int16) for name in ("light.wav", "timer.wav"))
    pause = np.zeros(24000, np.int16)
    one = np.concatenate([left, pause, np.zeros_like(right), pause])
    two = np.concatenate([np.zeros_like(left), pause, right, pause])
    sound = np.stack([one, two], axis=1)
    file = tmp_path / "call.wav"
    with wave.open(str(file), "wb") as out:
        out.setparams((2, 2, 16000, 0, "NONE", ""))
        out.writeframes(sound.tobytes())
    options = dict(channels=True, vad_filter=True)
    transcript = transcriber.transcribe(file, **options).transcript()
    assert [(s.channel, s.text) for s in transcript.segments] \
        == [("left", EXPECTED["light.wav"]), ("right", EXPECTED["timer.wav"])]
    assert transcript.text == f"{EXPECTED['light.wav']} {EXPECTED['timer.wav']}"
    for again in (sound, sound.T):
        assert transcriber.transcribe(again, 16000, **options).transcript() == transcript
    assert transcriber.transcribe(file, batch=2, **options).transcript().text == transcript.text
    printed, _ = crosslatch("transcribe", file, "--channels", "--vad", "--format", "srt")
    assert printed == transcript.to("srt")
    assert f"right: {EXPECTED['timer.wav']}" in printed
    (mono, *_) = transcriber.transcribe(SAMPLES / "light.wav", channels=True)
    assert mono.channel == "mono"
    assert "channel" not in next(transcriber.transcribe(SAMPLES / "light.wav")).to_dict()
    assert pickle.loads(pickle.dumps(mono)) == mono
