"""`testlab recover`: drain what killed runs left on disk, close them, and remove the servers that they left."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_testlab.cli._common import exits, harmless, print_json, reading, settings_of, taken_environ
from pytest_testlab.options import Settings

if TYPE_CHECKING:
    from pytest_testlab.pool.reaper import Reaped
    from pytest_testlab.recording.recover import Recovered

WORKERS_END_WITHIN_S = 20.0
"""A killed controller's workers notice within this time; until then their run is still being written."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("recover", help="take what killed runs left on disk into the store, and close them")
    reading(parser)
    exits(parser, {1: "servers are left that should be gone"})
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Recover, and say what was found; 1 when servers are left that should be gone."""
    from pytest_testlab.recording.recover import recover
    from pytest_testlab.store.embedded import open_store

    settings, environ = settings_of(args), taken_environ()
    with open_store(settings) as store:
        found = recover(store.engine, store.home, wait_s=WORKERS_END_WITHIN_S)
    swept = _sweep(settings, environ, found)
    if args.json:
        print_json([dataclasses.asdict(run) for run in found])
        return 1 if any(reaped.errors for reaped in swept) else 0
    for run in found:
        print(harmless("\n".join(run.lines())))
    for reaped in swept:
        for resource in reaped.deleted:
            print(harmless(f"removed the {resource.kind} {resource.name} of {resource.provider}, which was left"))
        for why in reaped.skipped.values():
            print(harmless(f"what was left must be looked for by hand: {why}"))
        for error in reaped.errors:
            print(harmless(f"what was left can't be removed: {error}; testlab reap tries again once it has expired"))
    if not found:
        print("nothing to recover: every run on this machine is closed or still going on")
    return 1 if any(reaped.errors for reaped in swept) else 0


def _sweep(settings: Settings, environ: Mapping[str, str], found: list[Recovered]) -> list[Reaped]:
    """Remove what the runs left: their folders were locked, so nobody works on them any more."""
    from pytest_testlab.pool.reaping import sweep_runs

    of: dict[str, set[str]] = {}
    for run in found:
        if run.left:
            of.setdefault(run.provider, set()).add(run.of_run)
    return [sweep_runs(provider, runs, settings, environ) for provider, runs in sorted(of.items())]
