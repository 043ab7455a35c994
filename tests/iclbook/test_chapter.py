"""What chapters call: profiles, differences from the paper, verdicts that must agree,
figures."""

import dataclasses

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from iclbook import chapter, plots
from iclbook.catalogue import find
from iclbook.claim import all_claims, fresh_shares
from iclbook.errors import InputError
from iclbook.store import Result, Store


@pytest.fixture
def shown(monkeypatch):
    """The markdown a helper displays."""
    texts = []
    monkeypatch.setattr(chapter, "display", lambda thing: texts.append(thing.data))
    return texts


def test_the_profile_picks_stored_or_live(monkeypatch):
    monkeypatch.delenv("ICLBOOK_PROFILE", raising=False)
    assert "loaded: yang2024/lemma5 (full)" in chapter.load("yang2024/lemma5").provenance
    monkeypatch.setenv("ICLBOOK_PROFILE", "quick")
    live = chapter.load("yang2024/lemma5")
    assert "computed live (quick profile)" in live.provenance
    assert live.settings == find("yang2024/lemma5").quick
    monkeypatch.setenv("ICLBOOK_PROFILE", "paper")
    with pytest.raises(InputError, match="must be quick or full"):
        chapter.load("yang2024/lemma5")


def test_a_changed_number_is_computed_once_then_read_and_harms_nothing(
    monkeypatch, tmp_path, lemma5
):
    """Variants stand beside each other, and the book's own store gets none."""
    monkeypatch.delenv("ICLBOOK_PROFILE", raising=False)
    monkeypatch.setattr(chapter, "find", lambda _: lemma5)
    monkeypatch.setattr("iclbook.store.book_folder", lambda: tmp_path)
    first = chapter.load("yang2024/lemma5", tau=0.03, seeds=(0, 1))
    other = chapter.load("yang2024/lemma5", tau=0.01, seeds=[0, 1])
    assert (first.settings.tau, other.settings.tau) == (0.03, 0.01)
    assert not first["losses"].equals(other["losses"])
    assert not (tmp_path / "results").exists()
    assert len([*tmp_path.glob("variants/yang2024/*/full.json")]) == 2

    def never(*arguments, **options):
        raise AssertionError("it stands there")

    monkeypatch.setattr(chapter.runner, "compute", never)
    again = chapter.load("yang2024/lemma5", seeds=(0, 1), tau=0.03)
    assert again["losses"].equals(first["losses"]) and again.settings == first.settings
    assert "loaded" in again.provenance and "has changed" not in again.provenance
    with monkeypatch.context() as patch:
        patch.setattr("iclbook.unfinished.code_behind", lambda module: b"changed since")
        told = chapter.load("yang2024/lemma5", seeds=(0, 1), tau=0.03).provenance
    assert "the code has changed since: delete variants/yang2024/" in told
    with pytest.raises(InputError, match="unknown setting 'H'"):
        chapter.load("yang2024/lemma5", H=8)
    with pytest.raises(InputError, match="it stands there"):
        chapter.load("yang2024/lemma5", tau=0.02)
    monkeypatch.undo()
    # A value that is the book's own is no variant.
    assert find("yang2024/lemma5").variant("full", tau=0.3) is find("yang2024/lemma5")


def test_in_the_quick_profile_a_changed_number_is_computed_live(monkeypatch, tmp_path):
    monkeypatch.setenv("ICLBOOK_PROFILE", "quick")
    monkeypatch.setenv("ICLBOOK_STORE", str(tmp_path))
    live = chapter.load("yang2024/lemma5", draws=500)
    assert live.settings == dataclasses.replace(find("yang2024/lemma5").quick, draws=500)
    assert "computed live" in live.provenance and not list(tmp_path.iterdir())


def test_a_damaged_variant_names_the_command_that_mends_it(store, lemma5):
    chosen = lemma5.variant("quick", tau=0.03, seeds=(0, 2))
    with pytest.raises(InputError, match=r"--seeds 0,2 --set tau=0\.03 --profile quick"):
        store.read(chosen, "quick")


def test_deviations_print_themselves(shown):
    chapter.deviations("yang2024/lemma5", "yang2024/fig2a")
    assert "the paper states no setting" in shown[0]
    assert "| `steps` | not stated | 20,000 |" in shown[1]


def test_deviations_say_none_where_there_is_none(shown, monkeypatch):
    fig2a = find("yang2024/fig2a")
    same = dataclasses.replace(fig2a, paper=fig2a.full, unstated=())
    monkeypatch.setattr(chapter, "find", lambda _: same)
    chapter.deviations("yang2024/fig2a")
    assert shown == ["**yang2024/fig2a**: differences from the paper: none."]


def test_a_chapter_shows_its_claims_with_their_numbers(shown):
    chapter.claims_of("ridge/population_loss")
    assert "yang2024/lemma5-constant" in shown[0] and "</span> reproduced</span>" in shown[0]
    assert "measured <b>289</b>; at least 4.5 is wanted" in shown[0]


def test_a_chapter_shows_readings_and_what_fresh_seeds_say(shown):
    chapter.claims_of("ridge/unseen")
    assert "not reproduced</span> Gaussian tokens, population loss: 1.53" in shown[0]
    chapter.claims_of("dual/representation")
    share = fresh_shares(Store())["ren2024/repeating-does-not-collapse"]["share"]
    assert f"Of 200 sets of fresh seeds, {100 * share:.0f} % give the same verdict" in shown[1]
    assert share == 0.73


def test_a_chapter_fails_when_a_recorded_verdict_is_not_what_the_tables_give(monkeypatch):
    bent = all_claims()
    bent["yang2024/lemma5-closed-form"] = dataclasses.replace(
        bent["yang2024/lemma5-closed-form"], verdict="not reproduced", reason="bent on purpose"
    )
    monkeypatch.setattr("iclbook.claim.all_claims", lambda: bent)
    with pytest.raises(InputError, match="recorded is 'not reproduced'"):
        chapter.claims_of("ridge/population_loss")


def test_a_chapter_without_claims_is_an_error():
    with pytest.raises(InputError, match="no claim belongs"):
        chapter.claims_of("ridge/nowhere")


def test_a_figure_carries_its_provenance_once():
    fig, _ = plots.figure()
    result = Result({}, None, "loaded: somewhere")
    plots.finish(fig, result, result, "drawn by code")
    assert fig.get_supxlabel() == "loaded: somewhere\ndrawn by code"
    plt.close(fig)


def test_a_band_is_the_median_within_the_range_of_the_seeds():
    losses = {"step": [0] * 3 + [1] * 3, "loss": [1.0, 5.0, 2.0, 3.0, 4.0, 9.0]}
    fig, ax = plots.figure()
    plots.band(ax, pd.DataFrame({"seed": [0, 1, 2] * 2, **losses}), "loss")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 4.0]
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 1.0 and corners[:, 1].max() == 9.0
    plt.close(fig)


def test_a_bar_does_not_break_a_table(shown):
    chapter.table(pd.DataFrame({"largest |w|": ["a|b"], "value": [1.23456]}))
    assert shown[0].splitlines()[0].count("|") == 2 + 1 + 2
    assert r"largest \|w\|" in shown[0] and r"a\|b" in shown[0]


def test_no_value_is_a_dash_with_a_note_and_counts_stay_whole(shown):
    nothing = float("nan")
    frame = {
        "n": [20_000, 3],
        "loss": [1.23456, nothing],
        "only": [2, nothing],
        "t": ["a", None],
    }
    chapter.table(pd.DataFrame(frame), missing="not trained")
    body, _, note = shown[0].rpartition("\n\n")
    assert cells(body)[2:] == [["20,000", "1.23", "2", "a"], ["3", "–", "–", "–"]]
    assert note == "–: not trained"


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def test_a_program_names_and_values_are_words_in_a_table(shown):
    frame = {
        "final_loss": [float("inf"), 12_345.0],
        "w_1": [1e-5, -0.25],
        "centred": [True, False],
        "own_changed": ["decay_at_each: -3", "item 26_2, $W_{ab}$"],
    }
    chapter.table(pd.DataFrame(frame), missing="not needed")
    names, _, *rows = cells(shown[0])
    assert names == ["final loss", "w_1", "centred", "own changed"]
    assert rows == [
        ["∞", "10<sup>−5</sup>", "yes", "decay at each: −3"],
        ["12,300", "−0.25", "no", "item 26_2, $W_{ab}$"],
    ]
    assert shown[0].splitlines()[1].count(":|") == 3  # all but the words stand to the right


def test_a_long_table_shows_the_telling_rows_and_folds_the_whole(shown):
    frame = pd.DataFrame({"n": range(13)})
    chapter.table(frame)
    chapter.table(frame, telling=frame["n"] > 10)
    chapter.table(frame.head(12), telling=frame.head(12)["n"] > 10)
    parts = [text.partition("<details")[::2] for text in shown]
    for (seen, folded), first in zip(parts[:2], (0, 11)):
        wanted = [[str(n)] for n in range(first, 12 if first == 0 else 13)]
        assert cells(seen.strip())[2:] == wanted
        assert "All 13 rows" in folded and cells(folded)[-3] == ["12"]
    assert parts[2][1] == "" and len(cells(shown[2])) == 2 + 12
