"""Looks at every built page in a real browser, as `make check-site` does: one line a fault, and
exit code 1 where there is any.

A browser is no part of the book: where none is found, one line says so and the exit code is 0.
"""

import functools
import http.server
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

BOOK = Path(__file__).resolve().parents[2]
BUILT = BOOK / "_build"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
HEIGHT, WIDTHS, EQUATIONS_AT = 900, (1440, 768, 360), 1280
BROWSERS, SHARE = 2, 4  # browsers at a time, pages each looks at before it is closed
PAPER = 680  # A4 with margins of 15 mm, in CSS pixels
ONCE = ("tex", "ids", "outputs", "tables", "images")
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
TYPESET = "async () => { await window.MathJax?.startup?.promise }"
FIGURES = ".bd-article figure img:not(.hand-still)"
PATIENCE = 180_000  # ms for a page on a machine that others use too
SETTLED = "() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 150))"
# WCAG 2.1, levels A and AA, as axe-core reads them. Only contrast depends on the theme.
THEMES = ("light", "dark")
LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
# What a reader types, and the start of the page that must come first. No excerpt may hold TeX:
# nothing else in the book has backslashes.
SEARCHES = {
    "heads": "chapters/ridge/",
    "ridge": "chapters/ridge/",
    "figure 4": "chapters/ridge/many_heads",
    "Theorem 1": "chapters/ridge/convergence",
    "errata": "chapters/back/errata",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """A server of this machine's own; its address is in `server_port`."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def open_page(browser, home: str):
    """A page that notes what goes wrong in `faults`: requests to other hosts, failed ones, and
    errors in the console."""
    page, faults = browser.new_page(viewport={"width": WIDTHS[0], "height": HEIGHT}), []
    page.set_default_timeout(PATIENCE)

    def request(asked):
        if not asked.url.startswith((home, "data:", "blob:")):
            faults.append(f"asks another host: {asked.url}")

    def console(message):
        if message.type in ("error", "warning"):
            faults.append(f"console: {message.text[:120]}")

    page.on("request", request)
    page.on("console", console)
    page.on("pageerror", lambda error: faults.append(f"script error: {str(error)[:120]}"))
    return page, faults


@functools.cache
def axe_script() -> str:
    from axe_playwright_python.sync_playwright import Axe

    return Axe().axe_script


def access_faults(page) -> list[str]:
    """What axe-core finds on a page in either theme, its folds as they are: a line a rule, with
    the first place and how many there are. Code and formulas are lost on the way."""
    found = {}

    def note(theme: str, call: str):
        for rule, place, words in page.evaluate(f"(levels) => look.{call}", LEVELS):
            found.setdefault((theme, rule), []).append(f"{place[-90:]}: {words[:120]}")

    def settle(theme: str):
        page.set_viewport_size({"width": EQUATIONS_AT, "height": HEIGHT})
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        page.evaluate(SETTLED)

    page.add_style_tag(content="* { transition: none !important }")  # colours at rest
    page.evaluate(axe_script())
    settle(THEMES[0])
    note(THEMES[0], "access(levels)")
    for theme in THEMES:
        settle(theme)
        page.evaluate("look.keepLooks()")
    page.evaluate("look.thin()")
    for theme in THEMES:
        settle(theme)
        note(theme, "contrast()")
    return [
        f"{theme}: axe {rule}, {len(places)} times: {places[0]}"
        for (theme, rule), places in found.items()
    ]


def enlarge_faults(page) -> list[str]:
    """Figures that do not come in the size of the window, by a click or by a key, or that
    Escape does not send back."""
    pictures, buttons = page.locator(FIGURES), page.locator("button.enlarge")
    if pictures.count() != buttons.count():
        return [f"{buttons.count()} of {pictures.count()} figures can be enlarged"]
    stage, faults = page.locator("dialog.enlarged"), []
    if pictures.count():
        acts = {"a click": pictures.first.click, "a key": lambda: buttons.first.press("Enter")}
        for words, act in acts.items():
            act()
            faults += [] if stage.is_visible() else [f"no figure is enlarged by {words}"]
            page.keyboard.press("Escape")
            faults += ["Escape leaves a figure enlarged"] if stage.is_visible() else []
    return faults


def page_faults(browser, home: str, name: str) -> list[str]:
    """Everything wrong with one page, at each width."""
    page, faults = open_page(browser, home)
    page.goto(home + name)
    page.evaluate(TYPESET)
    page.evaluate(LOOK)
    for check in ONCE:
        faults += page.evaluate(f"look.{check}()")
    page.evaluate("look.unfold()")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.evaluate(SETTLED)
        faults += [f"at {width} px {fault}" for fault in page.evaluate("look.sideways()")]
    page.set_viewport_size({"width": EQUATIONS_AT, "height": HEIGHT})
    page.evaluate(SETTLED)
    faults += [f"at {EQUATIONS_AT} px {fault}" for fault in page.evaluate("look.cut()")]
    faults += enlarge_faults(page)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": HEIGHT})
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.evaluate(SETTLED)
    faults += page.evaluate("look.paper()")
    page.emulate_media(media="screen")
    faults += access_faults(page)
    page.close()
    return [f"{name}: {fault}" for fault in dict.fromkeys(faults)]


# What a control shows of its state, and what the figure shows.
SEEN = """(stage) => [...stage.querySelectorAll("svg, .hand-say")].map((box) => box.innerHTML)
    .join("") + [...stage.querySelectorAll("button")].map((box) => box.ariaPressed).join("")"""


def hand_still_faults(browser, address: str) -> list[str]:
    """A figure that a reader moves shows its still picture without scripts, and on paper."""
    faults = []
    for scripts, media in ((False, "screen"), (True, "print")):
        page = browser.new_page(java_script_enabled=scripts)
        page.goto(address)
        page.emulate_media(media=media)
        for still in page.locator(".hand-still").all():
            box = still.bounding_box()
            if not still.is_visible() or box["height"] < 50 or not still.get_attribute("alt"):
                faults.append(f"scripts {scripts}, {media}: a still picture is not seen")
        if page.locator(".hand-stage:visible").count():
            faults.append(f"scripts {scripts}, {media}: a stage is seen, not its still picture")
        page.close()
    return faults


def moves(stage, act) -> bool:
    """Whether an act changes what a stage shows."""
    before = stage.evaluate(SEEN)
    act()
    stage.page.wait_for_timeout(60)
    return stage.evaluate(SEEN) != before


# Which control of a figure is tried, and the keys of which one must move it.
TRIED = {
    "input[type=range]": ("End", "ArrowLeft"),
    ".hand-controls > button": ("Space",),
    ".hand-choice label:last-child input": ("ArrowRight",),
    "tr:first-child td:nth-child(2) button": ("ArrowDown",),
    ".hand-steps button:nth-child(3)": ("Space",),
    ".hand-code li:nth-child(6) button": ("ArrowLeft",),
    ".hand-steps button:nth-child(1)": ("ArrowRight",),
    ".hand-steps button:nth-child(4)": ("ArrowLeft",),
    ".hand-steps button:nth-child(2)": ("Space",),
}


def control_faults(stage, control, keys: tuple, touch: bool) -> list[str]:
    """A control that does not answer to the mouse or a finger, or to the keyboard."""
    words = control.evaluate("(box) => box.name || box.ariaLabel || box.textContent")
    tap, pointer = (control.tap, "a finger") if touch else (control.click, "the mouse")
    slides, faults = control.get_attribute("type") == "range", []

    def rest():
        for slider in [control] if slides else stage.locator("input[type=range]").all():
            slider.press("Home")

    rest()
    if slides:
        box = control.bounding_box()
        place = {"x": 0.7 * box["width"], "y": box["height"] / 2}
        pointed = moves(stage, lambda: tap(position=place))
    else:
        pointed = moves(stage, tap)
    rest()
    keyed = any(moves(stage, lambda key=key: control.press(key)) for key in keys)
    if slides and not control.get_attribute("aria-valuetext"):
        faults.append(f"{words}: no aria-valuetext")
    faults += [] if pointed else [f"{words}: no answer to {pointer}"]
    return faults + ([] if keyed else [f"{words}: no answer to keys"])


def hand_faults(browser, home: str, name: str) -> list[str]:
    """What is wrong with the figures of a page that a reader moves: each control is tried by
    mouse, finger and keyboard, at the width of a desk and of a phone."""
    faults = hand_still_faults(browser, home + name)

    def script_error(error):
        faults.append(f"script error: {str(error)[:120]}")

    for touch, width in ((False, EQUATIONS_AT), (True, WIDTHS[-1])):
        size = {"width": width, "height": HEIGHT}
        page = browser.new_page(viewport=size, has_touch=touch, reduced_motion="reduce")
        page.on("pageerror", script_error)
        page.goto(home + name)
        page.evaluate(TYPESET)
        wanted, stages = page.locator("[data-hand]").count(), page.locator(".hand-stage")
        if stages.count() != wanted:
            faults.append(f"{stages.count()} of {wanted} figures to be moved have started")
        for stage in stages.all():
            for which, keys in TRIED.items():
                for control in stage.locator(which).all():
                    faults += control_faults(stage, control, keys, touch)
        page.close()
    return [f"{name}: {fault}" for fault in dict.fromkeys(faults)]


def search_faults(browser, home: str) -> list[str]:
    """Searches whose first result is not the chapter that a reader wants."""
    faults = []
    for words, wanted in SEARCHES.items():
        page, noted = open_page(browser, home)
        page.goto(f"{home}search.html?q={quote(words)}")
        links = page.locator("#search-results ul.search li a")
        try:
            links.first.wait_for(timeout=20_000)
            page.wait_for_function(
                "document.querySelector('.search-summary, #search-results p')"
            )
            page.wait_for_timeout(1_500)  # results come one after another, best first
            first = links.first.get_attribute("href")
            shown = page.locator("#search-results").inner_text()
            noted += [f"shows TeX: {line[:80]}" for line in shown.splitlines() if "\\" in line]
        except Exception as error:  # a timeout is what no result looks like
            first = f"nothing ({type(error).__name__})"
        if not first.lstrip("./").startswith(wanted):
            noted.append(f"finds {first} first, not {wanted}")
        faults += [f"search for {words!r}: {fault}" for fault in noted]
        page.close()
    return faults


def output_faults(folder: Path) -> list[str]:
    """Executed notebooks with an error among their outputs: a figure that failed to draw leaves
    the build green."""
    faults = []
    for path in sorted(folder.rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    faults.append(f"{path.stem}: cell {cell['id']}: {output['ename']}")
    return faults


def pages(html: Path) -> list[str]:
    """Addresses of the pages that a reader sees, without those that only lead on."""
    names = (path.relative_to(html) for path in sorted(html.rglob("*.html")))
    names = [path.as_posix() for path in names if path.parts[0] not in ("_static", "_sources")]
    onward = 'http-equiv="refresh"'
    return [n for n in names if onward not in (html / n).read_text(encoding="utf-8").lower()]


def faults_of_pages(browser: str, home: str, html: Path, names) -> list[str]:
    """What is wrong with these pages, looked at in a browser of their own; without names, with
    searches."""
    from playwright.sync_api import sync_playwright

    faults = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        for name in names:
            faults += page_faults(chromium, home, name)
            if "data-hand=" in (html / name).read_text(encoding="utf-8"):
                faults += hand_faults(chromium, home, name)
        if not names:
            faults += search_faults(chromium, home)
        chromium.close()
    return faults


def site_faults(browser: str, html: Path) -> list[str]:
    """What is wrong with all pages, some at a time in each of BROWSERS browsers."""
    server = serve(html)
    home, names = f"http://127.0.0.1:{server.server_port}/", pages(html)
    shares = [names[start : start + SHARE] for start in range(0, len(names), SHARE)]
    look = functools.partial(faults_of_pages, browser, home, html)
    with ThreadPoolExecutor(BROWSERS) as threads:
        faults = [fault for found in threads.map(look, [*shares, []]) for fault in found]
    server.shutdown()
    return faults


def main(browser: str = "", html: str = str(BUILT / "html")) -> int:
    try:
        import playwright  # noqa: F401

        axe_script()
    except ImportError:
        browser = ""
    if not browser:
        print("check-site skipped: it needs Chromium and the packages of requirements-site.txt")
        return 0
    html, start = Path(html), time.monotonic()
    faults = site_faults(browser, html)
    faults += output_faults(html.parent / "jupyter_execute")
    print(*faults, sep="\n", end="\n" if faults else "")
    count, seconds = len(pages(html)), time.monotonic() - start
    print(f"check-site: {count} pages, {len(faults)} faults, {seconds:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
