"""Puts small mistakes into the code, one at a time, to see whether the tests notice. Run:
make mutants.

A stratified sample: as many mutants of each kind of module, and within a kind as many of each
kind of mistake as there are. Each is tried in a copy of the book: its module's own tests, a few
others that use it, the falsifications of its chapter's claims, and its chapter in the quick
profile, until one fails.
`verify` is not asked. The list is kept in results/trust/mutants.csv; what stands there under
the same code is not tried again, so a run that was stopped goes on. Keys as arguments: those
mutants are tried again, after the tests were mended.
"""

import csv
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from tqdm import tqdm

BOOK = Path(__file__).resolve().parents[2]
LIST = BOOK / "results" / "trust" / "mutants.csv"
SEED, EACH, AT_ONCE = 0, 52, 2
HANGS = 300  # seconds after which a mutant counts as noticed: the test run never ends
KINDS = {
    "science": ("iclbook/ridge/*.py", "iclbook/dual/*.py", "iclbook/training.py"),
    "tables": ("studies/*/*/tables.py", "iclbook/statistics.py", "iclbook/claim.py"),
    "computing": ("studies/*/*/*.py",),
    "machinery": ("iclbook/*.py",),
}
LEFT_OUT = ("__init__.py", "__main__.py", "settings.py")
# Of the many changes that cosmic-ray knows, those that a tired author makes, by kind.
BINARY, COMPARISON = "core/ReplaceBinaryOperator_", "core/ReplaceComparisonOperator_"
MISTAKES = {
    "sign": (f"{BINARY}Add_Sub", f"{BINARY}Sub_Add", "core/ReplaceUnaryOperator_Delete_USub"),
    "factor": (f"{BINARY}Mul_Div", f"{BINARY}Div_Mul", f"{BINARY}Pow_Mul"),
    "number": ("core/NumberReplacer",),
    "order": tuple(
        COMPARISON + pair
        for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq")
    ),
    "logic": (
        *("core/AddNot", "core/ReplaceUnaryOperator_Delete_Not"),
        *("core/ReplaceAndWithOr", "core/ReplaceOrWithAnd"),
    ),
    "flag": ("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue"),
    "loop": ("core/ZeroIterationForLoop", "core/ReplaceContinueWithBreak"),
}
# Where a star is no product.
SIGNATURES = ("param", "parameters", "argument", "arglist", "lambdef")
COLUMNS = ("key", "kind", "mistake", "module", "line", "before", "after", "noticed_by")


def modules() -> dict[str, list[str]]:
    """The modules of each kind, each in the first kind that names it."""
    taken, found = set(), {}
    for kind, globs in KINDS.items():
        every = {path for glob in globs for path in BOOK.glob(glob)} - taken
        taken |= every
        kept = (path for path in every if path.name not in LEFT_OUT)
        found[kind] = sorted(path.relative_to(BOOK).as_posix() for path in kept)
    return found


def mutants_of(module: str, mistake: str) -> list[list[tuple[str, int]]]:
    """The (operator, occurrence) pairs of a mistake at each place of a module."""
    tree, places = parso.parse((BOOK / module).read_text(encoding="utf-8")), defaultdict(list)
    for name in MISTAKES[mistake]:
        operator, occurrence = get_operator(name)(), 0
        for node in ast_nodes(tree):
            for start, _ in operator.mutation_positions(node):
                if not (node.type == "operator" and node.parent.type in SIGNATURES):
                    places[start].append((name, occurrence))
                occurrence += 1
    return list(places.values())


def sample(kind: str, every: list[str], count: int) -> list[dict]:
    """`count` mutants of one kind of module, the mistakes in turn, as long as there are any."""
    draw, piles = random.Random(f"{SEED} {kind}"), []
    for mistake in MISTAKES:
        pile = [(mistake, module, at) for module in every for at in mutants_of(module, mistake)]
        draw.shuffle(pile)
        piles.append(pile)
    chosen = []
    while len(chosen) < count and any(piles):
        for pile in filter(None, piles[:]):
            mistake, module, at = pile.pop()
            chosen.append({"kind": kind, "mistake": mistake, "module": module})
            chosen[-1] |= changed(module, *draw.choice(at))
    return chosen[:count]


def changed(module: str, operator: str, occurrence: int) -> dict:
    """A mutant's line, its text before and after, and the whole module's text after."""
    before = (BOOK / module).read_text(encoding="utf-8")
    after = mutate_code(before, get_operator(operator)(), occurrence)
    pairs = zip(before.splitlines(), after.splitlines())
    line, old, new = next((i, a, b) for i, (a, b) in enumerate(pairs, 1) if a != b)
    return {"line": line, "before": old.strip(), "after": new.strip(), "text": after}


def tests_of(module: str) -> dict[str, list[str]]:
    """pytest's arguments of each stage that looks at a module."""
    path, stages = Path(module), {}
    package, name = ".".join(path.parent.parts), path.stem
    imports = re.compile(rf"\b{package}\.{name}\b|from {package} import .*\b{name}\b")
    if path.parts[0] == "studies":
        part, chapter = path.parts[1:3]
        stages["its tests"] = [f"tests/studies/{part}/{chapter}"]
        claims = tomllib.loads((BOOK / path.parent / "claims.toml").read_text(encoding="utf-8"))
        stages["falsifications"] = [
            "tests/house/test_falsifications.py",
            "-k",
            " or ".join(claims),
        ]
        notebook = f"chapters/{part}/{chapter}.ipynb"
    else:
        own = Path("tests") / path.parent / f"test_{path.stem}.py"
        users = importers(f"{own.parent}/test_*.py", imports)
        first = [own] if (BOOK / own).exists() else users[:6]
        others = [user for user in users if user not in first][:6]
        stages["its tests"] = [*map(str, first)] or ["tests/iclbook/test_cli.py"]
        stages["tests that use it"] = [*map(str, others)]
        notebook = f"chapters/{path.parent.name}/{path.stem}.ipynb"
        if not (BOOK / notebook).exists():
            notebook = next(map(str, importers("chapters/*/*.ipynb", imports)), None)
    if notebook:
        nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "120"]
        stages["its chapter"] = [notebook, *nbval]
    return {stage: arguments for stage, arguments in stages.items() if arguments}


def importers(glob: str, imports: re.Pattern) -> list[Path]:
    """The book's files that import a module."""
    every = sorted(BOOK.glob(glob))
    return [p.relative_to(BOOK) for p in every if imports.search(p.read_text(encoding="utf-8"))]


def passes(book: Path, arguments: list[str]) -> bool:
    """Whether a stage's tests pass in a copy of the book."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    more = {"PYTHONPATH": str(book), "PYTHONDONTWRITEBYTECODE": "1", "ICLBOOK_PROFILE": "quick"}
    if not arguments[0].endswith(".ipynb"):
        del more["ICLBOOK_PROFILE"]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        done = subprocess.run(
            command, cwd=book, env=os.environ | single | more, timeout=HANGS, **quiet
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode in (0, 5)  # 5: a chapter without claims has no falsification


def noticed_by(book: Path, mutant: dict, sound: dict[str, bool]) -> str:
    """The first stage that fails in a copy with the mutant in it; "" where all pass.

    sound: which stages pass without a mistake, filled as it is asked; one that does not cannot
    notice anything.
    """
    module = book / mutant["module"]
    right = (BOOK / mutant["module"]).read_text(encoding="utf-8")
    for stage, arguments in tests_of(mutant["module"]).items():
        module.write_text(mutant["text"], encoding="utf-8")
        found = not passes(book, arguments)
        module.write_text(right, encoding="utf-8")
        name = " ".join(arguments)
        if found and name not in sound:
            sound[name] = passes(book, arguments)
        if found and not sound[name]:
            sys.exit(f"fails without a mistake: pytest {name}")
        if found:
            return stage
    return ""


def tried(mutants: list[dict]):
    """Each mutant with `noticed_by`, as they finish, AT_ONCE at a time, each in a copy of the
    book."""
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=BOOK, text=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        free, sound = SimpleQueue(), {}
        for copy in range(AT_ONCE):
            free.put(Path(folder) / str(copy))
            for name in filter(None, names.split("\0")):
                place = Path(folder) / str(copy) / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(BOOK / name, place)

        def attempt(mutant: dict) -> dict:
            book = free.get()
            try:
                return mutant | {"noticed_by": noticed_by(book, mutant, sound)}
            finally:
                free.put(book)

        waiting = [pool.submit(attempt, mutant) for mutant in mutants]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main(again: list[str]):
    """Try what the list does not hold, keep the list, and print how many were noticed."""
    held = {}
    if LIST.exists():
        with LIST.open(encoding="utf-8", newline="") as file:
            held = {row["key"]: row for row in csv.DictReader(file)}
    every = [
        mutant for kind, found in modules().items() for mutant in sample(kind, found, EACH)
    ]
    every = {key_of(mutant): mutant for mutant in every}
    if unknown := sorted(set(again) - every.keys()):
        sys.exit(f"not in the sample: {', '.join(unknown)}")
    rows = {key: held[key] for key in every if key in held and key not in again}
    left = [every[key] | {"key": key} for key in every if key not in rows]
    LIST.parent.mkdir(parents=True, exist_ok=True)
    for mutant in tqdm(tried(left), total=len(left), unit="mutant"):
        rows[mutant["key"]] = mutant
        with LIST.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[key] for key in every if key in rows)
    print(f"{sum(bool(row['noticed_by']) for row in rows.values())} of {len(rows)} noticed")


def key_of(mutant: dict) -> str:
    """What tells a mutant from all others: its module and the text that it makes of it."""
    return sha256(f"{mutant['module']}\n{mutant['text']}".encode()).hexdigest()[:10]


if __name__ == "__main__":
    main(sys.argv[1:])
