"""The server's page in a browser: what a person does with it."""

import base64
import json
import re
import threading
import wave
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from browser import browser
from serving import SAMPLES, demo_that_says, endless, long, serving, transcripts  # noqa: F401


@pytest.fixture(scope="module")
def server():
    with serving("--workers", 2, "--max-body", 64 << 20) as server:
        yield server


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile"), "--use-fake-ui-for-media-stream",
                 "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-audio-capture={SAMPLES / 'light.wav'}%noloop") as context:
        context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"])
        yield context


@pytest.fixture
def visit(context):
    """Opens the page of a server, and sees that it had nothing to complain about and asked nobody
    else."""
    page = context.new_page()
    complaints, asked, own = [], [], ["data:"]

    def complain(message):
        # The browser logs each refusal as well, as expected.
        if message.type == "error" and "the server responded with a status of 4" not in message.text:
            complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def open_page(server):
        own.extend((server.url, "blob:" + server.url))
        page.goto(server.url)
        return page

    yield open_page
    page.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(tuple(own))] == []


@pytest.fixture
def opened(visit, server):
    from playwright.sync_api import expect
    page = visit(server)
    expect(page.locator("#model")).to_contain_text("by model")
    return page


def drop(page, *names):
    files = [(name, base64.b64encode((SAMPLES / name).read_bytes()).decode()) for name in names]
    transfer = page.evaluate_handle("""files => {
        const transfer = new DataTransfer();
        for (const [name, text] of files)
            transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
        return transfer;
    }""", files)
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def lines(place):
    return place.locator(".text li span")


def is_done(place):
    from playwright.sync_api import expect
    expect(place).to_have_attribute("aria-busy", "false", timeout=30_000)


def test_files_dropped_on_the_page_are_transcribed(opened):
    from playwright.sync_api import expect
    names = ["light.wav", "alarm.mp3", "wake-up.flac"]
    drop(opened, *names)
    for name in names:
        place = opened.locator("article", has_text=name)
        expect(lines(place)).to_have_text([transcripts()[name]])
        is_done(place)
        expect(place.locator(".note")).to_have_text(
            re.compile(r"^\d+\.\d s of sound in \d+\.\d s · English$"))
        expect(place.get_by_role("button", name="Cancel")).to_be_hidden()
        place.get_by_role("button", name="Copy").click()
        expect(place.get_by_role("button", name="Copied")).to_be_visible()
        assert opened.evaluate("navigator.clipboard.readText()") == transcripts()[name] + "\n"


def test_a_transcript_is_saved_as_the_command_writes_it(opened, crosslatch, long, tmp_path):
    opened.set_input_files("#file", long)
    place = opened.locator("article")
    is_done(place)
    for format in ("txt", "srt", "vtt"):
        with opened.expect_download() as download:
            place.get_by_role("button", name=f"Save as {format}").click()
        assert download.value.suggested_filename == f"long.{format}"
        download.value.save_as(tmp_path / format)
        name = "text" if format == "txt" else format
        printed, _ = crosslatch("transcribe", long, "--timestamps", "--format", name)
        assert (tmp_path / format).read_text() == printed


@pytest.mark.parametrize("segments", [
    [(0, 30.0006, "Tom & <Jerry>\n\n1 --> 2"), (30, 60, "  "), (3599.9999, 360_000.25, " end\u00a0x")],
    [],
])
def test_files_of_subtitles_are_those_of_the_server(opened, segments):
    made = [{"start": start, "end": end, "text": text} for start, end, text in segments]
    for format, expected in {
        "txt": "Tom & <Jerry> 1 --> 2\nend x\n",
        "srt": "1\n00:00:00,000 --> 00:00:30,001\nTom & <Jerry> 1 -> 2\n\n"
               "2\n01:00:00,000 --> 100:00:00,250\nend x\n\n",
        "vtt": "WEBVTT\n\n00:00.000 --> 00:30.001\nTom &amp; &lt;Jerry&gt; 1 --&gt; 2\n\n"
               "01:00:00.000 --> 100:00:00.250\nend x\n\n",
    }.items():
        written = opened.evaluate("""async ([format, segments]) =>
            (await import("./page/subtitles.js")).written(format, segments)""", [format, made])
        assert written == (expected if segments else "WEBVTT\n\n" if format == "vtt" else "")


def test_a_long_transcript_tells_its_progress_and_can_be_read_and_cancelled(opened, server, endless):
    from playwright.sync_api import expect
    before = server.count("crosslatch_requests_cancelled_total")
    opened.set_input_files("#file", endless)
    place = opened.locator("article")
    expect(place.locator(".note")).to_have_text(
        re.compile(r"^[1-9]\d? % of 12:00 · \d+\.\d × real time · \d+:\d\d left$"), timeout=30_000)
    assert 0 < float(place.get_by_role("progressbar").evaluate("bar => bar.value")) < 1
    # What is selected stays selected while more arrives; the times are no part of it.
    chosen = opened.evaluate("""() => {
        const lines = document.querySelectorAll(".text li");
        getSelection().setBaseAndExtent(lines[0], 0, lines[1], lines[1].childNodes.length);
        return [getSelection().toString(), lines.length];
    }""")
    assert chosen[0].split("\n") == [transcripts()["light.wav"]] * 2
    expect(lines(place).nth(chosen[1] + 2)).to_be_visible()
    assert opened.evaluate("getSelection().toString()") == chosen[0]
    expect(place.get_by_role("button", name="Copy")).to_be_visible()

    place.get_by_role("button", name="Cancel").click()
    expect(place.locator(".note")).to_have_text("Cancelled.")
    server.until("crosslatch_requests_cancelled_total", before + 1)
    server.until("crosslatch_requests_in_flight", 0)
    is_done(place)
    assert lines(place).count() > 3
    expect(place.get_by_role("button", name="Save as srt")).to_be_visible()
    expect(place.get_by_role("button", name="Try again")).to_be_visible()


def test_times_seek_in_the_player_and_what_is_played_is_marked(opened, long):
    from playwright.sync_api import expect
    opened.set_input_files("#file", long)
    place = opened.locator("article")
    is_done(place)
    place.get_by_role("button", name="Play from 0:24").click()
    player = place.locator("audio")
    opened.wait_for_function("!document.querySelector('audio').paused")
    assert 24 <= player.evaluate("player => player.currentTime") < 30
    expect(place.locator("li[aria-current]")).to_have_count(1)
    assert place.locator("li").nth(4).get_attribute("aria-current") == "true"


def aiff(path, name):
    """A sample in a format that the server reads and Chromium does not play."""
    with wave.open(str(SAMPLES / name)) as sound:
        frames, data = sound.getnframes(), sound.readframes(sound.getnframes())
    big = b"".join(data[i + 1:i + 2] + data[i:i + 1] for i in range(0, len(data), 2))
    rate = b"\x40\x0c\xfa\0\0\0\0\0\0\0"  # 16,000 as an 80-bit float
    common = (b"COMM" + (18).to_bytes(4, "big") + (1).to_bytes(2, "big") + frames.to_bytes(4, "big")
              + (16).to_bytes(2, "big") + rate)
    sound = b"SSND" + (8 + len(big)).to_bytes(4, "big") + bytes(8) + big
    path.write_bytes(b"FORM" + (4 + len(common) + len(sound)).to_bytes(4, "big") + b"AIFF"
                     + common + sound)
    return path


def test_a_file_is_sent_as_it_is_even_if_the_browser_cannot_play_it(opened, tmp_path):
    from playwright.sync_api import expect
    opened.set_input_files("#file", aiff(tmp_path / "light.aiff", "light.wav"))
    place = opened.locator("article")
    expect(lines(place)).to_have_text([transcripts()["light.wav"]])
    expect(place.locator("audio")).to_be_hidden()
    expect(place.locator(".time")).to_be_disabled()


NOTE_FORMS = """() => {
    [window.sent, window.fields] = [[], {}];
    const append = FormData.prototype.append;
    FormData.prototype.append = function (name, value) {
        if (name === "file") window.sent.push([value.name, value.size]);
        else window.fields[name] = value;
        return append.call(this, name, value);
    };
}"""


def test_what_the_server_cannot_read_is_converted_by_the_browser(visit, server, context):
    from playwright.sync_api import expect
    page = visit(server)
    page.evaluate(NOTE_FORMS)
    refused = []

    def refuse_once(route):
        if refused:
            return route.continue_()
        refused.append(route.request.url)
        route.fulfill(status=415, content_type="application/json",
                      body=json.dumps({"error": {"message": "it is not a sound file that can be read"}}))

    page.route("**/v1/audio/transcriptions", refuse_once)
    drop(page, "alarm.mp3")
    place = page.locator("article")
    expect(lines(place)).to_have_text([transcripts()["alarm.mp3"]])
    names = page.evaluate("window.sent")
    size = (SAMPLES / "alarm.mp3").stat().st_size
    assert [names[0], names[1][0]] == [["alarm.mp3", size], "alarm.mp3.wav"]

    refused.clear()
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"})
    expect(page.locator("article", has_text="notes.txt").locator(".failed")).to_contain_text(
        "is not a sound file that can be read")


def test_a_file_that_is_too_large_is_made_smaller_or_refused_before_it_is_sent(visit, long):
    from playwright.sync_api import expect
    with serving("--max-body", 1 << 20) as server:
        page = visit(server)
        page.evaluate(NOTE_FORMS)
        # Six seconds of stereo at 48 kHz, six times what a model hears.
        with wave.open(str(SAMPLES / "light.wav")) as sound:
            data = sound.readframes(sound.getnframes()).ljust(2 * 6 * 16_000, b"\0")
        wide = b"".join(data[i:i + 2] * 6 for i in range(0, len(data), 2))
        path = long.parent / "wide.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((2, 2, 48_000, 0, "NONE", ""))
            out.writeframes(wide)
        page.set_input_files("#file", path)
        expect(lines(page.locator("article"))).to_have_text([transcripts()["light.wav"]])
        assert page.evaluate("window.sent") == [["wide.wav.wav", 44 + 2 * 6 * 16_000]]
        page.set_input_files("#file", long)
        failed = page.locator("article", has_text="long.wav").locator(".failed")
        expect(failed).to_contain_text("larger than the 1 MiB that this server takes")
        assert len(page.evaluate("window.sent")) == 1


def test_the_page_asks_for_the_key_and_remembers_it(visit):
    from playwright.sync_api import expect
    with serving(CROSSLATCH_API_KEY="sesame") as server:
        page = visit(server)
        dialog = page.get_by_role("dialog", name="This server asks for a key")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_label("Key")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("not the one")
        dialog.get_by_label("Key").fill("sesame")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog).to_be_hidden()
        expect(page.locator("#model")).to_contain_text("by model")
        drop(page, "light.wav")
        expect(lines(page.locator("article"))).to_have_text([transcripts()["light.wav"]])
        page.reload()
        expect(page.locator("#model")).to_contain_text("by model")
        expect(dialog).to_be_hidden()

        page.evaluate("sessionStorage.clear()")
        page.reload()
        dialog.get_by_role("button", name="Not now").click()
        expect(page.get_by_role("status")).to_contain_text("an API key is needed")
        page.set_input_files("#file", SAMPLES / "light.wav")
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("article .failed")).to_contain_text("an API key is needed")


def test_only_options_that_the_model_has_are_offered(visit, tmp_path):
    from playwright.sync_api import expect
    english = demo_that_says(tmp_path / "english.pt2", is_multilingual=False, lang_to_id=None,
                             task_to_id=None, language=None, task=None)
    with serving("--model", english, "--fallback") as server:
        page = visit(server)
        expect(page.locator("#model")).to_contain_text("by english")
        page.get_by_text("Options").click()
        for name in ("Language", "Task"):
            expect(page.get_by_label(name)).to_be_hidden()
        expect(page.get_by_label("Leave out silence")).not_to_be_checked()
        expect(page.get_by_label("Try doubtful passages again")).to_be_checked()
    tokens = {"<|en|>": 3, "<|de|>": 4, "<|yue|>": 5}
    several = demo_that_says(tmp_path / "several.pt2", is_multilingual=True, lang_to_id=tokens)
    with serving("--model", several, "--language", "German", "--skip-silence") as server:
        page = visit(server)
        expect(page.locator("#model")).to_contain_text("by several")
        page.get_by_text("Options").click()
        expect(page.get_by_label("Language").locator("option")).to_have_text(
            ["Detected", "Cantonese", "English", "German"])
        expect(page.get_by_label("Language")).to_have_value("de")
        expect(page.get_by_label("Task")).to_be_visible()
        expect(page.get_by_label("Leave out silence")).to_be_checked()
        page.get_by_label("Language").select_option("English")
        page.get_by_label("Task").select_option("In English")
        page.get_by_label("Leave out silence").uncheck()
        page.evaluate(NOTE_FORMS)
        with page.expect_request("**/v1/audio/translations"):
            page.set_input_files("#file", SAMPLES / "light.wav")
        is_done(page.locator("article"))
        fields = page.evaluate("window.fields")
        assert (fields["language"], fields["skip_silence"]) == ("en", "false")
        assert "fallback" not in fields and "prompt" not in fields


def test_the_page_records(opened):
    from playwright.sync_api import expect
    opened.get_by_role("button", name="Record").click()
    expect(opened.locator("#status")).to_have_text(re.compile("Recording… 3 s"), timeout=15_000)
    opened.get_by_role("button", name="Stop and transcribe").click()
    expect(lines(opened.locator("article"))).to_have_text([transcripts()["light.wav"]], timeout=15_000)
    expect(opened.get_by_role("button", name="Record")).to_be_enabled()


def test_the_page_writes_while_somebody_speaks(opened, server):
    from playwright.sync_api import expect
    opened.get_by_role("button", name="Write while I speak").click()
    place = opened.locator("article")
    current = place.locator(".current")
    # The recording is played once, and silence makes it certain: nothing is grey then.
    expect(current.locator("span").first).to_have_text(transcripts()["light.wav"], timeout=30_000)
    expect(current.locator(".tentative")).to_have_text("")
    assert server.count("crosslatch_streams") == 1
    grey, black = (current.locator("span").nth(i).evaluate("e => getComputedStyle(e).color") for i in (1, 0))
    assert grey != black
    expect(place.locator(".note")).to_have_text(re.compile(r"^Listening… \d+ s$"))
    opened.get_by_role("button", name="Stop").click()
    expect(lines(place)).to_have_text([transcripts()["light.wav"]], timeout=15_000)
    is_done(place)
    expect(current).to_be_hidden()
    expect(opened.get_by_role("button", name="Write while I speak")).to_be_enabled()
    server.until("crosslatch_streams", 0)
    # What was heard can be played, and its text saved.
    expect(place.locator("audio")).to_be_visible()
    expect(place.locator(".time").first).to_be_enabled()
    with opened.expect_download() as download:
        place.get_by_role("button", name="Save as txt").click()
    assert download.value.path().read_text() == transcripts()["light.wav"] + "\n"


def test_listening_is_cancelled_refused_and_not_offered_where_there_is_none(visit, context):
    from playwright.sync_api import expect
    with serving("--streams", 1, CROSSLATCH_API_KEY="sesame") as server, serving("--streams", 0) as none:
        page = visit(server)
        page.locator("#key").fill("sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_contain_text("by model")
        page.get_by_role("button", name="Write while I speak").click()
        server.until("crosslatch_streams", 1)
        other = context.new_page()
        other.goto(server.url)
        other.evaluate("sessionStorage.setItem('key', 'sesame')")
        other.reload()
        other.get_by_role("button", name="Write while I speak").click()
        failed = other.locator("article .failed")
        expect(failed).to_contain_text("this server listens to 1 sounds already", timeout=15_000)
        expect(other.get_by_role("button", name="Write while I speak")).to_be_enabled()
        other.close()
        page.locator("article").get_by_role("button", name="Cancel").click()
        expect(page.locator("article .note")).to_have_text("Cancelled.")
        server.until("crosslatch_streams", 0)
        page = visit(none)
        expect(page.locator("#model")).to_contain_text("by model")
        expect(page.get_by_role("button", name="Write while I speak")).to_be_hidden()


def test_a_busy_server_is_asked_again(visit, long):
    from playwright.sync_api import expect
    with serving("--workers", 1, "--queue", 0) as server:
        page = visit(server)
        expect(page.locator("#model")).to_contain_text("by model")
        page.set_input_files("#file", [long, SAMPLES / "alarm.mp3"])
        expect(page.locator("article .note", has_text="busy")).to_have_count(1)
        for name, text in (("long.wav", "light.wav"), ("alarm.mp3", "alarm.mp3")):
            place = page.locator("article", has_text=name)
            expect(lines(place).first).to_have_text(transcripts()[text], timeout=20_000)


@contextmanager
def another_page():
    """The address of an empty page of another origin."""
    class Empty(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,>")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()


ASK_FROM_AFAR = """async ([url, key]) => {
    const form = new FormData();
    form.append("file", new File(["no sound"], "a.wav"));
    try {
        const headers = { Authorization: "Bearer " + key };
        const answer = await fetch(url + "/v1/audio/transcriptions", { method: "POST", body: form, headers });
        return [answer.status, (await answer.json()).error.param];
    } catch (error) {
        return error.name;
    }
}"""


def test_pages_of_other_origins_use_the_server_if_it_names_them(context):
    with another_page() as friend, another_page() as stranger, \
            serving("--allow-origin", friend, CROSSLATCH_API_KEY="sesame") as server, \
            serving("--allow-origin=*") as open_to_all, serving() as closed:
        page = context.new_page()
        page.goto(friend)
        assert page.evaluate(ASK_FROM_AFAR, [server.url, "sesame"]) == [415, "file"]
        assert page.evaluate(ASK_FROM_AFAR, [server.url, "wrong"]) == [401, None]
        assert page.evaluate(ASK_FROM_AFAR, [closed.url, ""]) == "TypeError"
        page.goto(stranger)
        assert page.evaluate(ASK_FROM_AFAR, [server.url, "sesame"]) == "TypeError"
        assert page.evaluate(ASK_FROM_AFAR, [open_to_all.url, ""]) == [415, "file"]
        page.close()


def test_everything_has_a_name_and_is_reached_by_the_keyboard(opened, long):
    from playwright.sync_api import expect
    opened.set_input_files("#file", long)
    is_done(opened.locator("article"))
    opened.locator("summary").focus()
    opened.keyboard.press("Enter")
    expect(opened.get_by_label("Leave out silence")).to_be_visible()
    nameless = opened.evaluate("""() => [...document.querySelectorAll("button, input, select, audio, summary")]
        .filter(e => e.checkVisibility())
        .filter(e => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim()))
        .map(e => e.outerHTML)""")
    assert nameless == []
    opened.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(40):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("""() => { const e = document.activeElement;
            return e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim() || e.textContent.trim(); }"""))
    for name in ("Choose files", "Record", "Options", "Leave out silence", "Copy", "Save as vtt",
                 "Play long.wav", "Play from 0:00", "Play from 0:54"):
        assert name in reached, reached
