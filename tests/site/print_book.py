"""Prints the built book into one file, as `make pdf` does: its pages in their order, with links
from one to another, an outline and page numbers.

A browser is no part of the book: where none is found, one line says so and the exit code is 0.
"""

import re
import sys
from pathlib import Path
from posixpath import dirname, join, normpath

from bs4 import BeautifulSoup
from check_site import BUILT, FLAGS, HEIGHT, PAPER, TYPESET, serve

FIRST = "chapters/preface.html"
STYLE = Path(__file__).with_name("print.css").read_text(encoding="utf-8")
NAMES = ("id", "for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")
# Without its script a control does nothing; code that is folded on the page stays away.
LEFT_OUT = (
    "a.headerlink, button, form, script, .hand-stage, details.hide, details.all-rows, "
    "details.claim-more, .behind, .opening-figure"
)
FOOTER = """<div style="font-size: 8px; width: 100%; text-align: center; color: #555">
<span class="pageNumber"></span></div>"""
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<title>{title}</title>{head}<style>{style}</style></head>
<body class="printed"><main class="bd-main"><div class="bd-content">
<article class="bd-article title-page"><h1>{title}</h1>{contents}</article>
{articles}</div></main></body></html>"""


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def order(html: Path) -> list[tuple[str, str, str]]:
    """(address, title, caption of the part that begins there) of each page in the sidebar."""
    found, caption = [], ""
    for box in soup(html / FIRST).select("#pst-primary-sidebar :is(p.caption, a.internal)"):
        if box.name == "p":
            caption = box.get_text(strip=True)
            continue
        address = FIRST if box["href"] == "#" else normpath(join(dirname(FIRST), box["href"]))
        if address not in [page for page, *_ in found]:
            found.append((address, box.get_text(strip=True), caption))
            caption = ""
    return found


def moved(address: str, page: str, places: dict[str, str]) -> str:
    """A link of `page` as the joined file has it: within it, or to another host, or "" where
    it leads to a file beside the book."""
    if re.match(r"https?:|mailto:", address):
        return address
    path, _, name = address.partition("#")
    target = normpath(join(dirname(page), path)) if path else page
    return f"#{places[target]}{f'-{name}' if name else ''}" if target in places else ""


def article(html: Path, page: str, places: dict[str, str]):
    """A page's article, its names made unique and its links turned."""
    box, place = soup(html / page).select_one("article.bd-article"), places[page]
    for part in box.select(LEFT_OUT):
        part.decompose()
    for part in box.find_all(True):
        for name in NAMES:
            if name in part.attrs:
                part[name] = " ".join(f"{place}-{word}" for word in str(part[name]).split())
        if part.name == "a" and "href" in part.attrs:
            part["href"] = moved(part["href"], page, places)
            if not part["href"]:
                del part["href"]
        if part.name == "img" and not part["src"].startswith("data:"):
            part["src"] = normpath(join(dirname(page), part["src"]))
        if part.name == "details":
            part["open"] = ""
    for level in range(5, 0, -1):  # a part stands above its chapters in the outline
        for heading in box.find_all(f"h{level}"):
            heading.name = f"h{level + 1}"
    box["id"] = place
    return box


def joined(html: Path) -> str:
    """The whole book as one page; raises ValueError where a link leads nowhere."""
    pages = order(html)
    places = {page: f"p{number}" for number, (page, *_) in enumerate(pages)}
    blocks, contents = [], []
    for page, title, caption in pages:
        if caption:
            blocks.append(f'<h1 class="part">{caption}</h1>')
            contents.append(f'<li class="part">{caption}</li>')
        contents.append(f'<li><a href="#{places[page]}">{title}</a></li>')
        blocks.append(str(article(html, page, places)))
    first = soup(html / FIRST)
    head = [str(link) for link in first.select('head link[rel="stylesheet"]')]
    scripts = [box for box in first.select("script") if "MathJax" in f"{box}"]
    scripts += first.select('script[src*="mathjax"], script[src*="book.js"]')
    unique = {str(box): None for box in scripts if "sphinx-book-theme" not in str(box)}
    # One set of glyphs for all formulas, or each carries its own.
    head += [box.replace('"fontCache": "local"', '"fontCache": "global"') for box in unique]
    text = PAGE.format(
        title=pages[0][1],
        style=STYLE,
        head="".join(head).replace('"../_static', '"_static'),
        contents=f"<ul>{''.join(contents)}</ul>",
        articles="\n".join(blocks),
    )
    names = set(re.findall(r'\sid="([^"]+)"', text))
    dead = sorted(set(re.findall(r'href="#([^"]+)"', text)) - names)
    if dead:
        raise ValueError(f"links of the joined book lead nowhere: {', '.join(dead[:5])}")
    return text


def print_book(browser, html: Path, out: Path) -> None:
    server, text = serve(html), joined(html)
    address = f"http://127.0.0.1:{server.server_port}/print.html"
    page = browser.new_page(viewport={"width": PAPER, "height": HEIGHT})
    page.route(address, lambda route: route.fulfill(body=text, content_type="text/html"))
    page.set_default_timeout(0)  # some minutes of typesetting on a slow machine
    page.emulate_media(media="print", color_scheme="light")
    page.goto(address)
    page.evaluate(TYPESET)
    page.wait_for_timeout(1_000)  # assets/book.js fits wide equations once all are typeset
    page.pdf(
        path=out,
        format="A4",
        margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"),
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        outline=True,
        tagged=True,
    )
    server.shutdown()


def main(browser: str = "", out: str = str(BUILT / "book.pdf"), html: str = "") -> int:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = ""
    if not browser:
        print("pdf skipped: it needs Chromium and the package playwright")
        return 0
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        print_book(chromium, Path(html or BUILT / "html"), Path(out))
        chromium.close()
    print(f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
