"""What a link names shows itself beside it: under the mouse, and with the keyboard's focus.
Skipped where there is no browser."""

import functools
import http.server
import shutil
import threading

import pytest
from book import BOOK

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
SCRIPT = '<script defer src="preview.js"></script>'
FIRST = f"""<!doctype html><link rel="icon" href="data:,"><body><article class="bd-article">
<a class="internal" href="#thm">statement</a>
<a class="internal" href="second.html#term">term</a>
<a class="internal" href="second.html#part">section</a> <a href="second.html#term">plain</a>
<div class="proof" id="thm"><p id="inner">A <a href="#thm">theorem</a>.</p></div></article>
{SCRIPT}</body>"""
SECOND = """<!doctype html><section id="part"><h2>Part</h2><dl><dt id="term">head</dt>
<dd>One pair of matrices.</dd><dt>other</dt></dl></section>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "first.html").write_text(FIRST, encoding="utf-8")
    (folder / "second.html").write_text(SECOND, encoding="utf-8")
    shutil.copy(BOOK / "assets" / "preview.js", folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, folder):
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/first.html")
    yield page
    page.close()
    server.shutdown()


def test_the_mouse_shows_a_statement_of_the_page_and_leaves_it(page):
    card = page.locator("#preview-card")
    page.get_by_text("statement").hover()
    card.wait_for(state="visible")
    assert card.inner_text() == "A theorem."
    assert card.locator("[id], [href]").count() == 0  # no name twice, no link in a card
    page.mouse.move(0, 500)
    card.wait_for(state="hidden")


def test_the_keyboard_shows_a_term_of_another_page_and_escape_hides_it(page):
    card = page.locator("#preview-card")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('#preview-card').innerText.includes('pair')")
    assert "other" not in card.inner_text()
    assert (
        page.get_by_text("term", exact=True).get_attribute("aria-describedby") == "preview-card"
    )
    page.keyboard.press("Escape")
    assert card.is_hidden()


@pytest.mark.parametrize("words", ["section", "plain"])
def test_other_links_show_nothing(page, words):
    page.get_by_text(words).hover()
    page.wait_for_timeout(800)
    assert page.locator("#preview-card").is_hidden()


def test_a_page_opened_as_a_file_shows_its_own(browser, folder):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((folder / "first.html").as_uri())
    page.get_by_text("term", exact=True).hover()
    page.wait_for_timeout(800)
    assert page.locator("#preview-card").is_hidden()
    page.get_by_text("statement").hover()
    page.locator("#preview-card").wait_for(state="visible")
    assert errors == []
    page.close()
