"""Numbers that pages take from the ledger and the store, against the CSV and JSON files read
here without the package; and pages that use them."""

import csv
import importlib
import json
import re
import statistics
import sys
from pathlib import Path

import pytest
from book import BOOK

from iclbook.claim import all_claims
from iclbook.errors import InputError

RESULTS = BOOK / "results"
PAGES = BOOK / "chapters" / "back"


@pytest.fixture(scope="module", autouse=True)
def extensions():
    """The folder of the extensions, which import each other."""
    sys.path.insert(0, str(BOOK / "_ext"))
    yield
    sys.path.remove(str(BOOK / "_ext"))


@pytest.fixture(scope="module")
def from_ledger(extensions):
    return importlib.import_module("from_ledger")


@pytest.fixture(scope="module")
def from_store(extensions):
    return importlib.import_module("from_store")


@pytest.fixture(scope="module")
def modifications(from_store):
    return from_store.modifications()


def rows_of(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def table_of(text: str) -> list[list[str]]:
    """The body of a Markdown table, cell by cell."""
    lines = [line.strip().strip("|").split(" | ") for line in text.splitlines()]
    return [[cell.strip(" |") for cell in line] for line in lines[2:]]


# --- roles

ROLE = re.compile(r"\{(verdict|measured|stored)\}`([^`]+)`")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?: to \d+)? %|\d*\.\d+|10\^")
# Numbers that stand typed in an answer, and why no role reads them.
TYPED = {
    ("depth", "1 to 2 %"): "a measure of the in-domain run that no claim returns alone",
    ("language", "0.5"): "a setting",
    ("other_prompts", "75 to 92 %"): "shares of a gain between sets; the page's table has them",
    ("other_prompts", "89 %"): "as 75 to 92 %",
    ("representation", "1 %"): "a median over the seeds of a ratio of two rows of a table",
    ("trained", "29 %"): "a gain between the better of two starts; the page's table has it",
    ("trained", "1 %"): "a mean gain; the claim has the lower end of its interval",
    ("trained", "0.3 %"): "as 29 %",
    ("trained", "1.25"): "a closed form, proved on the page",
}
RATIO = "a ratio of two rows of a table, asserted or shown on the page"
LIVE = "computed in a cell of the page, which asserts it"
TYPED_IN_SUMMARIES = {
    ("depth", "1 to 2 %"): TYPED["depth", "1 to 2 %"],
    ("depth", "8 to 10 %"): "a range over seeds; the claim has its upper end",
    ("failure_signatures", "1.5"): RATIO,
    ("failure_signatures", "82 %"): RATIO,
    ("further_tasks", "0.78"): "a median of a learned parameter at the end of training",
    ("further_tasks", "0.99"): "as 0.78",
    ("further_tasks", "6 to 8 %"): RATIO,
    ("generalisation", "0.50"): RATIO,
    ("generalisation", "0.61"): RATIO,
    ("language", "0.11"): RATIO,
    ("language", "0.028"): RATIO,
    ("language", "0.061"): RATIO,
    ("language", "0.5"): "a setting",
    ("other_prompts", "4 %"): RATIO,
    ("real_data", "0.62"): RATIO,
    ("representation", "1 %"): TYPED["representation", "1 %"],
    ("representation", "10.6"): LIVE,
    ("ridge_regression", "10^"): "an order of magnitude",
    ("signed", "0.01"): "a setting",
    ("template", "1.7"): LIVE,
    ("template", "6.6"): LIVE,
    ("trained", "0.3 %"): TYPED["trained", "0.3 %"],
    ("trained", "1.25"): TYPED["trained", "1.25"],
    ("trained", "29 %"): TYPED["trained", "29 %"],
    ("unseen", "2 %"): RATIO,
    ("unseen", "23 %"): RATIO,
    ("unseen", "60 %"): RATIO,
}


def prose() -> dict[str, str]:
    """{chapter: the text of its cells}"""
    found = {}
    for path in sorted((BOOK / "chapters").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            kept = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
            found[path.stem] = "\n".join(map("".join, kept))
    return found


def answers() -> dict[str, str]:
    """{chapter: the paragraph of its answer}"""
    start = re.compile(r"^\*\*Answer\.\*\* (.+)$", re.M)
    return {chapter: start.search(text)[1] for chapter, text in prose().items()}


def summaries() -> dict[str, str]:
    """{chapter: the section that ends its text}"""
    section = re.compile(r"^## Summary\n(.+?)(?=^## |\Z)", re.M | re.S)
    return {chapter: section.search(text)[1] for chapter, text in prose().items()}


def typed_numbers(texts: dict[str, str]) -> set[tuple[str, str]]:
    """(chapter, number) of all that no role reads."""
    return {
        (chapter, number)
        for chapter, text in texts.items()
        for number in NUMBER.findall(ROLE.sub("", text))
    }


def test_the_numbers_of_an_answer_are_read_not_typed():
    assert typed_numbers(answers()) == set(TYPED)


def test_the_numbers_of_a_summary_are_read_not_typed():
    assert typed_numbers(summaries()) == set(TYPED_IN_SUMMARIES)


@pytest.mark.parametrize(
    "text", ["about 1.37 times", "within 3 %", "$3\\cdot10^{-14}$", "8 to 10 %"]
)
def test_a_typed_number_is_seen(text):
    assert NUMBER.search(ROLE.sub("", text))
    assert not NUMBER.search(ROLE.sub("", "at least {measured}`a/b %`, for all 15 steps"))


def test_the_roles_of_answers_and_home_page_find_their_numbers(from_ledger):
    home = (BOOK / "chapters" / "preface.md").read_text(encoding="utf-8")
    roles = ROLE.findall("\n".join([home, *answers().values(), *summaries().values()]))
    assert len(roles) > 45
    for name, text in roles:
        assert re.search(r"\d", getattr(from_ledger, name)(text, "scorecard.html"))


def test_a_share_is_shown_in_percent(from_ledger):
    share = from_ledger.row_of("ren2024/fig3-negative")["measured"]
    assert from_ledger.measured("ren2024/fig3-negative %") == f"{100 * share:.1f}&nbsp;%"
    name = "ren2024/fig3-trained plain_ends.own_weight max"
    exact = max(
        float(row["own_weight"])
        for row in rows_of(RESULTS / "ren2024/fig3-trained/full.plain_ends.csv")
    )
    assert from_ledger.stored(f"{name} %") == f"{100 * exact:.1f}&nbsp;%"


def test_a_verdict_shows_the_recorded_one_with_the_measured_number(from_ledger):
    shown = from_ledger.verdict("yang2024/lemma5-constant", "scorecard.html")
    rows = rows_of(RESULTS / "yang2024" / "lemma5" / "full.losses.csv")
    errors = (
        abs(float(row["without_m_tau"]) - float(row["simulated"]))
        / float(row["standard_error"])
        for row in rows
        if row["weights"] == "best"
    )
    assert f"reproduced: {min(errors):.0f} (at least 4.5)" in shown
    assert 'href="scorecard.html#claim-yang2024-lemma5-constant"' in shown


def test_a_number_near_its_threshold_is_told_apart_from_it(from_ledger):
    shown = from_ledger.verdict("yang2024/fig3-transformer-errs-less", "scorecard.html")
    assert re.search(r"reproduced: 0\.9999\d* \(at most 1\)", shown)


def test_a_claim_without_a_number_shows_its_verdict_alone(from_ledger):
    shown = from_ledger.verdict("ren2024/thm32-paper-statement", "scorecard.html")
    assert shown.endswith("</span> claim untestable</a>")


def test_a_number_under_one_reading(from_ledger):
    ends = [
        float(row["excess_loss"])
        for row in rows_of(RESULTS / "yang2024" / "fig2a" / "full.curves.csv")
        if (row["loss"], row["tokens"], row["step"]) == ("population", "gaussian", "20000")
    ]
    shown = from_ledger.measured("yang2024/fig2a-reaches-the-ridge-limit gaussian population")
    assert len(ends) == 5 and shown == f"{max(ends):.3g}"


def test_a_number_from_a_stored_table(from_ledger):
    gaps = [
        float(row["gap"])
        for row in rows_of(RESULTS / "yang2024" / "fig3-tau" / "full.gaps.csv")
        if (row["tau"], row["N"], row["reading"]) == ("0.01", "50", "copied")
    ]
    query = "tau == 0.01 and N == 50 and reading == 'copied'"
    for how, wanted in (("median", statistics.median(gaps)), ("max", max(gaps))):
        shown = from_ledger.stored(f"yang2024/fig3-tau gaps.gap {how} where {query}")
        assert shown == f"{wanted:.3g}"


@pytest.mark.parametrize(
    ("role", "text", "message"),
    [
        ("verdict", "yang2024/lemma5-constants", "did you mean yang2024/lemma5-constant"),
        ("measured", "yang2024/lemma5-constant unit batch", "has no reading"),
        ("measured", "ren2024/thm32-paper-statement", "nothing was measured"),
        ("stored", "yang2024/fig3 gaps.gap", "is not"),
        ("stored", "yang2024/fig33 gaps.gap max", "unknown experiment"),
        ("stored", "yang2024/fig3 gaps.gaps max", "no column"),
        ("stored", "yang2024/fig3 holes.gap max", "no table"),
        ("stored", "yang2024/fig3 gaps.gap max where N == 7", "no row"),
    ],
)
def test_what_does_not_exist_ends_the_build(from_ledger, role, text, message):
    with pytest.raises(InputError, match=message):
        getattr(from_ledger, role)(text, "scorecard.html")


def test_every_number_of_the_errata_can_be_read(from_ledger):
    page = (PAGES / "errata.md").read_text(encoding="utf-8")
    used = re.findall(r"\{(verdict|measured|stored)\}`([^`]+)`", page)
    assert len(used) > 40
    for role, text in used:
        assert getattr(from_ledger, role)(text, "scorecard.html")


# --- the table of modifications


def test_gains_are_those_of_the_stored_losses(modifications):
    """The best setting of negative samples in the linear row, from the CSV by hand."""
    folder = RESULTS / "ren2024" / "fig3-trained"

    def means(name, **wanted):
        found = {}
        for row in rows_of(folder / f"full.{name}_ends.csv"):
            if all(float(row[key]) == value for key, value in wanted.items()):
                found.setdefault(row["seed"], []).append(float(row["final_loss"]))
        return {seed: statistics.mean(losses) for seed, losses in found.items()}

    plain, modified = means("plain"), means("negative", r=15, beta=1)
    gain = 100 * statistics.mean(1 - modified[seed] / plain[seed] for seed in plain)
    (linear,) = [row for row in table_of(modifications) if row[0] == "linear"]
    assert len(plain) == 5 and linear[4] == "5"
    assert f"</span> {gain:.1f} %</span>" in linear[3]
    assert "r&nbsp;=&nbsp;15, β&nbsp;=&nbsp;1" in linear[3]


def test_a_cell_with_a_claim_of_its_own_has_its_verdict(from_store, modifications):
    (linear,) = [row for row in table_of(modifications) if row[0] == "linear"]
    claims = all_claims()
    for family, cell in zip(("regularised", "augmented", "negative"), linear[1:4]):
        claim = claims[f"ren2024/fig3-{family}"]
        assert claim.threshold == from_store.THRESHOLD
        assert f'class="verdict verdict-{claim.verdict.replace(" ", "-")}"' in cell


def test_every_claim_on_a_gain_is_linked_and_every_trained_result_has_a_row(
    from_store, modifications
):
    linked = set(re.findall(r'href="scorecard\.html#(claim-[\w-]+)"', modifications))
    claims = [c for c in all_claims().values() if c.check in ("improvement", "pair")]
    assert linked == {f"claim-{claim.id.replace('/', '-')}" for claim in claims}
    trained = {path.parent.name for path in (RESULTS / "ren2024").glob("*/full.*ends.csv")}
    assert {f"ren2024/{name}" for name in trained - {"rates"}} == set(from_store.TRAINED)


def test_tasks_are_told_apart(modifications):
    tasks = [row[0] for row in table_of(modifications)]
    assert len(tasks) == len(set(tasks)) and "exponential, Gaussian inputs" in tasks
    assert all(len(row) == 6 for row in table_of(modifications))


def test_the_answer_above_the_table_is_the_tables(modifications):
    """Negative samples always gain; augmentation by much on the exponential task only;
    regularisation in two rows only."""
    helped = {"regularised": set(), "augmented": set()}
    for task, regularised, augmented, negative, *_ in table_of(modifications):
        gain = {"regularised": regularised, "augmented": augmented}
        for family, cell in gain.items():
            mean = re.search(r"([−\d.]+) %", cell)
            if mean and "verdict-reproduced" in cell and float(mean[1]) > 2.5:
                helped[family].add(task)
        assert negative == "–" or re.search(r"<br>(\d[\d.]*) to", negative), task
    assert all(task.startswith("exponential") for task in helped["augmented"])
    wanted = {"linear, all prompts share a part", "linear, two attention layers"}
    assert len(helped["augmented"]) == 4 and helped["regularised"] == wanted


# --- the status


def test_costs_are_those_of_the_files(from_store):
    *rows, total = table_of(from_store.costs())
    sidecars = sorted(RESULTS.glob("*/*/full.json"))
    assert len(rows) == len(sidecars)
    shown = {row[0].strip("`"): row for row in rows}
    for path in sidecars:
        meta, row = (
            json.loads(path.read_text(encoding="utf-8")),
            shown[f"{path.parent.parent.name}/{path.parent.name}"],
        )
        size = sum(file.stat().st_size for file in path.parent.glob("full.*"))
        assert row[3] == meta["created"][:10]
        assert row[4] == f"{size / 1000:,.0f}"
        seconds = meta["wall_seconds"]
        if seconds < 60:
            assert row[2] == f"{seconds:.1f}&nbsp;s"
        held = []
        for part in row[5].split(", "):
            first, _, last = part.partition("–")
            held += range(int(first), int(last or first) + 1)
        assert held == sorted(meta["seeds"])
    size = sum(file.stat().st_size for path in sidecars for file in path.parent.glob("full.*"))
    assert total[4] == f"{size / 1000:,.0f}"


def test_every_machine_has_its_letter(from_store):
    letters = re.findall(r"\* \*\*(\w)\*\*", from_store.machines())
    used = {
        letter for row in table_of(from_store.costs())[:-1] for letter in row[6].split(", ")
    }
    assert sorted(used) == letters
    if "unknown" in (RESULTS / "yang2024" / "fig2a" / "full.json").read_text(encoding="utf-8"):
        assert "processor not recorded" in from_store.machines()


@pytest.mark.parametrize(
    ("seeds", "words"), [([0], "0"), ([2, 0, 1], "0–2"), ([0, 1, 5, 1000], "0–1, 5, 1000")]
)
def test_seeds_in_words(from_store, seeds, words):
    assert from_store.seeds_in_words(seeds) == words


def test_each_marker_stands_on_one_page(from_store):
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    assert [text.count(marker) for marker in from_store.MARKERS] == [1] * 5


# --- the glossary


def test_the_glossary_knows_every_linked_term_once():
    page = (PAGES / "glossary.md").read_text(encoding="utf-8")
    block = page.partition("```{glossary}")[2].partition("\n```")[0]
    terms = [line for line in block.splitlines() if line and line[0] not in " :"]
    assert len(terms) == len(set(terms))
    text = page
    for path in (BOOK / "chapters").rglob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text += "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
    linked = [
        re.sub(r".*<(.*)>", r"\1", term) for term in re.findall(r"\{term\}`([^`]+)`", text)
    ]
    assert len(linked) > 20 and set(linked) <= set(terms)
