"""`testlab run`: the same pytest session that `pytest --testlab-pool …` starts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

from pytest_testlab.cli._common import connection, exits, settings_of
from pytest_testlab.errors import UsageError
from pytest_testlab.options import OPTIONS
from pytest_testlab.plugins import nearest

EXITS = {
    1: "a test failed, met an error, was blocked or never ran",
    2: "interrupted, or a mistake of the user's that was told before pytest began",
    3: "pytest broke",
    4: "a mistake that pytest tells: an option or a file that it doesn't know, a catalog that can't be read",
    5: "no test was selected",
    6: "the lab could not give proven blank targets",
}
"""Pytest's own and the lab's, as for `pytest --testlab-pool`."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="run a catalog, or the nightly of lab.toml; takes whatever pytest takes",
        usage="testlab run [CATALOG …] [--testlab-pool N …] [pytest's own options]\n"
        "       testlab run --on SERVER TEST … [pytest's own options]\n"
        "       testlab run --trigger manual [--schedule NAME] [--config FILE]",
        add_help=True,
        allow_abbrev=False,  # pytest's --co is no --config
    )
    parser.add_argument(
        "--trigger", choices=("cli", "manual"), default="cli", help="manual: play the nightly as it stands in lab.toml"
    )
    parser.add_argument("--schedule", metavar="NAME", help="which one of several; default: nightly, else the first")
    parser.add_argument("--config", metavar="FILE", help="the lab.toml; default: as for testlab schedule")
    parser.add_argument("--follow", metavar="TEST", help="show the output of this test, or entry, as it comes")
    parser.add_argument("--on", metavar="SERVER", help="run on this kept server as it is; see testlab servers")
    exits(parser, EXITS, fine="all tests passed, were flaky, skipped or shed")
    parser.set_defaults(handler=handle, takes_rest=True)


def handle(args: argparse.Namespace) -> int:
    """Become that session; never returns.

    In this very process pytest would find the lab imported already, and warn of it: too late to rewrite its asserts.
    """
    _refuse_unknown(args.rest)
    args.rest += ["--testlab-follow", args.follow] if args.follow else []
    if args.on and args.trigger != "manual":
        _refuse_no_server(args)
        args.rest = ["--testlab-on", args.on, *_named(args)]
    if args.trigger == "manual":
        _play_nightly(args)
    if args.schedule or args.config:
        raise UsageError("--schedule and --config go with --trigger manual")
    arguments = list(args.rest)
    if not any(argument.startswith("--testlab-") for argument in arguments):
        arguments += ["--testlab-pool", "1"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *arguments])  # noqa: S606  no shell


def _refuse_unknown(rest: Sequence[str]) -> None:
    """What no setting of the lab is called; other options are pytest's, or a conftest.py's, and known to them alone."""
    known = [option.flag_name for option in OPTIONS if option.flag]
    for word in rest:
        flag = word.partition("=")[0]
        if flag.startswith("--testlab-") and not any(name.startswith(flag) for name in known):
            raise UsageError(f"run doesn't know {flag}{nearest(flag, known)}")


def _refuse_no_server(args: argparse.Namespace) -> None:
    from pytest_testlab.pool.kept import load, unknown_kept
    from pytest_testlab.store.home import home

    where = home(settings_of(args))
    if load(where, args.on) is None:
        raise unknown_kept(where, args.on)


def _named(args: argparse.Namespace) -> list[str]:
    """The arguments of a run on a kept server, with entries and tests by the names that the lab shows them under."""
    from pytest_testlab.store.reads import names

    words = [word for word in args.rest if not word.startswith("-") and not Path(word.partition("::")[0]).exists()]
    with connection(args) if words else nullcontext() as store:
        known = {word: _here(names.matching_tests(store, word)) for word in words} if store is not None else {}
    return [test for word in args.rest for test in known.get(word) or [word]]


def _here(tests: list[str]) -> list[str]:
    """Those whose files are there, as seen from this folder."""
    return [test for test in tests if Path(test.partition("::")[0]).exists()]


def _play_nightly(args: argparse.Namespace) -> NoReturn:
    """Become the session that the schedule would start, in the folder of its lab.toml; it is recorded as by hand."""
    from pytest_testlab.labfile.find import need_lab_file
    from pytest_testlab.labfile.session import command
    from pytest_testlab.session.provenance import TRIGGER

    if args.rest:
        raise UsageError(
            f"--trigger manual plays what lab.toml says, and nothing else: leave out {' '.join(args.rest)}"
        )
    lab = need_lab_file(args.config, settings_of(args))
    line = command(lab.schedule(args.schedule), lab.folder)
    print(f"testlab: as {lab.file} says", file=sys.stderr, flush=True)
    os.chdir(lab.folder)
    os.execve(line[0], line, {**os.environ, TRIGGER: "manual"})  # noqa: S606  no shell
