"""README's table of figures says what the store and the ledger say; CITATION.cff is whole."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from claims import CLAIMS

import iclbook
from iclbook.catalogue import find
from iclbook.claim import report
from iclbook.store import Store, duration

BOOK = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| ([^|`]+) \| `([\w/-]+)` \| ([^|`]+) \| `([\w/-]+)`: ([^|]+), (\S+) \|$", re.M
)
ROWS = ROW.findall((BOOK / "README.md").read_text(encoding="utf-8"))


def test_the_table_has_every_figure_that_has_a_number():
    ran = {experiment for _, experiment, *_ in ROWS}
    figures = {f"yang2024/fig{n}" for n in ("2a", "2b", "3", "4", "5")}
    assert figures | {"ren2024/fig3-left", "ren2024/fig3-trained"} <= ran


@pytest.mark.parametrize(("figure", "ran", "took", "claim", "words", "number"), ROWS)
def test_a_row_is_what_was_stored(figure, ran, took, claim, words, number):
    assert took == duration(Store().meta(find(ran), "full")["wall_seconds"])
    assert ran in CLAIMS[claim].experiments
    (row,) = report(Store(), claims={claim: CLAIMS[claim]})
    assert number == f"{row['measured']:.3g}"


def test_the_citation_has_version_date_and_a_place_for_a_doi():
    text = (BOOK / "CITATION.cff").read_text(encoding="utf-8")
    cited = yaml.safe_load(text)
    assert cited["version"] == iclbook.__version__ and isinstance(cited["date-released"], date)
    assert "doi" in text and {"title", "authors", "license", "references"} <= cited.keys()
