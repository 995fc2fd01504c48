"""`crosslatch inspect --html` in a browser: the page shows what `--json` says, and nothing else."""

import json

import pytest

from browser import browser
from conftest import ROOT

DEMO = ROOT / "demo" / "model.pt2"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as context:
        yield context.new_page()


@pytest.fixture
def opened(page):
    """Opens a file, and sees that it loads nothing else and has nothing to complain about."""
    complaints, loaded = [], []

    def complain(message):
        complaints.append(message.text)

    def note(request):
        loaded.append(request.url)

    listeners = {"console": complain, "pageerror": lambda error: complain(error), "request": note}
    for event, listener in listeners.items():
        page.on(event, listener)

    def visit(path):
        page.goto(path.as_uri())
        return page

    yield visit
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    assert complaints == []
    assert len(loaded) == 1, loaded


@pytest.fixture(scope="module")
def facts(crosslatch):
    return json.loads(crosslatch("inspect", DEMO, "--json")[0])


def method(facts, name):
    return next(m for m in facts["methods"] if m["name"] == name)


@pytest.fixture
def written(crosslatch, tmp_path):
    path = tmp_path / "demo.html"
    out, error = crosslatch("inspect", DEMO, "--html", path)
    assert (out, error) == ("", "")
    return path


def test_every_step_slot_and_piece_of_memory_is_on_the_page(opened, written, facts):
    page = opened(written)
    assert page.title() == "model.pt2 · crosslatch"
    assert "4 encoder and 2 decoder layers" in page.locator("#about").text_content()
    for name in ["encoder", "decoder"]:
        page.get_by_role("tab", name=name).click()
        said = method(facts, name)
        plan = said["plan"]
        assert page.locator(".leaf").count() == len(plan["steps"])
        texts = page.locator(".leaf .name code").all_text_contents()
        assert sorted(texts) == sorted(step["value"] for step in plan["steps"])
        assert page.locator("svg rect.piece").count() == len(plan["memory"]) > 10
        slots = page.locator("section:has(h2:text-is('State')) tbody tr")
        assert (slots.count() if said["state"] else 0) == len(said["state_groups"])
        assert sum(group["count"] for group in said["state_groups"]) == len(said["state"])
        cards = dict(zip(page.locator(".card > span:first-child").all_text_contents(),
                         page.locator(".card b").all_text_contents()))
        assert cards["Cache bytes copied"] == "0"
        assert cards["Copies avoided"] == str(len(plan["copies_avoided"]))
    assert cards["State"] == "950.0 KiB"
    assert cards["Each run"] == f"{plan['each_run']['flops'] / 1e6:.1f} MFLOP"


def test_what_is_computed_once_is_marked(opened, written, facts):
    page = opened(written)
    plan = method(facts, "decoder")["plan"]
    page.get_by_role("button", name="Unfold all").click()
    once = [step["value"] for step in plan["steps"] if step["once_per_input"]]
    assert len(once) == 4  # a projection for each of two caches in two layers
    marked = page.locator(".leaf", has=page.locator(".badge.once")).locator(".name code")
    assert sorted(marked.all_text_contents()) == sorted(once)
    assert sum(s["flops"] for s in plan["steps"] if s["once_per_input"]) == \
        plan["once_per_input"]["flops"]
    in_state = page.locator(".leaf", has=page.locator(".badge.state"))
    assert in_state.count() > 0


def test_steps_belong_to_layers_and_can_be_found(opened, written):
    page = opened(written)
    heading = page.locator("summary .name", has_text="layers")
    assert heading.count() == 1
    page.get_by_role("searchbox").fill("layers.1.fc2")
    visible = page.locator(".leaf:visible")
    assert visible.count() == 1
    assert "linear" in visible.inner_text()
    page.get_by_role("searchbox").fill("no such thing")
    assert page.locator(".leaf:visible").count() == 0
    page.get_by_role("searchbox").fill("")
    assert page.locator(".leaf:visible").count() > 50


def test_names_from_a_file_are_text_whatever_they_say(opened, written, tmp_path):
    evil = "<img src=x onerror='document.title=1'></script><script>document.title=2</script>"
    text = written.read_text()
    assert text.count("caches.0.keys") > 1
    path = tmp_path / "evil.html"
    path.write_text(text.replace("caches.0.keys", evil.replace("<", "\\u003c")))
    page = opened(path)
    assert page.get_by_text(evil).count() >= 1
    assert page.locator("img").count() == 0
    assert page.title() == "model.pt2 · crosslatch"


def test_what_cannot_be_written_is_said(crosslatch, tmp_path):
    _, error = crosslatch("inspect", DEMO, "--html", tmp_path / "no" / "demo.html", status=1)
    assert "demo.html" in error
    crosslatch("inspect", DEMO, "--html", tmp_path / "demo.html", "--json", status=2)
