"""What a link leads to may lie in a fold: it opens. A fold opens by the keyboard, and on paper.
Skipped where there is no browser."""

import shutil
from pathlib import Path

import pytest
import sphinx_togglebutton
from book import BOOK

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
TOGGLE = Path(sphinx_togglebutton.__file__).parent / "_static" / "togglebutton.js"
STYLE = TOGGLE.with_suffix(".css")
PAGE = """<!doctype html><link rel="icon" href="data:,"><link rel="stylesheet" href="STYLE">
<link rel="stylesheet" href="book.css"><style>:root { --pst-color-accent: #c132af }</style>
<body><article class="bd-article">
<a href="#eq">equation</a> <a href="#cell">cell</a> <a href="#plain">plain</a>
<div style="height: 3000px" id="plain"></div>
<p class="proof-idea"><em>Idea.</em> Short.</p>
<div class="proof dropdown unnumbered admonition"><p class="admonition-title">Proof</p>
<p>Long.</p><div class="math" id="eq">z = 1</div></div>
<details><summary>Code</summary><p id="cell">x</p></details></article>
<script>let toggleHintShow = 'Click to show', toggleHintHide = 'Click to hide';
let toggleOpenOnPrint = 'true', togglebuttonSelector = '.toggle, .admonition.dropdown';</script>
<script src="togglebutton.js"></script><script defer src="book.js"></script></body>"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for path in (TOGGLE, STYLE, BOOK / "assets" / "book.js", BOOK / "assets" / "book.css"):
        shutil.copy(path, folder)
    (folder / "page.html").write_text(PAGE.replace("STYLE", STYLE.name), encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    assert errors == []
    page.close()


def seen(page, name):
    return page.locator(f"#{name}").evaluate(
        """(box) => { const at = box.getBoundingClientRect();
        return box.checkVisibility({ visibilityProperty: true }) && at.top >= 0
            && at.top < innerHeight }"""
    )


@pytest.mark.parametrize(("words", "name"), [("equation", "eq"), ("cell", "cell")])
def test_a_link_into_a_fold_opens_it_and_goes_there(page, words, name):
    assert not seen(page, name)
    for _ in range(2):  # the second click changes no address
        page.get_by_text(words, exact=True).click()
        page.wait_for_function("scrollY > 1000")
        assert seen(page, name)
        page.evaluate("scrollTo(0, 0)")
        if name == "eq":
            page.locator("button.toggle-button").click()
            page.evaluate("scrollTo(0, 0)")
        else:
            page.evaluate("document.querySelector('details').open = false")


def test_an_address_into_a_fold_opens_it(browser, address):
    page = browser.new_page()
    page.goto(f"{address}#eq")
    page.wait_for_function("!document.querySelector('.toggle-hidden') && scrollY > 1000")
    assert seen(page, "eq")
    page.close()


def test_other_links_open_nothing(page):
    page.get_by_text("plain").click()
    assert page.locator(".toggle-hidden, details:not([open])").count() == 2


def test_the_keyboard_opens_a_fold_and_shows_where_it_stands(page):
    button = page.locator("button.toggle-button")
    while not button.evaluate("(box) => box === document.activeElement"):
        page.keyboard.press("Tab")
    assert button.evaluate("(box) => getComputedStyle(box).outlineStyle") == "solid"
    for key, hidden in (("Enter", 0), ("Space", 1)):
        page.keyboard.press(key)
        assert page.locator(".toggle-hidden").count() == hidden
        assert button.get_attribute("aria-expanded") == ("false" if hidden else "true")


def test_a_folded_proof_is_open_on_paper_and_closed_after(page):
    note = "window.closed = document.querySelectorAll('.toggle-hidden').length"
    page.evaluate(f"addEventListener('beforeprint', () => {{ {note} }})")
    page.pdf()
    assert page.evaluate("window.closed") == 0
    assert page.locator(".toggle-hidden").count() == 1
