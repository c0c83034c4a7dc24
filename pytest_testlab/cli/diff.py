"""`testlab diff`: what changed since each test's own last outcome in the lane."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from sqlalchemy import Connection

from pytest_testlab.cli._common import (
    connection,
    exits,
    harmless,
    local,
    paint,
    print_json,
    reading,
    status,
    unknown_run,
)
from pytest_testlab.errors import UsageError
from pytest_testlab.options import MODES
from pytest_testlab.store.views import DiffItem, DiffView

RUNNING = "running"
START = {"cli": "pytest --testlab-pool 2 CATALOG", "nightly": "testlab run --trigger manual"}
"""By mode."""
LISTS = (
    ("newly_failing", "newly failing", "red"),
    ("newly_fixed", "newly fixed", "green"),
    ("still_failing", "still failing", "red"),
    ("errors", "infrastructure errors", "purple"),
    ("flaky", "flaky", "yellow"),
    ("blocked", "blocked", "yellow"),
    ("skipped", "skipped", "dim"),
    ("new", "new", "bold"),
    ("missing", "missing", "yellow"),
    ("shed", "shed", "dim"),
    ("not_run", "not run", "dim"),
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("diff", help="what changed since the last run")
    reading(parser)
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run of `testlab runs`; default: the latest")
    parser.add_argument("--mode", choices=MODES, help="the latest of this mode, where no RUN is named")
    exits(parser, fine="the diff was printed, whatever it says")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print the diff."""
    from pytest_testlab.store.reads import diff

    if args.run and args.mode:
        raise UsageError("RUN or --mode: a run that is named has its mode already")
    with connection(args) as store:
        found = diff.diff(store, args.run, mode=args.mode)
        if found is None and args.run:
            raise UsageError(unknown_run(store, args.run))
        also = [] if found is None or args.run else _on_other_images(store, found)
    if args.json:
        shown = None if found is None else as_json(found)
        return print_json(shown | {"also": [as_json(other) for other in also]} if shown and also else shown)
    if found is None:
        what = f"no run of the mode {args.mode} yet" if args.mode else "no run yet"
        print(f"{what}; start one with: " + START.get(args.mode, START["cli"]))
    else:
        _print(found)
    for other in also:
        print()
        _print(other)
    return 0


def _on_other_images(store: Connection, found: DiffView) -> list[DiffView]:
    """The diffs of the other runs of its session that planned tests."""
    from pytest_testlab.store.reads import diff, runs

    others = [run.run for run in runs.beside(store, found.run) if run.run != found.run.run and run.planned]
    return [other for other in (diff.diff(store, name) for name in others) if other is not None]


def as_json(found: DiffView) -> dict[str, Any]:
    """The shape of a diff that `--json` keeps."""
    lists = {key: [_item(item) for item in getattr(found, key)] for key, _, _ in LISTS}
    return {"run": found.run.run, "previous": found.previous, **lists, "still_passing": found.still_passing}


def _item(item: DiffItem) -> dict[str, Any]:
    plain = dataclasses.asdict(item)
    plain["class"] = plain.pop("failure_class")
    return plain


def _print(found: DiffView) -> None:
    against = f"against {found.previous}" if found.previous else "the first of its lane"
    against += (
        f"; still running, {found.run.counts.get('passed', 0)} passed so far" if found.run.state == RUNNING else ""
    )
    print(f"{paint(found.run.run, 'bold')}  {local(found.run.started_at)}  {found.run.lane}  ({against})")
    for key, title, colour in LISTS:
        items: tuple[DiffItem, ...] = getattr(found, key)
        if items:
            print(f"\n{paint(f'{title} ({len(items)})', colour)}")
            for item in items:
                _print_item(key, item)
    print(f"\n{found.still_passing} still passing")


def _print_item(key: str, item: DiffItem) -> None:
    word = status(item.status, 8) + " " if key == "new" else ""
    since = f"  since {local(item.since)}, {item.streak} runs" if key == "still_failing" else ""
    changed = paint("  another cause than before", "yellow") if item.changed_class else ""
    print(f"  {word}{item.test}{since}{changed}")
    for line in item.headline[:1]:
        print(f"      {harmless(line)}")
