"""`testlab recover`: drain what killed runs left on disk, and close them."""

from __future__ import annotations

import argparse
import dataclasses

from pytest_testlab.cli._common import harmless, print_json, reading, settings_of

WORKERS_END_WITHIN_S = 20.0
"""A killed controller's workers notice within this time; until then their run is still being written."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("recover", help="take what killed runs left on disk into the store, and close them")
    reading(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Recover, and say what was found."""
    from pytest_testlab.recording.recover import recover
    from pytest_testlab.store.embedded import open_store

    with open_store(settings_of(args)) as store:
        found = recover(store.engine, store.home, wait_s=WORKERS_END_WITHIN_S)
    if args.json:
        return print_json([dataclasses.asdict(run) for run in found])
    for run in found:
        print(harmless("\n".join(run.lines())))
    if not found:
        print("nothing to recover: every run on this machine is closed or still going on")
    return 0
