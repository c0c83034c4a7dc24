"""`testlab new KIND NAME`: a folder with a commented app, demo or tutorial that passes, to start one's own from."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pytest_testlab.cli._common import exits
from pytest_testlab.errors import UsageError
from pytest_testlab.plugins import nearest

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each kind of entry that can be made."""
PLACEHOLDER = "@NAME@"


def kinds() -> list[str]:
    """What can be made."""
    return sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir())


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("new", help="write a commented app, demo or tutorial that passes, to start from")
    parser.add_argument("kind", metavar="KIND", help=f"what to make: {' or '.join(kinds())}")
    parser.add_argument("name", metavar="NAME", nargs="?", help="its name, and its folder's")
    parser.add_argument("--in", metavar="DIR", dest="where", type=Path, help="where its folder goes; default: here")
    exits(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Write the folder, and say what to type next."""
    if args.kind not in kinds():
        say = f"; did you mean testlab new {kinds()[0]} {shlex.quote(args.kind)}?" if args.name is None else ""
        raise UsageError(f"KIND: {args.kind!r} can't be made{say or nearest(args.kind, kinds())}")
    if args.name is None:
        raise UsageError(f"NAME is missing: testlab new {args.kind} NAME")
    folder = make(args.kind, args.name, args.where or Path())
    print(f"{folder} is there: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    print(f"run it with: testlab run {shlex.quote(str(folder))}")
    return 0


def make(kind: str, name: str, where: Path) -> Path:
    """Write the entry's folder below `where`, and return it; raises `UsageError` where nothing was written."""
    folder = where / _sound(name)
    _refuse_inside_an_entry(where)
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(f"{folder} exists already: take another name, or move it away") from None
    except FileNotFoundError:
        raise UsageError(f"{where} doesn't exist: make it first, or leave --in out") from None
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror or error}") from None
    for file in sorted((TEMPLATES / kind).iterdir()):
        if file.is_file():
            text = file.read_text(encoding="utf-8").replace(PLACEHOLDER, name)
            (folder / file.name.replace(PLACEHOLDER, name)).write_text(text, encoding="utf-8")
    return folder


def _sound(name: str) -> str:
    from pytest_testlab.catalog.readers import Refused
    from pytest_testlab.catalog.values import entry_name

    try:
        return entry_name(name)
    except Refused as refused:
        above, _, last = name.rstrip("/").rpartition("/")
        hint = f"; its folder goes with --in: testlab new KIND {shlex.quote(last)} --in {shlex.quote(above)}"
        raise UsageError(f"NAME: {refused}{hint if above and last else ''}") from None


def _refuse_inside_an_entry(where: Path) -> None:
    """An entry is uploaded with all that is below it, so that another one in there would be a part of it."""
    from pytest_testlab.catalog.read import FILE_NAME

    if (where / FILE_NAME).exists():
        raise UsageError(f"{where.resolve()} is an entry itself: make the new one beside it")
