"""Built pages load nothing from outside and have no dead link.

A bare clone has no built book, so a small one is built here, with the book's own configuration,
extensions and API page. Where `make book` has run, its pages are checked too.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from checks import KERNEL, link_faults, outside_faults, private_faults
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reading import chapter_tree, tree

BOOK = Path(__file__).parents[2]
BUILT = BOOK / "_build" / "html"
PAGE = """# A small page

A statement with mathematics, a citation {cite}`yang2024`, and a link to {doc}`back/api`.

$$ y = A^\\top x $$ (eq-small)

```{prf:lemma} Small
:label: lem-small
By {eq}`eq-small`.
```

*Idea.* Look at every word.

```{prf:proof}
:class: dropdown
FOLDED

$$ z = 1 $$ (eq-folded)
```

By {eq}`eq-folded` it ends.

```{exercise} Small
:label: ex-small
Prove {prf:ref}`lem-small`; see {numref}`fig-small`.
```

```{solution} ex-small
:class: dropdown
Look.
```

```{glossary}
:sorted:

zebra
  The last.

apple
  The first; not a {term}`zebra`.

Ant
  Before it.
```
""".replace("FOLDED", " ".join(["word"] * 90))
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="session")
def small_book(tmp_path_factory):
    """The HTML folder of a two-page book, built without a warning and without running a
    notebook."""
    source = tmp_path_factory.mktemp("book")
    for name in ("_ext", "assets"):
        shutil.copytree(BOOK / name, source / name)
    shutil.copy(BOOK / "references.bib", source)
    (source / "back").mkdir()
    for name in ("api.md", "bibliography.md"):
        shutil.copy(BOOK / "chapters" / "back" / name, source / "back" / name)

    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    config["execute"]["execute_notebooks"] = "off"
    (source / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    pages = [{"file": "back/api"}, {"file": "back/bibliography"}]
    toc = {"format": "jb-book", "root": "page", "chapters": pages}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")

    figure = {"caption": "A dot.", "name": "fig-small"}
    image = {"alt": "One grey dot, no axes."}
    described = {"mystnb": {"figure": figure, "image": image}, "tags": ["hide-input"]}
    drawing = new_code_cell("plt.show()", metadata=described, execution_count=1)
    drawing.outputs = [new_output("display_data", {"image/png": PIXEL})]
    notebook = new_notebook(
        cells=[new_markdown_cell(PAGE), drawing], metadata={"kernelspec": KERNEL}
    )
    nbformat.write(notebook, source / "page.ipynb")

    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(source),
    ]
    command += ["--all", "-n", "-W", "--keep-going"]
    environment = {**os.environ, "NO_COLOR": "1"}
    built = subprocess.run(command, capture_output=True, text=True, cwd=BOOK, env=environment)
    assert built.returncode == 0, built.stdout + built.stderr
    return source / "_build" / "html"


@pytest.fixture(params=["small book", "built book"])
def html(request):
    """The pages to check: a small book always, the real one where it has been built."""
    if request.param == "small book":
        return request.getfixturevalue("small_book")
    if not (BUILT / "index.html").is_file():
        pytest.skip("make book has not run here")
    return BUILT


def test_pages_load_nothing_from_outside(html):
    assert outside_faults(html) == []


def test_links_resolve(html):
    assert link_faults(html) == []


def test_pages_hold_no_path_of_this_machine(html):
    pages = [
        page for page in html.rglob("*.html") if str(BOOK) in page.read_text(encoding="utf-8")
    ]
    assert pages == []


def test_small_book_has_what_the_checks_look_at(small_book):
    page = (small_book / "page.html").read_text(encoding="utf-8")
    numbered = ["Lemma 1", "Exercise 1", "Fig. 1"]
    for part in [
        *numbered,
        "mathjax-tex-svg-full.js",
        'alt="One grey dot, no axes."',
        "_sources/page.ipynb",
    ]:
        assert part in page, part
    api = (small_book / "back" / "api.html").read_text(encoding="utf-8")
    assert 'id="iclbook.errors.InputError"' in api


def test_a_folded_proof_has_a_title_to_open_it_by_and_its_idea_above(small_book):
    page = BeautifulSoup((small_book / "page.html").read_text(encoding="utf-8"), "html.parser")
    (box,) = page.select("div.proof.dropdown")
    title = box.find(recursive=False)
    assert title["class"] == ["admonition-title"] and title.text == "Proof"
    assert box.select_one("p:not([class])").text.startswith("word word") and not box.get("id")
    assert box.select("#equation-eq-folded")
    assert box.find_previous_sibling().text == "Idea. Look at every word."
    assert box.find_previous_sibling()["class"] == ["proof-idea"]


def test_letters_lead_to_the_first_terms(small_book):
    page = (small_book / "page.html").read_text(encoding="utf-8")
    (line,) = re.findall(r'<p class="letters">(.*?)</p>', page, re.S)
    found = re.findall(r'href="#([^"]+)">(\w)<', line)
    assert found == [("term-Ant", "A"), ("term-zebra", "Z")]
    assert 'id="term-Ant"' in page and 'id="term-zebra"' in page


def test_no_launch_button_without_a_repository(small_book):
    assert "mybinder" not in (small_book / "page.html").read_text(encoding="utf-8")


# --- what a chapter shows, and what it folds

CHAPTERS = [
    *(BOOK / "chapters").glob("[!.]*/*.ipynb"),
    BOOK / "chapters/bridge/open_problems.md",
]
FOLDED = "\n\n```{prf:proof}\n:class: dropdown\n"


@pytest.fixture(scope="module")
def folds():
    """The build's own rule and count."""
    sys.path.insert(0, str(BOOK / "_ext"))
    yield importlib.import_module("folds")
    sys.path.remove(str(BOOK / "_ext"))


@pytest.fixture(scope="module")
def opening(folds):
    return importlib.import_module("opening")


@pytest.mark.parametrize("path", sorted(CHAPTERS), ids=lambda path: path.stem)
def test_a_chapter_is_read_in_25_minutes(path, opening):
    assert 1 < opening.minutes(chapter_tree(path)) <= opening.LONGEST == 25


@pytest.mark.parametrize("path", sorted(CHAPTERS), ids=lambda path: path.stem)
def test_long_proofs_fold_behind_an_idea_and_short_ones_do_not(path, folds):
    assert folds.faults(chapter_tree(path)) == []


def words(count):
    return " ".join(["word"] * count)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"```{{prf:proof}}\n{words(149)}\n```", ""),  # and the word "Proof."
        (f"```{{prf:proof}}\n{words(150)}\n```", "151 words, needs"),
        (f"```{{prf:proof}}\n{words(70)}\n\n$$\nx\n$$\n```", "161 words, needs"),
        (f"*Idea.* {words(49)}{FOLDED}{words(150)}\n```", ""),
        (f"*Idea.* {words(50)}{FOLDED}{words(150)}\n```", "an idea of 51 words"),
        (f"*Idea.* Short.\n\nMore.{FOLDED}{words(150)}\n```", "no '*Idea.*'"),
        (f"Idea. Plain.{FOLDED}{words(150)}\n```", "no '*Idea.*'"),
        (f"*Idea.* Short.{FOLDED}{words(149)}\n```", "is short"),
        (f"# Title{FOLDED}{words(150)}\n```", "no '*Idea.*'"),
    ],
)
def test_the_rule_of_long_proofs(text, fault, folds):
    found = folds.faults(tree(text))
    assert len(found) == bool(fault) and fault in "".join(found)


def test_folds_exercises_and_code_take_no_minutes(opening):
    read = f"# Title\n\n{words(179)} {{measured}}`a/b`\n\n$$\nx\n$$\n"
    fold = f"```{{admonition}} Hint\n:class: dropdown\n{words(99)}\n```\n"
    held = (
        f"```{{exercise-start}} A\n:label: ex-a\n```\n{words(99)}\n```{{exercise-end}}\n```\n"
    )
    code = f"```python\n{words(99)}\n```\n"
    assert opening.minutes(tree(read + fold + held + code)) == pytest.approx(1.5 + 1 / 180)


@pytest.fixture
def site(tmp_path):
    """A sound site of two pages: write(head, body) puts more into the first."""
    (tmp_path / "local.css").write_text("body { background: url('dot.png') }")
    (tmp_path / "dot.png").write_bytes(b"")
    (tmp_path / "second.html").write_text('<h1 id="there">Second</h1>')

    def write(head="", body=""):
        links = '<a href="second.html#there">in</a><a href="https://example.org">out</a>'
        links += '<a href="#top">up</a>'
        style = '<link rel="stylesheet" href="local.css?v=1">'
        page = f'{style}{head}<body id="top"><img src="dot.png">{links}{body}</body>'
        (tmp_path / "first.html").write_text(page)
        return tmp_path

    return write


def test_sound_site_passes(site):
    html = site(head='<link rel="canonical" href="https://example.org/first.html">')
    assert outside_faults(html) + link_faults(html) == []


@pytest.mark.parametrize(
    "damage",
    [
        '<script src="https://example.org/a.js"></script>',
        '<script src="//example.org/a.js"></script>',
        '<script>load("https://example.org/a.js")</script>',
        '<script type="module">import "//example.org/a.js"</script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<link rel="preload" as="font" href="https://example.org/a.woff2">',
        '<img src="http://example.org/a.png">',
        '<img srcset="dot.png 1x, https://example.org/a.png 2x">',
        '<iframe src="https://example.org"></iframe>',
        '<video poster="https://example.org/a.png"></video>',
        '<object data="https://example.org/a.svg"></object>',
        "<style>@import 'https://example.org/a.css';</style>",
        '<p style="background: url(https://example.org/a.png)">x</p>',
    ],
)
def test_outside_host_is_seen(site, damage):
    assert len(outside_faults(site(body=damage))) == 1


def test_outside_host_in_a_style_sheet_is_seen(site):
    html = site()
    (html / "font.css").write_text("@font-face { src: url(https://example.org/a.woff2) }")
    assert len(outside_faults(html)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        '<a href="third.html">x</a>',
        '<a href="second.html#nowhere">x</a>',
        '<a href="#nowhere">x</a>',
        '<a href="/first.html">x</a>',
        '<img src="missing.png">',
        '<script src="missing.js"></script>',
    ],
)
def test_dead_link_is_seen(site, damage):
    assert len(link_faults(site(body=damage))) == 1


def test_path_of_a_machine_is_seen():
    home = "/" + "home/someone/book"
    assert len(private_faults(f"read from {home}/results.csv", "page")) == 1
    assert (
        private_faults(
            "see results/yang2024, https://example.org/home/page and ../tmp/x", "page"
        )
        == []
    )
