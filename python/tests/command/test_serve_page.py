@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile"), "--use-fake-ui-for-media-stream",
                 "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-audio-capture={SAMPLES / 'light.wav'}%noloop") as context:
        yield context.new_page()


@pytest.fixture
def opened(page, server):
    """The page, just loaded, and that it had nothing to complain about."""
    complaints = []

    def complain(message):
        # The browser logs a refusal as well, as expected.
        if message.type == "error" and "status of 400" not in message.text:
            complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    yield page
    page.remove_listener("console", complain)
    assert complaints == []


def drop(page, *names):
    files = [(name, base64.b64encode((SAMPLES / name).read_bytes()).decode()) for name in names]
    transfer = page.evaluate_handle("""files => {
        const transfer = new DataTransfer();
        for (const [name, text] of files)
            transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
        return transfer;
    }""", files)
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def test_files_dropped_on_the_page_are_transcribed(opened):
    from playwright.sync_api import expect
    names = ["light.wav", "alarm.mp3"]
    drop(opened, *names)
    for name in names:
        article = opened.locator("article", has_text=name)
        expect(article.locator(".text")).to_have_text(transcripts()[name])
        expect(article.get_by_role("button", name="Copy")).to_be_enabled()


def test_the_page_says_what_is_wrong(opened):
    from playwright.sync_api import expect
    opened.get_by_text("Options").click()
    opened.get_by_role("textbox", name="Language").fill("klingon")
    opened.set_input_files("#file", SAMPLES / "light.wav")
    expect(opened.locator("article .failed")).to_contain_text("it knows en")


def test_the_page_records(opened):
    from playwright.sync_api import expect
    opened.get_by_role("button", name="Record").click()
    expect(opened.locator("#status")).to_have_text(re.compile("Recording… 3 s"), timeout=15_000)
    opened.get_by_role("button", name="Stop and transcribe").click()
    text = opened.locator("article .text")
    expect(text).to_have_text(transcripts()["light.wav"], timeout=15_000)
