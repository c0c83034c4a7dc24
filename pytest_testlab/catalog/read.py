"""Reads a testlab.toml into an `Entry`, or says everything that is wrong with it at once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import tomli  # the standard library's parser, compiled: a third of its time, which is most of what reading takes

from pytest_testlab.catalog.locate import MOST_PARTS, deep_key_line, key_lines, nearest_line
from pytest_testlab.catalog.readers import KeyPath, shown
from pytest_testlab.catalog.schema import ADDONS, EntryReader
from pytest_testlab.catalog.tables import MOST_FAULTS
from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.model import Entry

FILE_NAME = "testlab.toml"
LARGEST = 1024 * 1024
"""Bytes; a larger file is refused unread."""

MANY_DOTS = 200
"""A text with more of them is searched for keys that are too deep to be parsed in bounded time."""


def read_entry(file: Path, *, addons: Collection[str] = ADDONS) -> Entry:
    """The entry that a testlab.toml describes; raises `CatalogError` with all of its problems."""
    return parse_entry(file, read_bytes(file), addons=addons)


def parse_entry(file: Path, data: bytes, *, addons: Collection[str] = ADDONS) -> Entry:
    """The entry that the bytes of a testlab.toml describe; raises `CatalogError` with all of its problems."""
    file = file if file.is_absolute() else file.absolute()
    document, text = parse_toml(file, data)
    reader = EntryReader(file, addons)
    entry = reader.read(document)
    if entry is None:
        raise CatalogError(problems(file, text, reader.faults))
    return entry


def parse_toml(file: Path, data: bytes) -> tuple[dict[str, Any], str]:
    """What the bytes of a TOML file hold, and their text; raises `CatalogError` with the line of what is wrong."""
    text = _decode(file, data)
    return _parse(file, text), text


def check_place(file: Path, place: str) -> None:
    """Raise `CatalogError` for a file whose path in the catalog, `place`, can't be part of a test's id.

    Ids are printed, stored and typed; what would steer a terminal, or isn't text at all, must not get into one.
    """
    if not place.isprintable() or "::" in place:
        say = 'its path holds control or invisible characters, bytes that are not UTF-8, or "::"; rename the folder'
        raise _refused(file, say)


def read_bytes(file: Path) -> bytes:
    """The bytes of a regular file of bounded size; raises `CatalogError`, and never waits (as a pipe would make it)."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(file, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refused(file, f"can't be read: {error.strerror or error}") from None


def _read(file: Path, descriptor: int) -> bytes:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise _refused(file, "is a folder, not a file" if stat.S_ISDIR(facts.st_mode) else "is not a regular file")
    if facts.st_size <= LARGEST:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(LARGEST + 1)
        if len(data) <= LARGEST:
            return data
    raise _refused(file, f"is larger than {LARGEST // 1024} KiB; keep data in files of its own")


def _decode(file: Path, data: bytes) -> str:
    try:
        return data.decode().removeprefix("\ufeff")  # editors of other systems mark UTF-8 by it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(file, f"is not UTF-8 (byte 0x{data[error.start]:02x})", line) from None


_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def _parse(file: Path, text: str) -> dict[str, Any]:
    if text.count(".") > MANY_DOTS and (deep := deep_key_line(text)) is not None:
        raise _refused(file, f"has a key of more than {MOST_PARTS} parts", deep)
    try:
        return tomli.loads(text)
    except RecursionError:
        raise _refused(file, "is nested too deeply") from None
    except ValueError as error:  # a syntax error, or a number with more digits than Python reads
        found = _POSITION.search(str(error))
        line = None if found is None else int(found[1] or text.count("\n") + 1)
        said = _POSITION.sub("", str(error)).splitlines()[0]
        column = f" (column {found[2]})" if found is not None and found[2] else ""
        raise _refused(file, f"is not valid TOML: {said}{column}", line) from None


def problems(file: Path, text: str, faults: list[tuple[KeyPath, str]]) -> list[Problem]:
    """The faults of a file, each with its line, in the order of the lines."""
    lines = key_lines(text)
    found = [
        Problem(file=file, key=key_name(at), line=nearest_line(lines, at), message=why)
        for at, why in faults[:MOST_FAULTS]
    ]
    found.sort(key=lambda problem: problem.line or 0)
    if len(faults) > MOST_FAULTS:
        found.append(Problem(file=file, message=f"has more problems than these {MOST_FAULTS}"))
    return found


def key_name(path: KeyPath) -> str:
    """A key as messages name it: `checks[1].contains`, list items counted from 1."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part + 1}]"
        else:
            name += ("." if name else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else shown(part))
    return name


def _refused(file: Path, why: str, line: int | None = None) -> CatalogError:
    return CatalogError([Problem(file=file, line=line, message=why)])
