"""`testlab runs`: the runs in the store, newest first."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from pytest_testlab.cli._common import (
    STATUS_COLOUR,
    connection,
    count,
    exits,
    harmless,
    local,
    paint,
    print_json,
    reading,
)
from pytest_testlab.model import ON_SERVER
from pytest_testlab.money import euro
from pytest_testlab.options import MODES
from pytest_testlab.store.views import RunView


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("runs", help="list the runs, newest first")
    reading(parser)
    parser.add_argument("--limit", type=count, default=20, metavar="N", help="how many at most (default 20)")
    parser.add_argument("--mode", choices=(*MODES, ON_SERVER), help="only runs of this mode")
    exits(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print the list."""
    from pytest_testlab.store.reads import runs

    with connection(args) as store:
        found = runs.list_runs(store, limit=args.limit, mode=args.mode)
    if args.json:
        return print_json([as_json(run) for run in found])
    for run in found:
        print(_line(run))
    if not found:
        print("no run yet; start one with: pytest --testlab-pool 2 CATALOG")
    return 0


def as_json(run: RunView) -> dict[str, Any]:
    """The shape of a run that `--json` keeps."""
    return {**dataclasses.asdict(run), "counts": dict(run.counts), "phases": dict(run.phases)}


def _line(run: RunView) -> str:
    counts = "  ".join(
        paint(f"{count} {status.replace('_', ' ')}", STATUS_COLOUR.get(status, "dim"))
        for status, count in sorted(run.counts.items())
        if count
    )
    state = "" if run.state == "finished" else paint(f"{run.state}  ", "yellow")
    say = f"\n    {paint(harmless(run.say), 'dim')}" if run.say and run.state != "finished" else ""
    where = f"{run.mode:<8} {run.platform}/{run.provider}{f'/{run.image}' if run.image else ''} ×{run.pool}"
    cost = "" if run.cost_eur is None else paint(f"  {euro(run.cost_eur)}", "dim")
    return f"{run.run}  {local(run.started_at)}  {where}  {state}{counts}{cost}{say}"
