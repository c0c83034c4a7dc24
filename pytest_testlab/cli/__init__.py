"""The command `testlab`: each command is a module that brings its own flags, and plugins add theirs by hook."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from pytest_testlab.errors import UsageError
from pytest_testlab.plugins import called, nearest, plugin_manager


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake of a user is said; commands' own parsers are such too."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser with every command, and the commands' names; raises `UsageError` for a broken plugin."""
    from pytest_testlab.cli import db, diff, doctor, new, reap, recover, run, runs, schema, servers, why

    parser = Parser(
        prog="testlab", description="Reads, runs and mends what pytest-testlab keeps: runs, bundles, servers."
    )
    parser.add_argument("--version", action="version", version=f"testlab {version('pytest-testlab')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for module in (doctor, new, schema, run, runs, diff, why, recover, servers, reap, db):
        module.add(commands)
    for offered in called(plugin_manager(), "testlab_commands"):
        for add in offered or ():
            add(commands)
    return parser, sorted(commands.choices)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the user's mistakes are one line and exit 2, and Ctrl-C is exit 130."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parser, names = build_parser()
        if arguments and not arguments[0].startswith("-") and arguments[0] not in names:
            raise UsageError(f"no command is called {arguments[0]!r}{nearest(arguments[0], names)}")
        args, rest = parser.parse_known_args(arguments)
        if rest and not getattr(args, "takes_rest", False):
            raise UsageError(f"{args.command} doesn't know {' '.join(rest)}; see testlab {args.command} --help")
        args.rest = rest
        return int(args.handler(args))
    except UsageError as error:
        print(f"testlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
