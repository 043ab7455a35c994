"""The joined book keeps its links, and its print has an outline. Skipped where there is no
browser."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SIDEBAR = """<div id="pst-primary-sidebar"><a class="internal" href="{home}">Book</a>
<p class="caption">Part I</p><a class="internal" href="{next}">1. Next</a></div>"""
SITE = {
    "chapters/preface.html": """<head><title>Book</title></head>{sidebar}
<article class="bd-article"><h1 id="top">Book<a class="headerlink" href="#top">#</a></h1>
<a href="ridge/next.html#here">there</a> <a href="#top">up</a> <a href="data.csv">data</a>
<img src="../dot.png" alt="dot"><details class="hide"><pre>code</pre></details></article>""",
    "chapters/ridge/next.html": """<article class="bd-article"><h1 id="top">Next</h1>
<p id="here">Here. <a href="../preface.html">home</a> <a href="https://example.org">out</a></p>
<details><p>A proof.</p></details></article>""",
}


@pytest.fixture(scope="module")
def print_book():
    sys.path.insert(0, str(Path(__file__).parent))
    yield importlib.import_module("print_book")
    sys.path.remove(str(Path(__file__).parent))


@pytest.fixture
def html(tmp_path):
    for name, text in SITE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sidebar = SIDEBAR.format(home="#", next="ridge/next.html")
        path.write_text(text.replace("{sidebar}", sidebar), encoding="utf-8")
    return tmp_path


def test_pages_stand_in_the_books_order_under_their_part(print_book, html):
    assert print_book.order(html) == [
        ("chapters/preface.html", "Book", ""),
        ("chapters/ridge/next.html", "1. Next", "Part I"),
    ]


def test_links_stay_within_the_file(print_book, html):
    text = print_book.joined(html)
    assert re.findall(r'<a href="([^"]+)">(\w+)</a>', text) == [
        ("#p0", "Book"),
        ("#p1-here", "there"),
        ("#p0-top", "up"),
        ("#p0", "home"),
        ("https://example.org", "out"),
    ]
    assert '<a href="#p1">1. Next</a>' in text and "<a>data</a>" in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert sorted(ids) == ["p0", "p0-top", "p1", "p1-here", "p1-top"]
    assert 'src="dot.png"' in text and "headerlink" not in text
    assert "code" not in text and '<details open="">' in text
    assert '<h1 class="part">Part I</h1>' in text and '<h2 id="p1-top">Next</h2>' in text


def test_a_dead_link_is_an_error(print_book, html):
    page = html / "chapters/ridge/next.html"
    page.write_text(page.read_text().replace('id="here"', 'id="elsewhere"'), encoding="utf-8")
    with pytest.raises(ValueError, match="lead nowhere: p1-here"):
        print_book.joined(html)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
def test_the_print_has_an_outline_and_links(print_book, html, tmp_path, capsys):
    assert print_book.main(BROWSER, str(tmp_path / "book.pdf"), str(html)) == 0
    printed = (tmp_path / "book.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and b"/Outlines" in printed
    assert printed.count(b"/Type /Page\n") == 4  # title, home page, part, chapter
    assert b"https://example.org" in printed and b"/Dest" in printed
    assert "MB" in capsys.readouterr().out


def test_without_a_browser_one_line_says_so(print_book, capsys):
    assert print_book.main("") == 0
    assert capsys.readouterr().out.splitlines() == [
        "pdf skipped: it needs Chromium and the package playwright"
    ]
