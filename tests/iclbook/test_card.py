"""A claim's card says in words all that it says in colour, and its bar tells the truth."""

import math
import re

import pytest

from iclbook.card import anchor, badge, card, command, number
from iclbook.claim import VERDICTS

ROW = {
    "id": "yang2024/small",
    "item": "Lemma <1>",
    "kind": "empirical",
    "source": "paper",
    "statement": "The loss is $L$",
    "direction": "at_most",
    "verdict": "partly",
    "returned": "partly",
    "experiments": ("yang2024/a", "yang2024/b"),
    "measured": 2.0,
    "threshold": 1.0,
    "margin": -1.0,
    "readings": [],
    "fresh": None,
    "reason": "Because of $x$",
    "fixed": "Before the run.",
}


def bar(measured, threshold, direction="at_most"):
    """Positions of the limit and of the dot, and the ends of the wanted side."""
    text = card(ROW | {"measured": measured, "threshold": threshold, "direction": direction})
    limit = float(re.search(r'class="limit" d="M([\d.]+) ', text).group(1))
    dot = float(re.search(r'cx="([\d.]+)"', text).group(1))
    start, width = map(float, re.search(r'x="([\d.]+)" y="3" width="([\d.]+)"', text).groups())
    return limit, dot, start, start + width


@pytest.mark.parametrize("direction", ["at_most", "at_least"])
@pytest.mark.parametrize(
    "measured, threshold",
    [(2, 1), (1, 2), (-3, 1), (-1, -2), (1e-25, 1e-20), (1e5, 1e-6), (0, 1), (-5e-6, 0.01)],
)
def test_the_dot_is_on_the_wanted_side_where_the_claim_is_met(measured, threshold, direction):
    limit, dot, start, end = bar(measured, threshold, direction)
    assert all(4 <= position <= 196 for position in (limit, dot, start, end))
    assert (dot > limit) == (measured > threshold)
    met = measured >= threshold if direction == "at_least" else measured <= threshold
    assert (start <= dot <= end) == met


def test_a_bar_needs_no_style_sheet():
    """In JupyterLab a shape without a colour of its own is a black block."""
    text = card(ROW | {"measured": 2.0, "threshold": 1.0, "direction": "at_most"})
    shapes = re.findall(r"<(?:svg|rect|path|circle) [^>]*>", text)
    assert len(shapes) == 5 and 'width="200" height="18"' in shapes[0]
    assert all(re.search(r'(?:opacity|stroke|fill)="', shape) for shape in shapes[1:])


def test_equal_numbers_are_drawn_on_one_spot():
    limit, dot, *_ = bar(1.0, 1.0)
    assert limit == dot
    assert bar(0.0, 0.0)[0] == bar(0.0, 0.0)[1]


def test_numbers_that_differ_never_read_the_same():
    text = card(ROW | {"measured": 1.0, "threshold": 0.999999, "direction": "at_least"})
    assert "at least 0.999999 is wanted" in text


def test_a_card_without_a_number_has_no_bar():
    text = card(ROW | {"measured": None, "verdict": "untestable", "returned": "untestable"})
    assert "nothing measured" in text and "svg" not in text and "Before the run" not in text


def test_mathematics_stays_markdown_and_the_rest_is_escaped():
    text = card(ROW)
    lines = text.split("\n\n")
    assert "The loss is $L$." in lines and "Because of $x$." in lines
    assert "Lemma &lt;1&gt;" in text
    assert text.count("<div") == text.count("</div>")


def test_on_the_scorecard_a_card_leads_to_its_chapter_and_folds_its_reason():
    text = card(ROW, page="../ridge/small.html")
    assert f'href="../ridge/small.html#{anchor(ROW["id"])}"' in text
    assert f'id="{anchor(ROW["id"])}"' in card(ROW)
    assert text.index("<details") < text.index("Because") < text.index("</details>")


def test_verdicts_are_words_and_signs_too():
    badges = [badge(verdict) for verdict in VERDICTS]
    assert all(verdict in text for verdict, text in zip(VERDICTS, badges))
    assert len({re.search(r'hidden="true">(.)', text).group(1) for text in badges}) == 4


def test_numbers_and_commands():
    assert number(3.6275e-25) == "3.63&nbsp;·&nbsp;10<sup>−25</sup>"
    assert (number(-2.5), number(2e6)) == ("−2.5", "2&nbsp;·&nbsp;10<sup>6</sup>")
    assert number(1e-10) == "10<sup>−10</sup>"
    assert number(math.pi, 5) == "3.1416"
    assert command(ROW) == "iclbook run yang2024/a yang2024/b --force"
    assert command(ROW | {"experiments": ()}) == ""


def test_a_card_says_what_fresh_seeds_say_or_why_they_say_nothing():
    assert "took over 1,000 seconds" in card(ROW)
    assert "fresh seeds" not in card(ROW | {"kind": "identity"})
    judged = card(ROW | {"fresh": {"sets": 200, "share": 0.61}})
    assert "Of 200 sets of fresh seeds, 61 %" in judged and "1,000" not in judged
