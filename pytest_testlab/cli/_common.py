"""What the commands share: opening the store, colours that degrade, JSON, and text safe for a terminal."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from pytest_testlab.cli.ini import ini_settings
from pytest_testlab.moments import shown
from pytest_testlab.options import Settings, resolve

COLOURS = {"red": "31", "green": "32", "yellow": "33", "purple": "35", "dim": "2", "bold": "1"}
STATUS_COLOUR = {
    "passed": "green",
    "flaky": "yellow",
    "failed": "red",
    "error": "purple",
    "blocked": "yellow",
    "skipped": "dim",
    "shed": "dim",
    "not_run": "dim",
}
MOST = 32_767
"""The largest number of an attempt, and more than anybody wants listed."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def reading(parser: argparse.ArgumentParser) -> None:
    """Add what every command that reads the store takes."""
    parser.add_argument("--db", metavar="URL", help="the store; default: TESTLAB_DATABASE_URL, else embedded")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def exits(parser: argparse.ArgumentParser, also: Mapping[int, str] | None = None, *, fine: str = "all is well") -> None:
    """Say in a command's help which exit codes it has: 0, what it has besides, and those that all commands have."""
    codes = {0: fine, 2: "a mistake of the user's, told in one line", 130: "ended by Ctrl-C", **(also or {})}
    parser.epilog = "Exit codes: " + "; ".join(f"{code} {say}" for code, say in sorted(codes.items())) + "."


def count(text: str) -> int:
    """A number of a command line from 1 to what the store can count."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST}")
    return int(text)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings of a command: its flags, the environment, the ini file of this folder's project."""
    return resolve({"db": getattr(args, "db", None)}, ini_settings())


def taken_environ() -> dict[str, str]:
    """The environment as it was given; what lets providers in leaves this process's own: no child of it has that."""
    from pytest_testlab.plugins import credentials, plugin_manager

    given = dict(os.environ)
    for name in credentials(plugin_manager(), given):
        del os.environ[name]
    return given


@contextmanager
def connection(args: argparse.Namespace) -> Iterator[Connection]:
    """A connection to the store; raises `UsageError` when there is none to be had."""
    from pytest_testlab.store.embedded import open_store

    with open_store(settings_of(args)) as store, store.engine.connect() as opened:
        yield opened


def unknown_run(store: Connection, name: str) -> str:
    """What to say of a run that the store doesn't know."""
    from pytest_testlab.store.reads import names

    near = names.nearest_runs(store, name)
    return f"no run is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def paint(text: str, *colours: str) -> str:
    """Coloured text where the terminal wants it (NO_COLOR and pipes don't)."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{';'.join(COLOURS[colour] for colour in colours)}m{text}\x1b[0m"


def status(word: str, width: int = 0) -> str:
    """A status in its colour."""
    return paint(f"{word.replace('_', ' '):<{width}}", STATUS_COLOUR.get(word, "dim"))


def harmless(text: str) -> str:
    """Text without anything that a terminal would obey."""
    return _CONTROL.sub("", text)


def print_json(value: Any) -> int:
    """Print JSON; moments are ISO 8601."""
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def local(moment: dt.datetime | None) -> str:
    """A moment in this machine's time zone, which is named; to the minute."""
    return "-" if moment is None else shown(moment)
