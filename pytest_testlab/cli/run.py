"""`testlab run`: the same pytest session that `pytest --testlab-pool …` starts."""

from __future__ import annotations

import argparse

import pytest


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="run a catalog; takes whatever pytest takes",
        usage="testlab run [CATALOG …] [--testlab-pool N …] [pytest's own options]",
        add_help=True,
    )
    parser.set_defaults(handler=handle, takes_rest=True)


def handle(args: argparse.Namespace) -> int:
    """Start the session; returns pytest's exit code."""
    arguments = list(args.rest)
    if not any(argument.startswith("--testlab-") for argument in arguments):
        arguments += ["--testlab-pool", "1"]
    return int(pytest.main(arguments))
