"""The look at the built pages sees each kind of fault. Skipped where there is no browser."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
PLACE = Path(__file__).with_name("check_site.py")
PAGE = """<html lang="en"><head><title>Page</title><link rel="icon" href="data:,"></head>
<body><div class="bd-article"><p>Sound.</p>{}</div></body></html>"""
BOX = "<div style='background: #{}'><p style='color: #{}'>words</p></div>"
DARK = "<style>[data-theme=dark] b { color: #eee }</style><b>words</b>"
FIGURE = "<figure><img src='data:,' alt='A dot.'>{}</figure>"
BUTTON = "<button class='enlarge'>Enlarge</button>"
STUCK = (
    f"{FIGURE.format(BUTTON)}<dialog class='enlarged' aria-label='Dot'></dialog><script>"
    "const box = document.querySelector('dialog'); box.oncancel = (e) => e.preventDefault();"
    "for (const part of document.querySelectorAll('img, button'))"
    "  part.onclick = () => box.open || box.show();</script>"
)


@pytest.fixture(scope="module")
def check_site():
    found = importlib.util.spec_from_file_location("check_site", PLACE)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(check_site):
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=BROWSER, args=list(check_site.FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def look_by(check_site, browser, tmp_path_factory):
    """look_by(check, body): what a check finds on a page of this body."""
    folder = tmp_path_factory.mktemp("site")
    server = check_site.serve(folder)

    def look(check, body):
        (folder / "page.html").write_text(PAGE.format(body), encoding="utf-8")
        return check(browser, f"http://127.0.0.1:{server.server_port}/", "page.html")

    yield look
    server.shutdown()


@pytest.fixture(scope="module")
def faults_of(check_site, look_by):
    """What is wrong with a page of this body."""
    return lambda body: look_by(check_site.page_faults, body)


def test_a_sound_page_passes(faults_of):
    table = "<th><code>d_r</code> inference</th><td>finite, Falsehood</td>"
    table = (
        f"<div class='cell_output'><details><table>{table}{14 * '<tr>'}</table></details></div>"
    )
    assert faults_of(f"<pre>$x$ \\alpha</pre><img src='data:,' alt='A dot.'>{table}") == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p>so $x$ is</p>", "TeX is left"),
        ("<p>so \\alpha is</p>", "TeX is left"),
        ('<math><mtext mathcolor="red">\\inR</mtext></math>', "TeX error"),
        ("<p id='a'></p><p id='a'></p>", "id a stands 2 times"),
        (
            "<div class='cell_output'><div class='stream'><pre>nan</pre></div></div>",
            "nan in an output",
        ),
        ("<table><td>nan</td></table>", "raw value in a table: nan"),
        ("<table><td>above -inf</td></table>", "raw value in a table: above -inf"),
        ("<table><td>True, 2</td></table>", "raw value in a table: True"),
        ("<table><th>final_loss</th></table>", "raw name over a column: final_loss"),
        (f"<div class='cell_output'><table>{14 * '<tr><td>1'}</table></div>", "of 14 rows"),
        ("<div class='cell_output'><div class='traceback'>E</div></div>", "error output"),
        ("<img src='data:,'>", "image without a text"),
        ("<p style='width: 400px'>x</p>", "at 360 px the page"),
        ("<details><p style='width: 400px'>x</p></details>", "at 360 px the page"),
        (
            "<mjx-container display style='display:block;width:9px'>long</mjx-container>",
            "equation is cut",
        ),
        ("<p style='color: #ccc'>x</p>", "on paper p. is pale"),
        ("<pre style='overflow: auto'>" + 200 * "x" + "</pre>", "on paper code is cut"),
        ("<button></button>", "light: axe button-name"),
        (
            "<p style='height: 9px; overflow: auto'>a<br>b</p>",
            "axe scrollable-region-focusable",
        ),
        ("<details><a href='x' role='nothing'>x</a></details>", "axe aria-roles"),
        (BOX.format("fff", "999"), "light: axe color-contrast, 1 times"),
        (BOX.format("fff", "111") + BOX.format("333", "111"), "axe color-contrast, 1 times"),
        ("<pre>a <span style='color: #aaa'>b = 1</span></pre>", "axe color-contrast"),
        (DARK, "dark: axe color-contrast"),
        (FIGURE.format(""), "0 of 1 figures can be enlarged"),
        (FIGURE.format(BUTTON) + "<dialog class='enlarged'></dialog>", "enlarged by a click"),
        (STUCK, "Escape leaves a figure enlarged"),
        ("<script>console.error('no')</script>", "console: no"),
        ("<script>nothing()</script>", "script error"),
        ("<script>fetch('http://127.0.0.2:9/').catch(() => 0)</script>", "asks another host"),
    ],
)
def test_a_fault_is_seen(faults_of, body, fault):
    assert any(fault in line for line in faults_of(body))


STAGE = """<div data-hand="x"><img class="hand-still" alt="A still." src="{picture}">
<div class="hand-stage"><div class="hand-controls">{control}</div>
<svg></svg><p class="hand-say"></p></div></div>
<style>.hand-stage {{ display: none }} .live .hand-stage {{ display: block }}
.live .hand-still {{ display: none }} @media print {{ .live .hand-stage {{ display: none }}
.live .hand-still {{ display: {printed} }} }}</style>
<script>document.body.classList.add("live");
const say = document.querySelector(".hand-say"), control = document.querySelector("{which}");
control.addEventListener("{event}", () => say.append("moved "));</script>"""
PICTURE = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='90' height='90'/>"
SLIDER = '<input type="range" name="tau" {} min="0" max="9" value="0">'
SOUND = {
    "picture": PICTURE,
    "printed": "block",
    "control": SLIDER.format('aria-valuetext="0"'),
    "which": "input",
    "event": "input",
}


@pytest.fixture(scope="module")
def hand_faults_of(check_site, look_by):
    """What is wrong with a page whose figure is sound but for these changes."""
    return lambda **changes: look_by(check_site.hand_faults, STAGE.format(**SOUND | changes))


def test_a_sound_figure_passes(hand_faults_of):
    assert hand_faults_of() == []
    button = {"control": "<button>Go</button>", "which": "button", "event": "click"}
    assert hand_faults_of(**button) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"printed": "none"}, "print: a still picture is not seen"),
        ({"picture": "missing.svg"}, "scripts False, screen: a still picture is not seen"),
        ({"event": "nothing"}, "tau: no answer to the mouse"),
        ({"event": "keydown"}, "tau: no answer to a finger"),
        ({"event": "pointerdown"}, "tau: no answer to keys"),
        ({"control": SLIDER.format("")}, "tau: no aria-valuetext"),
        (
            {"control": "<button>Go</button>", "which": "button", "event": "pointerdown"},
            "Go: no answer to keys",
        ),
    ],
)
def test_a_fault_of_a_figure_is_seen(hand_faults_of, changes, fault):
    assert any(fault in line for line in hand_faults_of(**changes))


def test_a_failed_figure_is_seen(check_site, tmp_path):
    cell = {"id": "c1", "outputs": [{"output_type": "error", "ename": "ValueError"}]}
    (tmp_path / "heads.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    assert check_site.output_faults(tmp_path) == ["heads: cell c1: ValueError"]
