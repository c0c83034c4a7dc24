"""Finds the entry that a platform test names: by its name in the catalog, or by a path from the test's folder."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from pytest_testlab.catalog.items import SEEN, Seen
from pytest_testlab.catalog.read import FILE_NAME, parse_entry, read_bytes
from pytest_testlab.catalog.scan import scan
from pytest_testlab.errors import UsageError
from pytest_testlab.model import Entry


def find_entry(config: pytest.Config, named: str, folder: Path) -> Entry:
    """The entry; raises `UsageError` where there is none, `CatalogError` where it is malformed.

    A path has a `/` or begins with a dot. A name that was not collected is looked for below pytest's root folder.
    """
    seen = config.stash[SEEN]
    if "/" in named or named.startswith("."):
        return _at(seen, named, (folder / named).resolve())
    if named not in seen.entries and not seen.scanned:
        seen.scanned = True
        for entry in scan(config.rootpath, formats=seen.formats).entries:
            seen.entries.setdefault(entry.name, entry)
    if named not in seen.entries:
        close = difflib.get_close_matches(named, seen.entries, n=1)
        hint = f'; did you mean "{close[0]}"?' if close else "; name it by a path to its folder"
        raise UsageError(f'no entry "{named}" is in the catalog at {config.rootpath}{hint}')
    return seen.entries[named]


def _at(seen: Seen, named: str, path: Path) -> Entry:
    file = path if path.name == FILE_NAME else path / FILE_NAME
    known = next((entry for entry in seen.entries.values() if entry.file == file), None)
    if known is not None:
        return known
    if not file.is_file():
        raise UsageError(f"{named}: {file} is not there; a path leads from the test's folder to an entry's")
    return parse_entry(file, read_bytes(file))
