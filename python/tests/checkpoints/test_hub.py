"""Models by name: from a hub on loopback into a cache, and from the cache without a hub."""

import json
import os
import subprocess
import sys
import time

import pytest
from demo_checkpoint import DEMO, SAMPLE, hugging_face_folder
from huggingface_hub import constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from hub import COMMIT, Hub

from conftest import ROOT, TARGET

NAME = "someone/demo-whisper"
WEIGHTS = "model.safetensors"
#: What others publish beside a model, which nobody here needs.
OTHER = {"README.md": b"# demo", "flax_model.msgpack": bytes(9000), "pytorch_model.bin": bytes(8000)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = hugging_face_folder(tmp_path_factory.mktemp("demo") / "demo")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files):
    hub = Hub({NAME: files | OTHER})
    yield hub
    hub.close()


@pytest.fixture
def environment(hub, tmp_path):
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("HF_", "CROSSLATCH_MODEL")) and "proxy" not in name.lower()}
    return kept | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}


@pytest.fixture
def command(environment, tmp_path):
    def run(*args, status=0, **variables):
        done = subprocess.run([TARGET / "crosslatch", *map(str, args)], cwd=tmp_path, capture_output=True,
                              text=True, env=environment | variables)
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    return run


@pytest.fixture
def transcribe(command):
    return lambda model=NAME, **rest: command("transcribe", SAMPLE, "--model", model, **rest)


def cached(tmp_path, name=NAME):
    return tmp_path / "home" / "hub" / f"models--{name.replace('/', '--')}"


def expected():
    done = subprocess.run([TARGET / "crosslatch", "transcribe", SAMPLE, "--model", DEMO],
                          capture_output=True, text=True, check=True)
    return done.stdout


def test_a_name_is_downloaded_once_and_then_needs_no_hub(transcribe, hub, tmp_path, files):
    text, log = transcribe()
    assert text == expected()
    assert log == f"downloading {NAME}\n"
    snapshot = cached(tmp_path) / "snapshots" / COMMIT
    assert {path.name for path in snapshot.iterdir()} == set(files), "only what is needed"
    assert all(path.read_bytes() == files[path.name] for path in snapshot.iterdir())
    assert not list((cached(tmp_path) / "blobs").glob("*.incomplete"))
    asked = len(hub.requests)
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        assert transcribe(**variables) == (text, "")
    assert len(hub.requests) == asked


def test_the_cache_is_the_one_of_huggingface_hub(transcribe, hub, environment, tmp_path, monkeypatch):
    home = tmp_path / "home" / "hub"
    transcribe()
    assert try_to_load_from_cache(NAME, WEIGHTS, cache_dir=home) == str(
        cached(tmp_path) / "snapshots" / COMMIT / WEIGHTS)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hf_hub_download(NAME, WEIGHTS, cache_dir=home, endpoint=hub.endpoint, etag_timeout=30)
    assert hub.asked(WEIGHTS) == [], "it knows the file by its checksum"

    # And the other way round.
    theirs = tmp_path / "theirs"
    snapshot_download(NAME, cache_dir=theirs, endpoint=hub.endpoint, etag_timeout=30)
    hub.requests.clear()
    text, _ = transcribe(HF_HUB_CACHE=str(theirs))
    assert text == expected() and hub.requests == []


def test_what_another_tool_left_out_is_fetched_and_used_without_it_if_that_fails(
        transcribe, hub, tmp_path):
    home = tmp_path / "home" / "hub"
    for file in ("config.json", "tokenizer.json", "preprocessor_config.json", WEIGHTS):
        hf_hub_download(NAME, file, cache_dir=home, endpoint=hub.endpoint, etag_timeout=30)
    hub.requests.clear()
    transcribe(HF_HUB_OFFLINE="1")
    assert hub.requests == []
    transcribe()
    snapshot = cached(tmp_path) / "snapshots" / COMMIT
    assert (snapshot / "generation_config.json").exists() and hub.asked(WEIGHTS) == []


@pytest.mark.parametrize("whole", [False, True], ids=["parts", "a hub without parts"])
def test_an_interrupted_download_goes_on_where_it_broke_off(transcribe, hub, tmp_path, files, whole):
    hub.breaks[WEIGHTS] = 100_000
    if whole:
        hub.whole.add(WEIGHTS)
    assert transcribe()[0] == expected()
    assert hub.asked(WEIGHTS) == [None, 100_000]


def test_a_download_that_was_ended_goes_on_in_the_next_process(transcribe, hub, tmp_path, files):
    hub.instead[WEIGHTS] = files[WEIGHTS][:70_000]
    _, error = transcribe(status=1)
    assert f"it ends after 70000 of {len(files[WEIGHTS])} bytes" in error
    del hub.instead[WEIGHTS]
    hub.requests.clear()
    assert transcribe()[0] == expected()
    assert hub.asked(WEIGHTS) == [70_000]


def test_a_file_of_the_wrong_size_or_contents_is_refused_and_not_kept(transcribe, hub, tmp_path, files):
    good = files[WEIGHTS]
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 1
    for instead, says in ((good + b"!", f"more comes than the announced {len(good)} bytes"),
                          (bytes(damaged), "its checksum is not the announced one")):
        hub.instead[WEIGHTS] = instead
        _, error = transcribe(status=1)
        assert NAME in error and says in error
        assert not (cached(tmp_path) / "snapshots" / COMMIT / WEIGHTS).exists()
    del hub.instead[WEIGHTS]
    assert transcribe()[0] == expected()


def test_a_damaged_beginning_from_an_earlier_call_is_fetched_again(transcribe, hub, tmp_path, files):
    hub.instead[WEIGHTS] = bytes(70_000)
    transcribe(status=1)
    del hub.instead[WEIGHTS]
    hub.requests.clear()
    assert transcribe()[0] == expected()
    assert hub.asked(WEIGHTS) == [70_000, None]


def test_a_missing_repository_a_private_one_and_no_hub_at_all(transcribe, hub):
    _, error = transcribe("someone/else", status=1)
    assert f"someone/else: the hub at {hub.endpoint} has no such model" in error
    hub.private.add(NAME)
    hub.token = "hf_secret"
    _, error = transcribe(status=1)
    assert "refuses access (401)" in error and "HF_TOKEN" in error
    _, error = transcribe(status=1, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in error and f"hf download {NAME}" in error
    _, error = transcribe(status=1, HF_ENDPOINT="http://127.0.0.1:9")
    assert f"{NAME}: http://127.0.0.1:9/" in error and "refused" in error
    assert transcribe(HF_TOKEN="hf_secret")[0] == expected()
    sent = {path.split("/")[1]: token for _, path, _, token in hub.requests[-9:]}
    assert sent["someone"] and not sent["large"], "the token goes to the hub and to nobody else"


def test_a_token_is_found_where_hf_auth_login_puts_it(transcribe, hub, tmp_path):
    hub.private.add(NAME)
    hub.token = "hf_secret"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_secret\n")
    assert transcribe()[0] == expected()


def test_shards_are_fetched_by_their_list(transcribe, hub, tmp_path):
    from safetensors.torch import load_file
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(
        hugging_face_folder(tmp_path / "whole"))
    assert load_file(tmp_path / "whole" / WEIGHTS)
    model.save_pretrained(tmp_path / "shards", max_shard_size="2MB")
    shards = {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    others = {name: data for name, data in hub.repositories[NAME].items() if name != WEIGHTS}
    hub.repositories[NAME] = others | shards
    assert len([name for name in shards if "-of-" in name]) > 1
    assert transcribe()[0] == expected()
    # A list that leads elsewhere.
    index = json.loads(shards["model.safetensors.index.json"])
    index["weight_map"] = {name: "../../outside" for name in index["weight_map"]}
    hub.repositories["someone/hostile"] = hub.repositories[NAME] | {
        "model.safetensors.index.json": json.dumps(index).encode()}
    _, error = transcribe("someone/hostile", status=1)
    assert "`../../outside` is not a file of the repository" in error


def test_the_pieces_of_a_tokenizer_are_fetched_where_it_is_in_pieces(command, hub, tmp_path):
    pieces = {"config.json": b'{"model_type": "marian"}', WEIGHTS: bytes(5000), "source.spm": b"s", "target.spm": b"t",
              "vocab.json": b"{}", "README.md": b""}
    hub.repositories["someone/pieces"] = pieces
    hub.repositories["someone/whole"] = pieces | {"tokenizer.json": b"{}"}
    for name, left_out in (("pieces", {"README.md"}), ("whole", {"README.md", "source.spm", "target.spm", "vocab.json"})):
        name = f"someone/{name}"
        # They are no models, which is found out when everything is there.
        command("generate", "--model", name, "--text", "a", status=1)
        snapshot = cached(tmp_path, name) / "snapshots" / COMMIT
        assert {path.name for path in snapshot.iterdir()} == set(hub.repositories[name]) - left_out
    hub.requests.clear()
    command("generate", "--model", "someone/pieces", "--text", "a", status=1)
    assert hub.requests == []


def test_repositories_without_usable_weights_say_what_to_do(transcribe, hub, files):
    hub.repositories["someone/old"] = {"config.json": files["config.json"], "pytorch_model.bin": b"0" * 5000}
    _, error = transcribe("someone/old", status=1)
    assert "`pytorch_model.bin`" in error and "crosslatch-export someone/old OUT.pt2" in error
    hub.repositories["someone/empty"] = {"README.md": b""}
    assert "holds no model" in transcribe("someone/empty", status=1)[1]


def test_one_file_of_a_repository_can_be_named(transcribe, hub):
    hub.repositories["someone/files"] = {"demo.pt2": DEMO.read_bytes(), "other.pt2": bytes(5000)}
    assert transcribe("someone/files/demo.pt2")[0] == expected()
    assert hub.asked("other.pt2") == []
    _, error = transcribe("someone/files/none.pt2", status=1)
    assert "the repository has no file `none.pt2`" in error


def test_a_path_comes_before_a_name(transcribe, hub, tmp_path):
    hugging_face_folder(tmp_path / "tiny.en")
    hugging_face_folder(tmp_path / NAME)
    for name in ("tiny.en", NAME):
        assert transcribe(name)[0] == expected()
    assert hub.requests == []


def test_short_names_are_names_on_the_hub(transcribe, hub, files):
    hub.repositories["openai/whisper-tiny.en"] = files
    assert transcribe("tiny.en")[0] == expected()


def test_what_is_neither_is_refused_with_what_may_have_been_meant(transcribe, hub):
    for name, says in (("missing.pt2", "no such file or folder"), ("whisper-tiny.en", "Did you mean `tiny.en`?"),
                       ("tinny", "crosslatch models"), ("a/b/c", "no such file or folder")):
        _, error = transcribe(name, status=1)
        assert name in error and says in error
    assert hub.requests == []


def test_two_processes_download_a_file_once(environment, hub, tmp_path):
    hub.breaks[WEIGHTS] = 50_000
    args = [TARGET / "crosslatch", "transcribe", SAMPLE, "--model", NAME]
    both = [subprocess.Popen(args, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [expected()] * 2
    assert hub.asked(WEIGHTS) == [None, 50_000]


def python(environment, code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          env=environment | {"PYTHONPATH": str(ROOT / "python")})
    return done.stdout + done.stderr


def test_python_takes_names_tells_how_far_it_is_and_prints_nothing(environment, hub, tmp_path):
    code = f"""
import crosslatch
seen = []
folder = crosslatch.download("{NAME}", progress=lambda done, total: seen.append((done, total)))
assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] > 10**6, seen
assert crosslatch.load("{NAME}").path == folder == crosslatch.download(folder)
print(crosslatch.Transcriber("{NAME}").transcribe({str(SAMPLE)!r}).transcript().text)
"""
    assert python(environment, code) == expected()


def test_python_can_stop_a_download_and_go_on(environment, hub):
    code = f"""
import crosslatch
def stop(done, total):
    if done:
        raise KeyError("enough")
try:
    crosslatch.download("{NAME}", progress=stop)
except KeyError as error:
    print(error)
try:
    crosslatch.load("someone/else")
except crosslatch.Error as error:
    print("no such model" in str(error))
try:
    crosslatch.load("nothing")
except FileNotFoundError as error:
    print(error.filename, "tiny.en" in error.strerror)
print(crosslatch.load("{NAME}").path != "")
"""
    assert python(environment, code) == "'enough'\nTrue\nnothing True\nTrue\n"


def test_the_server_takes_a_name(environment, hub):
    process = subprocess.Popen([TARGET / "crosslatch", "serve", "--model", NAME, "--port", "0"],
                               env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.time() + 60
        lines = []
        while time.time() < deadline:
            lines.append(process.stderr.readline())
            if "listening at" in lines[-1]:
                break
        assert lines[0] == f"downloading {NAME}\n" and "listening at" in lines[-1]
    finally:
        process.terminate()
        process.communicate()


def test_models_lists_what_is_here_and_what_can_be_named(command, hub, files, tmp_path):
    found = json.loads(command("models", "--json")[0])
    assert [model["source"] for model in found["models"]] == ["bundled"]
    assert found["models"][0]["path"] == str(DEMO) and found["models"][0]["format"] == "pt2"
    assert {"name": "tiny.en", "repository": "openai/whisper-tiny.en", "parameters": 39_000_000} in found["names"]
    hub.repositories["openai/whisper-tiny.en"] = files
    unknown = json.loads(files["config.json"]) | {"model_type": "bert"}
    hub.repositories["someone/bert"] = files | {"config.json": json.dumps(unknown).encode()}
    hub.repositories["someone/files"] = {"demo.pt2": DEMO.read_bytes(), "README.md": b""}
    for name in (NAME, "tiny.en", "someone/files/demo.pt2"):
        command("transcribe", SAMPLE, "--model", name)
    command("transcribe", SAMPLE, "--model", "someone/bert", status=1)
    found = json.loads(command("models", "--json", CROSSLATCH_MODEL="tiny.en")[0])
    listed = [(model["name"], model["source"], model["family"], model["format"]) for model in found["models"]]
    assert listed == [(str(DEMO), "bundled", "program", "pt2"),
                      ("tiny.en", "CROSSLATCH_MODEL", "whisper", "safetensors"),
                      ("openai/whisper-tiny.en", "cache", "whisper", "safetensors"),
                      (NAME, "cache", "whisper", "safetensors"),
                      ("someone/files/demo.pt2", "cache", "program", "pt2")]
    assert found["models"][3]["bytes"] == sum(map(len, files.values()))
    assert found["models"][3]["path"] == str(cached(tmp_path) / "snapshots" / COMMIT)
    text, log = command("models", CROSSLATCH_MODEL="gone.pt2")
    assert f"  {NAME} " in text and "on this machine" in text and "turbo" in text
    assert log == "warning: CROSSLATCH_MODEL names gone.pt2, which is no model on this machine\n"
    for name in [model["name"] for model in found["models"]]:
        assert command("transcribe", SAMPLE, "--model", name, HF_HUB_OFFLINE="1")[0] == expected()


def test_the_note_about_the_bundled_model_names_one_word_that_helps(command):
    assert "add `--model tiny.en`" in command("transcribe", SAMPLE)[1]
