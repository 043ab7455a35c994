"""What lies beside a notebook of an edition: stored results, the package as a wheel, still
pictures; and the zip that holds them."""

import csv
import functools
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from editions.labels import BOOK
from iclbook.catalogue import find
from iclbook.claim import Claim, all_claims
from iclbook.errors import require
from iclbook.store import Store

DAY = (2026, 1, 1, 0, 0, 0)  # of every file in a zip: the same content gives the same zip
PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "iclbook", "studies")


@functools.cache
def claims() -> list[Claim]:
    """Every claim of the book, read once."""
    return list(all_claims().values())


def results(chapter: str, experiment_ids: list[str]) -> dict[str, bytes]:
    """{name below the chapter's folder: content} of stored results of the full profile, and of
    what fresh seeds said of the chapter's claims. What is not stored is left out: the quick
    profile computes it."""
    store, held = Store(BOOK / "results"), {}
    for experiment in map(find, experiment_ids):
        paths = [store.file(experiment, "full")]
        paths += [store.file(experiment, "full", table) for table in experiment.tables]
        if all(path.is_file() for path in paths):
            held |= {f"results/{experiment.id}/{p.name}": p.read_bytes() for p in paths}
    return held | {"results/claims/fresh.csv": _fresh_seeds(store, chapter)}


def _fresh_seeds(store: Store, chapter: str) -> bytes:
    """The lines of claims/fresh.csv about a chapter's claims."""
    own = {claim.id for claim in claims() if claim.chapter == chapter}
    with (store.root / "claims" / "fresh.csv").open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *(r for r in rows if r[0] in own)])
    return text.getvalue().encode("utf-8")


def stills(names: list[str]) -> dict[str, bytes]:
    """{file: SVG} of figures that a reader moves on the page, drawn as they are for paper."""
    if not names:
        return {}
    extensions()
    import matplotlib

    matplotlib.use("agg")
    from hand import numbers
    from hand_stills import picture

    return {f"{name}.svg": picture(name, numbers(name)) for name in names}


def wheel() -> bytes:
    """The book's package, built by pip from a copy of its sources; needs no network."""
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place) / "source", Path(place) / "out"
        source.mkdir()
        for name in PACKAGE:
            path = BOOK / name
            if path.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, source / name, ignore=ignore)
            else:
                shutil.copy(path, source / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        require(run.returncode == 0, f"pip cannot make the wheel: {run.stderr[-500:]}")
        (path,) = out.glob("*.whl")
        return path.read_bytes()


def archive(path: Path, held: dict[str, bytes]) -> Path:
    """A zip of named contents at `path`, in whose place it comes once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in sorted(held.items()):
            entry = zipfile.ZipInfo(name, DAY)
            entry.external_attr = 0o644 << 16
            file.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return part.replace(path)


def extensions() -> None:
    """Makes the modules of `_ext` importable, as Sphinx does."""
    if str(BOOK / "_ext") not in sys.path:
        sys.path.append(str(BOOK / "_ext"))


def quiet_kernels() -> None:
    """Kernels as the site's build has them: without a warning about their sockets."""
    extensions()
    from bookfix import encrypt_kernels

    encrypt_kernels()
