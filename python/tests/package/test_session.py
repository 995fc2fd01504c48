"""Sessions: the command's results, state, outputs as inputs, threads, forks."""

import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import crosslatch
from conftest import ROOT
from crosslatch import Error
from crosslatch import load as load_file

from .programs import Slow, Sum, load, only

DEMO = ROOT / "demo" / "model.pt2"


def steps(seed, count=6):
    """A prompt and some tokens for the demo model's decoder."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, 900, (1, 3 + count))
    states = random.standard_normal((1, 300, 160), dtype=np.float32)
    cuts = [(0, 3)] + [(i, i + 1) for i in range(3, 3 + count)]
    return [{"input_ids": ids[:, a:b], "cache_position": np.arange(a, b),
             "encoder_hidden_states": states} for a, b in cuts]


def decode(session, inputs):
    return [only(session.run("decoder", step)) for step in inputs]


def same(a, b):
    return len(a) == len(b) and all(x.tobytes() == y.tobytes() for x, y in zip(a, b))


@pytest.fixture(scope="module")
def demo():
    return crosslatch.load(DEMO, threads=2)


@pytest.fixture
def total(tmp_path):
    return load(Sum(), (torch.zeros(3),), tmp_path / "sum.pt2")


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    module = Slow()
    return load(module, (torch.zeros(1024, 1024),), tmp_path_factory.mktemp("slow") / "m.pt2")


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8", "int4"])
def test_a_run_gives_bit_for_bit_what_the_command_gives(crosslatch, precision, tmp_path):
    program = load_file(DEMO, precision=precision)
    inputs = steps(seed=1)
    out = crosslatch.run(DEMO, "decoder", inputs, tmp_path, "--precision", precision)
    assert same(decode(program.session(), inputs), [only(o) for o in out])


def test_the_encoder_gives_bit_for_bit_what_the_command_gives(crosslatch, demo, tmp_path):
    features = np.random.default_rng(2).standard_normal((1, 80, 600), dtype=np.float32)
    (expected,) = crosslatch.run(DEMO, "encoder", [{"input_features": features}], tmp_path)
    out = demo.session().run("encoder", {"input_features": torch.from_numpy(features)})
    assert list(out) == list(expected) and same([only(out)], [only(expected)])


def test_a_program_says_what_it_is(demo):
    assert demo.path == str(DEMO) and set(demo.methods) == {"encoder", "decoder"}
    decoder = demo.methods["decoder"]
    (symbol,) = decoder.sizes
    described = {i.name: (i.dtype, i.shape) for i in decoder.inputs}
    assert described == {"input_ids": ("int64", (1, symbol)), "cache_position": ("int64", (symbol,)),
                         "encoder_hidden_states": ("float32", (1, 300, 160))}
    assert decoder.sizes[symbol] == (0, 80)
    assert [(o.dtype, o.shape) for o in decoder.outputs] == [("float32", (1, symbol, 955))]
    assert "tokenizer.json" in demo.extra_files
    assert demo.extra_file("config.json").startswith(b"{")
    with pytest.raises(KeyError):
        demo.extra_file("none.json")
    assert "decoder(input_ids: int64[1, " in repr(demo)


def test_state_belongs_to_a_session_and_reset_puts_it_back(total):
    one, other = total.session(), total.session()
    assert only(one.run("model", {"x": [1, 2, 3]})).tolist() == [1, 2, 3]
    assert only(one.run("model", {"x": [1, 1, 1]})).tolist() == [2, 3, 4]
    assert only(other.run("model", {"x": [5, 5, 5]})).tolist() == [5, 5, 5]
    one.reset()
    assert only(one.run("model", {"x": [0, 0, 1]})).tolist() == [0, 0, 1]
    assert only(other.run("model", {"x": [1, 1, 1]})).tolist() == [6, 6, 6]


def test_a_fork_goes_on_from_where_its_session_is_and_neither_disturbs_the_other(total, demo):
    session = total.session()
    session.run("model", {"x": [1, 2, 3]})
    fork = session.fork()
    assert only(fork.run("model", {"x": [1, 1, 1]})).tolist() == [2, 3, 4]
    assert only(session.run("model", {"x": [5, 5, 5]})).tolist() == [6, 7, 8]
    session.reset()
    assert only(fork.run("model", {"x": [0, 0, 1]})).tolist() == [2, 3, 5]

    first, *later = steps(3)
    expected = decode(demo.session(), [first, *later])
    session = demo.session()
    begun = decode(session, [first])
    forks = [session.fork(), session.fork()]
    assert all(same(begun + decode(fork, later), expected) for fork in (*forks, session))


def test_interleaved_sessions_of_the_demo_model_do_not_meet(demo):
    inputs = [steps(seed) for seed in (1, 2)]
    expected = [decode(demo.session(), own) for own in inputs]
    sessions = [demo.session() for _ in inputs]
    results = [[], []]
    for pair in zip(*inputs):
        for session, step, result in zip(sessions, pair, results):
            result += decode(session, [step])
    assert same(results[0], expected[0]) and same(results[1], expected[1])
    sessions[0].reset()
    assert same(decode(sessions[0], inputs[1]), expected[1])


def test_outputs_are_copies(total):
    session = total.session()
    first = only(session.run("model", {"x": [1, 1, 1]}))
    first[0] = 100
    second = only(session.run("model", {"x": [1, 1, 1]}))
    assert first.tolist() == [100, 1, 1] and second.tolist() == [2, 2, 2]
    del session
    assert second.tolist() == [2, 2, 2]


def test_an_output_is_the_input_of_another_method_without_leaving_the_engine(demo):
    session = demo.session()
    features = np.random.default_rng(3).standard_normal((1, 80, 600), dtype=np.float32)
    name = demo.methods["encoder"].outputs[0].name
    states = session.output("encoder", name)
    step = steps(seed=4)[0]
    with pytest.raises(Error, match="has not run"):
        session.run("decoder", step | {"encoder_hidden_states": states})
    with pytest.raises(Error, match="has not run"):
        states.numpy()
    assert session.run("encoder", {"input_features": features}, outputs=[]) == {}
    inside = session.run("decoder", step | {"encoder_hidden_states": states})
    outside = demo.session().run("decoder", step | {"encoder_hidden_states": states.numpy()})
    assert same([only(inside)], [only(outside)])
    with pytest.raises(Error, match="an output of another session"):
        demo.session().run("decoder", step | {"encoder_hidden_states": states})
    with pytest.raises(Error, match="an output of the same method"):
        logits = session.output("decoder", demo.methods["decoder"].outputs[0].name)
        session.run("decoder", step | {"encoder_hidden_states": logits})


def test_a_handle_keeps_its_session(demo):
    features = np.zeros((1, 80, 600), np.float32)
    name = demo.methods["encoder"].outputs[0].name
    session = demo.session()
    session.run("encoder", {"input_features": features})
    states = session.output("encoder", name)
    del session
    assert states.numpy().shape == (1, 300, 160)


def test_wrong_names_are_named(demo):
    session = demo.session()
    step = steps(seed=1)[0]
    for call, message in [
        (lambda: session.run("decode", step), "no method `decode`; it has `decoder`, `encoder`"),
        (lambda: session.run("decoder", step | {"ids": 1}), "no input `ids`; the inputs are"),
        (lambda: session.run("decoder", {}), "input `input_ids` is missing"),
        (lambda: session.run("decoder", step, outputs=["logits"]), "has no output `logits`; its"),
        (lambda: session.output("encoder", "logits"), "has no output `logits`; its outputs are"),
        (lambda: session.output("encode", "logits"), "no method `encode`"),
    ]:
        with pytest.raises(Error, match=message):
            call()


def test_the_engines_errors_have_the_words_of_the_command(crosslatch, demo, tmp_path):
    later = steps(seed=1)[1]
    np.savez(tmp_path / "in.npz", **later)
    _, error = crosslatch("run", DEMO, "--method", "decoder", "--input", tmp_path / "in.npz",
                          "--output", tmp_path / "out.npz", status=1)
    with pytest.raises(Error, match="has not filled it yet") as caught:
        demo.session().run("decoder", later)
    assert f"error: {caught.value}" == error.strip()


def test_files_that_cannot_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        crosslatch.load(tmp_path / "missing.pt2")
    assert caught.value.filename == str(tmp_path / "missing.pt2")
    with pytest.raises(Error, match="README.md: not a .pt2 archive"):
        crosslatch.load(ROOT / "README.md")
    assert issubclass(Error, RuntimeError)
    (tmp_path / "m.pt2").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(Error, match="is a GGUF file.*crosslatch-export MODEL OUT.pt2"):
        crosslatch.load(tmp_path / "m.pt2")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "m.pt")
    with pytest.raises(Error, match="is a checkpoint that torch.save wrote"):
        crosslatch.load(tmp_path / "m.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "m.ts")
    with pytest.raises(Error, match="is a TorchScript archive"):
        crosslatch.load(tmp_path / "m.ts")
    os.mkfifo(tmp_path / "pipe")
    for path, what in [(tmp_path / "pipe", "pipe"), ("/dev/zero", "device"), (tmp_path, "folder")]:
        with pytest.raises(Error, match=f"a {what}"):
            crosslatch.load(path)


def test_a_model_that_was_read_does_not_care_for_its_file(demo, tmp_path):
    shutil.copy(DEMO, tmp_path / "m.pt2")
    program = crosslatch.load(tmp_path / "m.pt2", map=False)
    transcriber = crosslatch.Transcriber(tmp_path / "m.pt2", map=False)
    (tmp_path / "m.pt2").write_bytes(b"")
    features = {"input_features": np.ones((1, 80, 600), np.float32)}
    expected, found = (p.session().run("encoder", features) for p in (demo, program))
    assert same([*found.values()], [*expected.values()])
    text = transcriber.transcribe(ROOT / "demo" / "samples" / "light.wav").transcript().text
    assert text == "make the bedroom light green"


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="unknown precision `f64`"):
        crosslatch.load(DEMO, precision="f64")
    with pytest.raises(ValueError, match="threads is 0"):
        crosslatch.load(DEMO, threads=0)
    with pytest.raises(TypeError):
        crosslatch.load(DEMO, "f32")


def test_sessions_in_several_threads_give_what_they_give_alone(demo):
    inputs = [steps(seed, count=20) for seed in range(4)]
    expected = [decode(demo.session(), own) for own in inputs]
    results = [None] * len(inputs)

    def work(i):
        results[i] = decode(demo.session(), inputs[i])

    threads = [threading.Thread(target=work, args=[i]) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(*pair) for pair in zip(results, expected))


def test_other_threads_run_while_the_engine_works_and_a_second_user_gets_an_error(slow):
    session = slow.session()
    x = np.ones((1024, 1024), np.float32)
    span, errors = [], []

    def work():
        span.append(time.perf_counter())
        session.run("model", {"x": x}, outputs=[])
        span.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    ticks = []
    while thread.is_alive():
        ticks.append(time.perf_counter())
        for use in (session.reset, lambda: session.run("model", {"x": x}, outputs=[])):
            try:
                # Once the thread is done this is allowed, and then the loop ends.
                use()
            except Error as error:
                errors.append(str(error))
        time.sleep(0.005)
    thread.join()
    inside = [tick for tick in ticks if span[0] < tick < span[1]]
    assert len(inside) >= 5, (span, ticks)
    assert len(errors) >= 5
    assert set(errors) == {"another thread is using this session; a session works on one input, so "
                           "give each thread its own, with `program.session()`"}
    assert only(session.run("model", {"x": x})).shape == (1024, 1024)


FORK = """
import os, signal, sys
import numpy as np, crosslatch
program = crosslatch.load(sys.argv[1], threads=2)
transcriber = crosslatch.Transcriber(sys.argv[1], threads=2)
features = {"input_features": np.zeros((1, 80, 600), np.float32)}
session = program.session()
(before,) = session.run("encoder", features).values()
text = transcriber.transcribe(sys.argv[2]).transcript().text
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        session.run("encoder", features)
    except crosslatch.Error as error:
        assert "before the process forked" in str(error), error
    else:
        os._exit(2)
    (after,) = program.session().run("encoder", features).values()
    same = transcriber.transcribe(sys.argv[2]).transcript().text == text
    del session, program, transcriber
    os._exit(0 if same and (before == after).all() else 3)
_, status = os.waitpid(child, 0)
assert status == 0, status
(again,) = session.run("encoder", features).values()
assert (again == before).all()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_an_error_and_makes_sessions_of_its_own():
    sample = ROOT / "demo" / "samples" / "light.wav"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, DEMO, sample],
                          capture_output=True, text=True, cwd=ROOT / "python", timeout=120)
    assert done.returncode == 0, done.stderr
