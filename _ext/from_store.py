"""Tables written from the store while the book is built: what each modification gains on each
task, and what each result cost. A page that holds a marker gets the table in its place.
"""

import functools
import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from docutils import nodes
from markers import filler

from iclbook.card import anchor, badge
from iclbook.catalogue import experiments, find
from iclbook.claim import all_claims
from iclbook.machine import described, in_words
from iclbook.store import Store, duration
from studies.dual.trained.tables import FAMILIES, conditions, gains, improves

BOOK = Path(__file__).resolve().parents[1]
JOIN = "&nbsp;"
THRESHOLD = 0.01  # the gain that the claims of Part II ask for
# What was trained, by experiment, in the words of a reader. Conditions add themselves.
TRAINED = {
    "ren2024/fig3-trained": "linear",
    "ren2024/long-trained": "linear, three times the steps",
    "ren2024/preferred-trained": "linear, all prompts share a part",
    "ren2024/trigonometric-trained": "trigonometric",
    "ren2024/exponential-trained": "exponential",
    "ren2024/longer-prompts": "",
    "ren2024/inputs-and-noise": "",
    "ren2024/transformer-trained": "linear, one Transformer layer",
    "ren2024/two-layers-trained": "linear, two attention layers",
}
TASKS = ("linear", "trigonometric", "exponential")
read = functools.cache(lambda experiment_id: Store().read(find(experiment_id)))


def under_conditions() -> dict:
    """{(experiment, task in words): its result}, a row of the table each."""
    rows = {}
    for name, words in TRAINED.items():
        result = read(name)
        parts = conditions(result).items()
        for key, part in sorted(parts, key=lambda item: [*map(TASKS.index, item[0][:1])]):
            task = words
            if key:
                given, inputs, noise = key
                extra = [f"N = {result.settings.N}"] * (result.settings.N != 15)
                extra += ["Gaussian inputs"] * (inputs == "gaussian")
                extra += [f"noise {noise:g}"] * (noise > 0)
                task = ", ".join([given, *extra])
            rows[name, task] = part
    return rows


def percent(share: float) -> str:
    """A share in percent, with a true minus and no negative zero; a share that is sure but
    small keeps a digit more."""
    digits = 1 if abs(share) >= 5e-4 or not share else 2
    return f"{round(100 * share, digits) + 0.0:.{digits}f}".replace("-", "−")


def gain(result, family: str) -> str:
    """The setting of a family whose interval starts highest, with its gain; how many settings
    surely gain and surely lose, and the largest sure loss. "–" where the family was not
    trained. Intervals hold for all settings of the family together."""
    if not result.settings.grid().get(family):
        return "–"
    found = gains(result, (family,), simultaneous=True)
    best, losing = found.loc[found["low"].idxmax()], found[found["high"] < 0]
    verdict, mean = improves(result, (family,), THRESHOLD).verdict, percent(best["mean"])
    count = f"{len(found)} tried, ↑{JOIN}{(found['low'] > 0).sum()}, ↓{JOIN}{len(losing)}"
    if len(losing):
        worst = losing.loc[losing["mean"].idxmin()]
        count += f"<br>{worst['setting']}: {percent(worst['mean'])}{JOIN}%"
    interval = f"{percent(best['low'])} to {percent(best['high'])}"
    setting = f'{best["setting"]}<br><span class="claim-kind">{count}</span>'
    setting = setting.replace(" = -", " = −").replace(" = ", f"{JOIN}={JOIN}")
    return f"{badge(verdict, f'{mean} %')}<br>{interval}<br>{setting}"


def claim_links(experiment_id: str) -> str:
    """The claims that judge what is gained in an experiment, each a badge that leads to its
    card on the scorecard, which stands in the same folder."""
    claims = [
        badge(claim.verdict, tag="a", href=f"scorecard.html#{anchor(claim.id)}", title=claim.id)
        for claim in all_claims().values()
        if claim.check in ("improvement", "pair") and experiment_id in claim.experiments
    ]
    return "<br>".join(claims) or "–"


def modifications() -> str:
    """A row a task: gains of each family, and the claims that judge them."""
    head = ["task", *FAMILIES, "seeds", "claims"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for (name, task), result in under_conditions().items():
        cells = [gain(result, family) for family in FAMILIES]
        row = [task, *cells, str(len(result.settings.seeds)), claim_links(name)]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def size_of(experiment) -> int:
    """Bytes of an experiment's stored tables and arrays, and of the JSON beside them."""
    sidecar = Store().file(experiment, "full")
    files = [sidecar.with_name(f"full.{name}") for name in experiment.files]
    return sum(file.stat().st_size for file in [*files, sidecar])


def seeds_in_words(seeds: list[int]) -> str:
    """Seeds in increasing order, neighbours joined: 0-4, 1000-1014."""
    runs = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if run[1:] else str(run[0]) for run in runs)


def machine_letters() -> dict[str, str]:
    """{a machine in words: its letter}, in the order in which results name them."""
    letters = {}
    for experiment in experiments().values():
        for machine in Store().meta(experiment, "full")["machines"]:
            letters.setdefault(machine_in_words(machine), chr(ord("A") + len(letters)))
    return letters


def machine_in_words(machine: dict) -> str:
    """A stored machine, and whether its processor was recorded."""
    if machine["processor"] == "unknown":
        return f"processor not recorded, {in_words(machine)}"
    return described(machine)


def costs() -> str:
    """A row an experiment, from the JSON beside its tables, and a last row with the sums."""
    head = ["experiment", "chapter", "time", "computed on", "kB", "seeds", "machine"]
    lines = [f"| {' | '.join(head)} |", "|---|---|--:|---|--:|---|---|"]
    seconds, size, letters = 0.0, 0, machine_letters()
    for experiment in experiments().values():
        meta, held = Store().meta(experiment, "full"), size_of(experiment)
        seconds, size = seconds + meta["wall_seconds"], size + held
        machines = dict.fromkeys(letters[machine_in_words(m)] for m in meta["machines"])
        row = [
            f"`{experiment.id}`",
            f"{{doc}}`{experiment.chapter} <../{experiment.chapter}>`",
            duration(meta["wall_seconds"]).replace(" ", JOIN),
            meta["created"][:10],
            f"{held / 1000:,.0f}",
            seeds_in_words(meta["seeds"]),
            ", ".join(machines),
        ]
        lines.append(f"| {' | '.join(row)} |")
    total = [f"**all {len(experiments())}**", "", duration(seconds), "", f"{size / 1000:,.0f}"]
    lines.append(f"| {' | '.join(total)} | | |")
    return "\n".join(lines)


def machines() -> str:
    """The machines behind the letters of `costs`."""
    return "\n".join(f"* **{letter}**: {words}" for words, letter in machine_letters().items())


# What the benchmarks record: meaning, unit, and the goal that the book has set itself.
BENCHMARKS = {
    "step_over_products": (
        "a training step over its own four matrix products",
        "",
        "at most 1.5",
    ),
    "step_over_peak": ("the same step over as many operations in one large product", "", ""),
    "einsum_over_step": (
        "equation (8) as batched einsum with autograd, over it",
        "",
        "at least 2.5",
    ),
    "module_a_head_over_step": (
        "a loop over heads, autograd, sampled batches, over it",
        "",
        "",
    ),
    "step_ms": ("the step, a median", "ms", ""),
    "products_ms": ("its four matrix products alone", "ms", ""),
    "softmax_ms": ("its softmax alone", "ms", ""),
    "passes_ms": ("its other passes over $NHK$ numbers alone", "ms", ""),
    "adam_ms": ("its Adam alone", "ms", ""),
    "einsum_ms": ("the step of batched einsum with autograd", "ms", ""),
    "fig2a_seconds_per_seed": (
        "Figure 2a, 20,000 steps, two seeds at a time",
        "s",
        "at most 60",
    ),
    "fig2a_seconds_alone": ("the same, one seed by itself", "s", ""),
    "slope_K": ("slope of a step's time in $K$, 100 to 800, log-log", "", ""),
    "slope_counted_K": ("the same of the operations counted on paper", "", ""),
    "slope_H": ("slope of a step's time in $H$, 32 to 256, log-log", "", ""),
    "slope_counted_H": ("the same of the operations counted on paper", "", ""),
    "slope_N": ("slope of a step's time in $N$, 15 to 120, log-log", "", ""),
    "slope_counted_N": ("the same of the operations counted on paper", "", ""),
    "slope_d": ("slope of a step's time in $d$, 50 to 400, log-log", "", ""),
    "slope_counted_d": ("the same of the operations counted on paper", "", ""),
    "slope_m": ("slope of a step's time in $m$, 5 to 20; no operation counts it", "", ""),
    "panel_speedup": ("a panel of layers, one after another over at once", "", ""),
    "make_book_seconds": ("`make book` from nothing, installs aside", "s", "at most 180"),
    "make_test_seconds": ("`make test`, installs aside", "s", "at most 480"),
    "slowest_chapter_seconds": (
        "the slowest chapter as a test, quick profile",
        "s",
        "at most 20",
    ),
    "import_ms": ("importing the command line, beyond an empty Python", "ms", ""),
    "list_seconds": ("`iclbook list`", "s", "at most 2"),
    "claims_seconds": ("`iclbook claims`", "s", "at most 2"),
}


def timed() -> dict:
    """The summary that `make bench` writes."""
    return json.loads((BOOK / "results" / "benchmarks" / "summary.json").read_text())


def benchmarks() -> str:
    """A row a benchmark, and the machine."""
    found = timed()
    lines = ["| what was timed | measured | goal |", "|---|--:|--:|"]
    for name, (meaning, unit, goal) in BENCHMARKS.items():
        unit = unit and f"{JOIN}{unit}"
        goal = goal and f"{goal}{unit}"
        measured = f"{found[name]:g}{unit}" if name in found else "–"  # not measured here yet
        lines.append(f"| {meaning} | {measured} | {goal} |")
    lines += ["", f"Measured on {found['measured']}: {described(found['machine'])}."]
    return "\n".join(lines)


def licence_of(package: str) -> str:
    """What the installed package says of its licence, in a few words."""
    about = metadata(package)
    named = about.get("License-Expression") or ""
    classes = [
        c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if "License ::" in c
    ]
    first = (about.get("License") or "").strip().split("\n")[0]
    return named or ", ".join(classes) or first[:60] or "see its files"


def licences() -> str:
    """A row a package that requirements.txt pins and this machine has."""
    pins = [
        line for line in (BOOK / "requirements.txt").read_text().splitlines() if "==" in line
    ]
    lines = ["| package | version | licence |", "|---|---|---|"]
    for name, _, rest in sorted(
        (pin.partition("==") for pin in pins), key=lambda x: x[0].lower()
    ):
        with suppress(PackageNotFoundError):  # pinned for another system
            lines.append(f"| {name} | {rest.split(';')[0].strip()} | {licence_of(name)} |")
    return "\n".join(lines)


def bench(name, rawtext, text, lineno, inliner, options=None, content=()):
    """The role {bench}`key`: a number of the benchmarks' summary."""
    return [nodes.Text(f"{timed()[text]:g}")], []


def trust(name, rawtext, text, lineno, inliner, options=None, content=()):
    """The role {trust}`key`: a number of the summary that `make trust` writes."""
    found = json.loads((BOOK / "results" / "trust" / "summary.json").read_text())
    return [nodes.Text(f"{found[text]:g}")], []


MARKERS = {
    "<!-- benchmarks -->": benchmarks,
    "<!-- licences -->": licences,
    "<!-- gains of modifications -->": modifications,
    "<!-- every result's cost -->": costs,
    "<!-- machines -->": machines,
}


def setup(app):
    app.add_role("bench", bench)
    app.add_role("trust", trust)
    app.connect("source-read", filler(MARKERS))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
