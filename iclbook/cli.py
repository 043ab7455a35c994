"""The command line: list, run, verify, claims, status. Imports what a command needs only when it runs."""

import json
import sys

import click

from iclbook.catalogue import experiments, find
from iclbook.claim import all_claims, report
from iclbook.errors import InputError, require
from iclbook.experiment import PROFILES
from iclbook.store import Store, duration

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
in_store = click.option(
    "--store", "store", metavar="DIR", type=Store, default="", help="Another folder of results."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli():
    """Run, verify and judge the experiments of the in-context-learning reproduction book."""


@cli.command("list")
@as_json
@in_store
def list_(as_json, store):
    """Every experiment: what it reproduces, whether it is stored, how it differs from the paper."""
    rows = []
    for e in experiments().values():
        stored = store.is_stored(e)
        profiles = [name for name in PROFILES if getattr(e, name) is not None]
        seconds = store.meta(e, "full")["wall_seconds"] if stored else None
        rows.append({"id": e.id, "item": e.item, "chapter": e.chapter, "profiles": profiles, "stored": stored,
                     "wall_seconds": seconds, "deviations": e.deviations()})  # fmt: skip
    if as_json:
        return _print_json(rows)
    for row in rows:
        took = duration(row["wall_seconds"]) if row["stored"] else "not stored"
        click.echo(f"{row['id']:38} {row['item']:28} {took}")


@cli.command()
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--all", "everything", is_flag=True, help="Every experiment.")
@click.option(
    "--profile", default="full", show_default=True, help=f"One of {', '.join(PROFILES)}."
)
@click.option(
    "--seeds",
    metavar="LIST",
    default="",
    help="Seeds in place of the profile's, such as 0,1,2 or 10-14.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting (needs --store).",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Points computed at a time.",
)
@click.option("--scheduler", metavar="ADDRESS", default="",
              help="Compute the points on the dask cluster whose scheduler listens there, such as tcp://127.0.0.1:8786. "
                   "Its workers need one thread each: dask worker ADDRESS --nthreads 1.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a result that stands already.")
@as_json
@in_store
def run(ids, everything, profile, seeds, changes, jobs, scheduler, force, as_json, store):
    """Compute experiments and store their results. A run that was stopped goes on where it stopped."""
    require(
        bool(ids) != everything, "name one or more experiments, or --all; see `iclbook list`"
    )
    require(
        jobs == 1 or not scheduler,
        "give --jobs or --scheduler, not both: a cluster's workers are its own",
    )
    chosen = list(experiments().values()) if everything else [find(wanted) for wanted in ids]
    seeds, changes = _seeds(seeds), dict(_change(text) for text in changes)
    for e in chosen:
        e.settings(profile, **changes)  # refuse before anything is computed
    from iclbook import runner

    rows = []
    for e in chosen:
        state = runner.run(e, profile, store, seeds=seeds, changes=changes, jobs=jobs, scheduler=scheduler, force=force,
                           progress=not as_json)  # fmt: skip
        place = store.named(store.file(e, profile))
        rows.append({"id": e.id, "profile": profile, "state": state, "path": place})
        if not as_json:
            click.echo(f"{e.id}: {state} in {place}")
    if as_json:
        _print_json(rows)


@cli.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@as_json
@in_store
def verify(ids, as_json, store):
    """Compute a part of each stored result with today's code and compare. Exit code 1 where they differ."""
    chosen = [find(wanted) for wanted in ids] or list(experiments().values())
    from iclbook import runner

    rows = []
    for e in chosen:
        rows.append(runner.verify(e, store))
        if not as_json:
            row = rows[-1]
            state = "agrees" if row["ok"] else "DIFFERS"
            click.echo(
                f"{row['id']:38} {state}: {row['rows']} rows, worst deviation {row['worst']:.2g} of the tolerance"
            )
    if as_json:
        _print_json(rows)
    sys.exit(0 if all(row["ok"] for row in rows) else 1)


@cli.command()
@as_json
@in_store
def claims(as_json, store):
    """Every claim with its recorded verdict and the one its check returns. Exit code 1 where they differ."""
    rows = report(store)
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            agrees = (
                ""
                if row["returned"] == row["verdict"]
                else f"  BUT THE CHECK SAYS {row['error'] or row['returned']}"
            )
            click.echo(f"{row['id']:44} {row['kind']:11} {row['verdict']}{agrees}")
    sys.exit(0 if all(row["returned"] == row["verdict"] for row in rows) else 1)


@cli.command()
@as_json
@in_store
def status(as_json, store):
    """The state of the store: what is stored, what is missing or damaged, how many claims stand with which verdict."""
    results = []
    for e in experiments().values():
        try:
            meta, error = store.meta(e, "full"), None
        except InputError as problem:
            meta, error = {}, str(problem)
        results.append({"id": e.id, "stored": error is None, "error": error, "created": meta.get("created"),
                        "wall_seconds": meta.get("wall_seconds"), "seeds": meta.get("seeds"), "tables": meta.get("tables"),
                        "versions": meta.get("versions")})  # fmt: skip
    counts = {}
    for claim in all_claims().values():
        counts.setdefault(claim.kind, {}).setdefault(claim.verdict, 0)
        counts[claim.kind][claim.verdict] += 1
    if as_json:
        return _print_json({"results": results, "claims": counts})
    for row in results:
        click.echo(
            f"{row['id']:38} "
            + (f"stored {row['created'][:10]}" if row["stored"] else row["error"])
        )
    for kind, verdicts in counts.items():
        click.echo(
            f"claims, {kind}: "
            + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        )


def main():
    """The entry point. Bad input is one line on standard error and exit code 2."""
    try:
        cli.main(standalone_mode=False)
    except InputError as error:
        _refuse(str(error))
    except click.ClickException as error:
        _refuse(error.format_message().replace("\n", " ") + "; see `iclbook --help`")
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "iclbook: stopped; finished points are kept, run the same command again to go on",
            err=True,
        )
        sys.exit(130)


def _refuse(message: str) -> None:
    click.echo(f"iclbook: {message}", err=True)
    sys.exit(2)


def _print_json(value) -> None:
    click.echo(json.dumps(value, indent=1))


def _seeds(text: str) -> tuple[int, ...]:
    """(0, 1, 2) from "0,1,2" or "0-2"."""
    seeds = []
    for part in filter(None, text.split(",")):
        ends = part.split("-")
        require(
            len(ends) <= 2 and all(end.isdigit() for end in ends),
            f"--seeds must look like 0,1,2 or 10-14, got {text!r}",
        )
        seeds += range(int(ends[0]), int(ends[-1]) + 1)
    require(len(set(seeds)) == len(seeds), f"--seeds names a seed twice: {text!r}")
    require(bool(seeds) or not text, f"--seeds holds no seed: {text!r}")
    return tuple(seeds)


def _change(text: str) -> tuple[str, object]:
    """("H", 8) from "H=8"; a value is read as JSON, else as text."""
    name, equals, value = text.partition("=")
    require(bool(equals), f"--set must look like NAME=VALUE, got {text!r}")
    try:
        read = json.loads(value)
    except ValueError:
        read = value
    return name, tuple(read) if isinstance(read, list) else read
