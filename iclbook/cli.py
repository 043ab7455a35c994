"""The command line: list, run, verify, claims, status. Imports what a command needs only when
it runs."""

import json
import os
import sys
import warnings
from collections import Counter
from contextlib import suppress

import click

from iclbook.catalogue import experiments, find
from iclbook.claim import all_claims, report
from iclbook.errors import InputError, require
from iclbook.experiment import PROFILES
from iclbook.listing import FORMATS, claims_in, state_of
from iclbook.machine import described
from iclbook.options import (
    as_json,
    at_once,
    change_of,
    in_store,
    interrupted,
    on_stop,
    rotated,
    schedulers,
    seeds_of,
    settings_changed,
)
from iclbook.store import duration


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli():
    """Run, verify and judge the experiments of the in-context-learning reproduction book."""


@cli.command("list")
@as_json
@in_store
def list_(as_json, store):
    """Every experiment: what it reproduces, whether it is stored, how it differs from the
    paper."""
    rows = []
    for e in experiments().values():
        meta, state, error = state_of(store, e)
        row = {"id": e.id, "item": e.item, "chapter": e.chapter}
        row["profiles"] = [name for name in PROFILES if getattr(e, name) is not None]
        row |= {"stored": error is None, "state": state, "error": error}
        row["wall_seconds"] = meta.get("wall_seconds")
        rows.append(row | {"deviations": e.deviations()})
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        took = duration(row["wall_seconds"]) if row["stored"] else row["state"]
        about = row["error"] if row["state"] == "not valid" else row["item"]
        click.echo(f"{row['id']:32} {row['chapter']:24} {took:16} {about}")


@cli.command()
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option("--all", "everything", is_flag=True, help="Every experiment.")
@click.option("--chapter", default="", help="All of a chapter, such as ridge/heads.")
@click.option("--profile", default="full", show_default=True, help=f"{', '.join(PROFILES)}.")
@click.option(
    "--seeds",
    metavar="LIST",
    help="Seeds in place of the profile's, such as 0,1,2 or 10-14.",
)
@settings_changed
@at_once
@schedulers
@click.option("--device", default="", help="Such as cuda, for those that can use one.")
@click.option(
    "--glue-dir",
    metavar="DIR",
    default="",
    help="GLUE's TSVs, for the language table; or datasets, to download them.",
)
@click.option("--force", is_flag=True, help="Replace a result that stands already.")
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and how long.")
@as_json
@in_store
def run(ids, everything, chapter, profile, glue_dir, dry_run, as_json, store, **how):
    """Compute experiments and store their results. A run that was stopped goes on where it
    stopped."""
    require(
        (bool(ids), everything, bool(chapter)).count(True) == 1,
        "name one or more experiments, or --chapter, or --all; see `iclbook list`",
    )
    require(
        how["jobs"] == 1 or not how["scheduler"],
        "give --jobs or --scheduler, not both: a cluster's workers are its own",
    )
    chosen = [find(wanted) for wanted in ids] or [
        e for e in experiments().values() if everything or e.chapter == chapter
    ]
    require(bool(chosen), f"no experiment belongs to chapter {chapter!r}; see `iclbook list`")
    changes = [change_of(text) for text in how.pop("changes")]
    changed = dict(changes)
    require(len(changed) == len(changes), "--set names a setting twice; give each one value")
    how["seeds"] = () if how["seeds"] is None else seeds_of(how["seeds"])
    if glue_dir:
        os.environ["ICLBOOK_GLUE"] = glue_dir  # the processes that compute points inherit it
    if profile in PROFILES and not ids:  # who asks for all wants those that there are
        for e in chosen:
            if getattr(e, profile) is None:
                click.echo(f"{e.id}: skipped, has no {profile} profile", err=as_json)
        chosen = [e for e in chosen if getattr(e, profile) is not None]
    if changed:  # those seeds and settings have a folder of their own
        changed |= {"seeds": how.pop("seeds")} if how["seeds"] else {}
    # Refuse before anything is computed.
    chosen = [e.variant(profile, **changed) for e in chosen]
    from iclbook import runner
    from iclbook.plan import in_words, planned, stay_within_means

    rows, settings = [], {name: how[name] for name in ("seeds", "device") if name in how}
    if dry_run or changed:
        rows = [planned(e, profile, store, **settings) for e in chosen]
        for row in () if as_json else rows:
            click.echo(in_words(row))
    if not dry_run:
        stay_within_means(rows)
        rows, how["progress"] = [], not as_json and bool(sys.stderr)
    for e in () if dry_run else chosen:
        state = runner.run(e, profile, store, **how)
        place = store.named(store.file(e, profile))
        name = e.id.partition("@")[0]
        rows.append({"id": name, "profile": profile, "state": state, "path": place})
        if not as_json:
            click.echo(f"{name}: {state} in {place}")
    if as_json:
        _print_json(rows)


@cli.command("verify")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@rotated
@click.option("--deep", is_flag=True, help="Every point, as long as it takes.")
@at_once
@as_json
@in_store
def verify_(ids, as_json, store, **how):
    """Compute a part of each stored result with today's code and compare. Exit code 1 where
    they differ."""
    chosen = [find(wanted) for wanted in ids] or list(experiments().values())
    from iclbook.verify import verify

    rows, here, broken = [], None, False
    for e in chosen:
        try:
            e.inputs_of(e.full)
        except InputError as error:  # what is not the book's need not be here
            click.echo(f"{e.id:32} skipped: {error}", err=as_json)
            continue
        try:
            row = verify(e, store, **how)
        except InputError as error:  # the others are looked at all the same
            broken = True
            click.echo(f"iclbook: {error}", err=True)
            continue
        rows.append(row)
        if as_json:
            continue
        if here is None:
            here = described(*row["computed_on"])
            click.echo(f"computed on: {here}")
        state = "agrees" if row["ok"] else "DIFFERS"
        worst = f"{row['rows']} rows, worst deviation {row['worst']:.2g} of the tolerance"
        lacking = f", {row['missing']} rows missing" if row["missing"] else ""
        lacking += f"; computed now: {'; '.join(row['gaps'])}" if row["gaps"] else ""
        there = described(*row["stored_on"])
        click.echo(f"{e.id:32} {state}: {worst}{lacking}; stored on {there}")
    if as_json:
        _print_json(rows)
    sys.exit(2 if broken else 0 if all(row["ok"] for row in rows) else 1)


@cli.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option(
    "--seeds",
    metavar="LIST",
    help="Judge on these seeds, such as 1000-1002, computed where --store DIR lacks them.",
)
@click.option("--with-stored", is_flag=True, help="On the book's own seeds too.")
@click.option(
    "--sets",
    default=0,
    type=click.IntRange(0),
    help="Judge this many random sets of those seeds, each as large as the book's.",
)
@at_once
@click.option(
    "--format", "form", default="table", show_default=True, help=f"{', '.join(FORMATS)}."
)
@as_json
@in_store
def claims(ids, seeds, with_stored, sets, jobs, form, as_json, store):
    """Every claim: recorded verdict, measured number, threshold. Says so, and ends with exit
    code 1, where the check returns another verdict. Only the form with --seeds computes."""
    require(form in FORMATS, f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    form = "json" if as_json else form
    known = all_claims()
    for wanted in ids:
        require(wanted in known, f"unknown claim {wanted!r}; see `iclbook claims`")
    require(
        seeds is not None or not (with_stored or sets),
        "--with-stored and --sets need --seeds LIST",
    )
    if seeds is not None:
        require(bool(ids), "name the claims to judge on other seeds; see `iclbook claims`")
        chosen = [known[name] for name in ids]
        for claim in chosen:
            require(bool(claim.experiments), f"{claim.id} reads no result; leave it out")
        from iclbook.other_seeds import report_on

        how = {"jobs": jobs, "progress": form == "table"}
        rows = report_on(chosen, seeds_of(seeds), store, with_stored, sets, **how)
    else:
        chosen = {name: known[name] for name in ids} if ids else known
        rows = report(store, claims=chosen)
    click.echo(claims_in(form, rows))
    sys.exit(0 if all(row["returned"] == row["verdict"] for row in rows) else 1)


@cli.command()
@as_json
@in_store
def status(as_json, store):
    """The state of the store: what is stored, missing or damaged; how many claims stand with
    which verdict."""
    results = []
    for e in experiments().values():
        meta, state, error = state_of(store, e)
        kept = ("created", "wall_seconds", "seeds", "tables", "machines", "versions")
        about = {name: meta.get(name) for name in kept}
        known = {"id": e.id, "stored": error is None, "state": state, "error": error}
        results.append(known | about)
    files = store.root.glob(".partial/*/*/*/*") if os.path.isdir(store.root) else ()
    kept = Counter(store.named(file.parent) for file in files)
    counts = {}
    for claim in all_claims().values():
        counts.setdefault(claim.kind, {}).setdefault(claim.verdict, 0)
        counts[claim.kind][claim.verdict] += 1
    if as_json:
        _print_json({"results": results, "claims": counts, "unfinished": kept})
        return
    for row in results:
        click.echo(f"{row['id']:38} {row['error'] or 'stored ' + row['created'][:10]}")
    for folder, count in kept.items():
        goes = "the same run goes on from it; delete it if you do not want it"
        click.echo(f"unfinished: {folder} ({count} files); {goes}")
    for kind, verdicts in counts.items():
        words = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        click.echo(f"claims, {kind}: {words}")


def main():
    """The entry point. What a caller can mend is one line on standard error and exit code 2."""
    on_stop(interrupted)
    # joblib and its helper would count what a run that ends early leaves behind.
    warnings.filterwarnings("ignore", module="joblib")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    try:
        require(sys.stdout is not None, "standard output is closed; nothing can be printed")
        with cli.make_context("iclbook", sys.argv[1:]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except InputError as error:
        _refuse(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _refuse(error.format_message().replace("\n", " ") + "; see `iclbook --help`")
    except (click.Abort, KeyboardInterrupt):
        stopped = "stopped; finished points are kept, run the same command again to go on"
        click.echo(f"iclbook: {stopped}", err=True)
        sys.exit(130)
    except OSError as error:
        place = error.filename or "the output"
        if error.filename is None:  # or the interpreter writes what is left once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _refuse(f"cannot read or write {place} ({error.strerror}); name another, or free it")


def _refuse(message: str) -> None:
    with suppress(OSError):  # who closed standard error reads the exit code
        click.echo(f"iclbook: {message}", err=True)
    sys.exit(2)


def _print_json(value) -> None:
    click.echo(json.dumps(value, indent=1))
