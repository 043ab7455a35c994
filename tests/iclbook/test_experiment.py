"""The catalogue: every experiment has its function and its chapter; unknown names are refused
with a hint."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
from book import BOOK

from iclbook.catalogue import experiments, find
from iclbook.errors import InputError
from iclbook.experiment import Experiment, Measure, Settings, Table, chooses, loose
from studies import catalogue

EVERY = pytest.mark.parametrize("experiment", experiments().values(), ids=list(experiments()))


@EVERY
def test_every_experiment_has_a_function_a_chapter_and_points(experiment):
    assert callable(experiment.resolve())
    assert experiment.chapter in catalogue.CHAPTERS
    assert experiment.tables, "an experiment declares its tables"
    assert (BOOK / "chapters" / f"{experiment.chapter}.ipynb").is_file()
    for profile in ("quick", "full"):
        points = experiment.settings(profile).points()
        assert points and all("seed" in point for point in points)
        assert len({str(point) for point in points}) == len(points)


@EVERY
def test_full_has_at_least_three_seeds_where_seeds_matter_and_verify_only_known_settings(
    experiment,
):
    experiment.settings("full", **experiment.verify)
    assert set(experiment.unstated) <= {f.name for f in dataclasses.fields(experiment.full)}


@EVERY
def test_the_catalogue_lists_it_under_its_id(experiment):
    assert find(experiment.id) is experiment


def test_an_unknown_experiment_gets_a_hint():
    with pytest.raises(InputError, match="did you mean yang2024/fig2b or yang2024/fig2a"):
        find("yang2024/fig2")
    with pytest.raises(InputError, match="iclbook list"):
        find("%")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(Settings):
    H: int = 4
    tau: float = 0.1
    tokens: str = "unit"


TOY = Experiment(
    id="toy/one",
    item="",
    chapter="ridge/unseen",
    function="toy.compute:one",
    quick=Toy(),
    full=Toy(seeds=(0, 1), H=8),
    paper=Toy(H=16),
    unstated=("tau",),
    tables={},
)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (dict(keys=("H",), measures={"loss": Measure("")}), "must hold seed"),
        (dict(keys=("seed",), measures={}), "needs a measure"),
        (dict(keys=("seed",), measures={"L - L*": Measure("")}), "named like a variable"),
        (dict(keys=("seed",), measures={"x": Measure("", scale="y")}), "scale names no column"),
        (dict(keys=("seed",), measures={"x": Measure("")}, levels={"H": (1,)}), "name keys: H"),
    ],
)
def test_a_badly_declared_table_is_refused(declared, words):
    with pytest.raises(InputError, match=words):
        Table(**declared)


def test_every_experiment_of_the_book_has_measures_with_a_meaning():
    for experiment in experiments().values():
        for name, table in experiment.tables.items():
            lacking = [
                m for m, measure in table.measures.items() if not measure.meaning.strip()
            ]
            assert not lacking, (experiment.id, name)


def test_unknown_profiles_and_settings_are_refused():
    with pytest.raises(
        InputError, match="unknown profile 'fast'; choose one of quick, full, paper"
    ):
        TOY.settings("fast")
    with pytest.raises(
        InputError, match="unknown setting 'h'; this experiment has seeds, H, tau, tokens"
    ):
        TOY.settings("full", h=3)
    bad = {"H": 2.5, "tau": "x", "tokens": 3, "seeds": "a"}
    for name, value in [*bad.items(), ("H", True), ("seeds", [0.5]), ("seeds", (True,))]:
        with pytest.raises(InputError, match=f"setting {name} must be of type"):
            TOY.settings("full", **{name: value})
    assert TOY.settings("full", tau=1).tau == 1
    with pytest.raises(InputError, match="no paper profile"):
        dataclasses.replace(TOY, paper=None).settings("paper")


def test_one_value_stands_for_a_list_of_one_and_lists_are_tuples():
    @dataclass(frozen=True, kw_only=True)
    class Grid(Settings):
        tokens: tuple[str, ...] = ("unit", "gaussian")
        pairs: tuple = ((1, 2),)

    assert Grid().changed(tokens="unit", seeds=3) == Grid(tokens=("unit",), seeds=(3,))
    assert Grid().changed(pairs=[[3, 4], [5, 6]]).pairs == ((3, 4), (5, 6))


def test_variants_have_names_of_their_own_that_any_file_system_takes():
    names = [
        TOY.variant("full", **changes).id
        for changes in ({"H": 9}, {"H": 10}, {"tokens": "a/b:*"}, {"tokens": "ab"}, {"tau": 9})
    ]
    names.append(TOY.variant("full", seeds=tuple(range(5_000))).id)
    assert len(set(names)) == len(names) and max(map(len, names)) < 100
    assert all(re.fullmatch(r"toy/one@[A-Za-z0-9_=.,-]+", name) for name in names)
    assert TOY.variant("full", H=8, tau=0.1) is TOY
    both = TOY.variant("full", tau=9, tokens="a b", seeds=(0, 5))
    assert both.typed == """toy/one --seeds 0,5 --set tau=9 --set 'tokens="a b"'"""
    assert both.full == TOY.full.changed(tau=9, tokens="a b", seeds=(0, 5))
    assert both.quick == TOY.quick


@EVERY
def test_settings_refuse_what_they_cannot_be(experiment):
    """Zero, negative, infinite, of another type, empty, nested or twice, wherever it stands."""
    quick, tried = experiment.quick, 0
    for f in dataclasses.fields(quick):
        value, about = getattr(quick, f.name), f.metadata
        least = about.get("least", int(type(value) is int))
        worse = {
            int: (least - 1, 1.5, True, "x", 10**16),
            float: (least - 1e-3 - abs(least), float("nan"), float("inf"), "x", None, 1e16),
            str: (3, None),
            bool: (0, "x"),
        }.get(type(value))
        if isinstance(value, tuple):
            first = (*value, *f.default, None)[0]
            worse = [(*value, first, first), ((((first,),),),), (None,), ({},)]
            worse += [] if about.get("empty") else [()]
            if type(first) is int:
                worse += [(about.get("least", 1) - 1,), (1.5,), (True,)]
        for bad in worse:
            with pytest.raises(InputError, match=f"setting {f.name} ") as caught:
                quick.changed(**{f.name: bad})
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 1_000
            tried += 1
    assert tried > 5


def test_settings_that_leave_no_point_are_refused():
    @dataclass(frozen=True, kw_only=True)
    class Sweep(Settings):
        sizes: tuple[int, ...] = loose((1, 2), empty=True)

        def points(self):
            return [{"size": size, "seed": seed} for size in self.sizes for seed in self.seeds]

    with pytest.raises(InputError, match="no point to compute"):
        Sweep(sizes=())


def test_one_value_stands_for_a_list_of_one():
    fig2a = find("yang2024/fig2a")
    assert fig2a.settings("quick", tokens="unit").tokens == ("unit",)


def test_deviations_name_what_differs_and_what_the_paper_leaves_open():
    assert TOY.deviations() == [
        {"setting": "seeds", "paper": (0,), "full": (0, 1)},
        {"setting": "H", "paper": 16, "full": 8},
        {"setting": "tau", "paper": None, "full": 0.1},
    ]
    assert dataclasses.replace(TOY, full=Toy(), paper=Toy(), unstated=()).deviations() == []


def test_settings_that_choose_points_leave_finished_ones_good():
    @dataclass(frozen=True, kw_only=True)
    class Sweep(Settings):
        sizes: tuple[int, ...] = chooses((1, 2))
        rate: float = 0.1

    sweep = Sweep()
    assert sweep.of_a_point() == {"rate": 0.1} and "sizes" in sweep.as_json()
    assert Sweep(sizes=(3,)).of_a_point() == sweep.of_a_point()
    assert Sweep(rate=0.2).of_a_point() != sweep.of_a_point()
    assert Sweep(sizes=(3,)).differing(sweep.as_json()) == ["sizes"]
