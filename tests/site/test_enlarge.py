"""Figures come in the size of the window: by the mouse, by keys, and not without a script.
Skipped where there is no browser."""

import shutil

import pytest
from book import BOOK

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
DOT = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='90' height='60'/>"
FIGURE = f"""<figure id="fig-dot"><img src="{DOT}" alt="One dot."><figcaption>
<p><span class="caption-number">Fig. 1 </span><span class="caption-text">A <a href="#x">dot</a>.
</span><a class="headerlink" href="#fig-dot">#</a></p></figcaption></figure>"""
PAGE = """<!doctype html><link rel="stylesheet" href="book.css"><body>
<article class="bd-article">{figure}<figure><img class="hand-still" src="{dot}" alt="Still.">
</figure></article>{script}</body>"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """opened(scripts, width): the page, which has one figure to enlarge."""
    for name in ("book.css", "enlarge.js"):
        shutil.copy(BOOK / "assets" / name, tmp_path)
    script = '<script defer src="enlarge.js"></script>'
    text = PAGE.format(figure=FIGURE, dot=DOT, script=script)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    pages = []

    def act(scripts=True, width=1280):
        size = {"width": width, "height": 800}
        pages.append(browser.new_page(viewport=size, java_script_enabled=scripts))
        pages[-1].goto((tmp_path / "page.html").as_uri())
        return pages[-1]

    yield act
    for page in pages:
        page.close()


def test_a_click_shows_the_figure_in_the_size_of_the_window(opened):
    page = opened()
    small = page.locator("#fig-dot img").bounding_box()["width"]
    page.locator("#fig-dot img").click()
    stage = page.locator("dialog.enlarged")
    assert stage.is_visible() and stage.get_attribute("aria-label") == "Fig. 1"
    copy = stage.locator("img")
    assert copy.get_attribute("alt") == "One dot."
    assert copy.bounding_box()["width"] > 5 * small
    assert stage.locator(".enlarged-words").inner_text().split() == ["Fig.", "1", "A", "dot."]
    assert stage.locator("[id], [href], .headerlink").count() == 0  # no name twice
    copy.click()
    assert stage.is_hidden()


def test_keys_open_and_close_and_the_focus_comes_back(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Enlarge Fig. 1"
    page.keyboard.press("Enter")
    stage = page.locator("dialog.enlarged")
    assert stage.is_visible()
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.keyboard.press("Escape")
    assert stage.is_hidden()
    assert page.evaluate("document.activeElement.ariaLabel") == "Enlarge Fig. 1"
    page.keyboard.press("Space")
    page.keyboard.press("Enter")  # on the button that closes
    assert stage.is_hidden()


def test_on_a_phone_the_picture_keeps_a_readable_size_and_scrolls(opened):
    page = opened(width=390)
    page.locator("#fig-dot img").click()
    stage = page.locator("dialog.enlarged")
    assert stage.locator("img").bounding_box()["width"] > 700
    assert stage.evaluate("(box) => box.scrollWidth > box.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_is_there_without_a_script_or_on_paper(opened):
    page = opened(scripts=False)
    assert page.locator("button, dialog").count() == 0
    page = opened()
    page.emulate_media(media="print")
    assert page.locator("button.enlarge").is_hidden()


def test_a_still_picture_of_a_figure_that_moves_is_left_alone(opened):
    page = opened()
    assert page.locator("button.enlarge").count() == 1
    page.locator(".hand-still").click()
    assert page.locator("dialog.enlarged").is_hidden()
