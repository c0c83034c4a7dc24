"""`testlab run`: the same pytest session that `pytest --testlab-pool …` starts."""

from __future__ import annotations

import argparse
import os
import sys


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
    """Become that session; never returns.

    In this very process pytest would find the lab imported already, and warn of it: too late to rewrite its asserts.
    """
    arguments = list(args.rest)
    if not any(argument.startswith("--testlab-") for argument in arguments):
        arguments += ["--testlab-pool", "1"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *arguments])  # noqa: S606  no shell
