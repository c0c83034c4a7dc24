"""Finds the entries of a catalog outside pytest, and keeps their names unique inside it and out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.catalog.formats import ALONE, Formats
from pytest_testlab.catalog.locate import key_lines, nearest_line
from pytest_testlab.catalog.read import FILE_NAME, check_place, read_bytes
from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.model import Entry

SKIPPED_FOLDERS = frozenset({"node_modules", "venv", "__pycache__"})
"""Besides those that begin with a dot, and virtual environments by any name."""
MOST_FOLDERS = 100_000
"""Folders of a catalog that are looked through; a link into the machine's own file system leads to more."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What was found below some folders."""

    entries: tuple[Entry, ...]
    """Well-formed, by path; of two with one name, the first."""
    problems: tuple[Problem, ...]
    """All that is wrong, in the order of the files."""
    digest: str
    """SHA-256 over each file's path below its root and its content, in hexadecimal; two equal catalogs have one."""

    def require_sound(self) -> None:
        """Raise `CatalogError` if anything is wrong."""
        if self.problems:
            raise CatalogError(self.problems)


class NameRegistry:
    """Who has which name; takes files one at a time."""

    def __init__(self) -> None:
        self._owners: dict[str, Path] = {}

    def claim(self, name: str, file: Path, *, key: str = "", line: int | None = None) -> None:
        """Give a name to a file, which may ask twice; raises `CatalogError` when another file has it.

        `key` and `line` are where the file says it, and are looked for in a testlab.toml.
        """
        owner = self._owners.setdefault(name, file)
        if owner != file:
            say = f'"{name}" is already the name of {_shown(owner)}; names are unique in a catalog'
            known = Problem(file=file, key=key, line=line, message=say)
            raise CatalogError([known if key else _problem_of_name(file, say)])


def scan(*roots: Path, formats: Formats = ALONE) -> Catalog:
    """Read every entry at or below `roots`. Never raises for a bad file or folder: see `Catalog.problems`.

    Tutorials are no entries.
    """
    digest = hashlib.sha256()
    names = NameRegistry()
    entries: list[Entry] = []
    problems: list[Problem] = []
    for root, file in _files(roots, problems, formats):
        if file.suffix == ".md":
            continue
        try:
            data = read_bytes(file)
            for part in (os.fsencode(file.relative_to(root)), data):
                digest.update(len(part).to_bytes(8))
                digest.update(part)
            check_place(file, str(file.relative_to(root)))
            entry = formats.read(file, data, str(file.relative_to(root)))
            names.claim(entry.name, file)
            entries.append(entry)
        except CatalogError as error:
            problems += error.problems
    return Catalog(entries=tuple(entries), problems=tuple(problems), digest=digest.hexdigest())


def _files(roots: tuple[Path, ...], problems: list[Problem], formats: Formats) -> Iterator[tuple[Path, Path]]:
    """(root, an entry's file), each file once, in the order of their paths."""
    seen: set[tuple[int, int]] = set()
    for root in map(Path.absolute, roots):
        if root.name == FILE_NAME and root.is_file():
            yield root.parent, root
        elif not root.is_dir():
            problems.append(Problem(file=root, message="doesn't exist" if not root.exists() else "is not a folder"))
        else:
            for file in files_below(root, seen, problems, formats):
                yield root, file


def files_below(
    top: Path, seen: set[tuple[int, int]], problems: list[Problem], formats: Formats = ALONE
) -> Iterator[Path]:
    """Every entry's file, whatever it is, at or below a folder; a folder that links lead to again isn't entered twice.

    What can't be read is added to `problems`.
    """
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            facts = folder.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            if len(seen) > MOST_FOLDERS:
                problems.append(too_many_folders(folder))
                return
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: item.name, reverse=True)
        except OSError as error:
            problems.append(Problem(file=folder, message=f"can't be read: {error.strerror or error}"))
            continue
        names = {item.name for item in items}
        if formats.passes_over(names):
            continue
        if (file := formats.entry_file(folder, names)) is not None:
            yield file
        if folder == top or not any(item.name == "pyvenv.cfg" for item in items):
            pending += (folder / item.name for item in items if _is_searched(item) and not leads_up(item))


def leads_up(item: os.DirEntry[str]) -> bool:
    """Whether this is a link to a folder that it is in itself, near or far: whatever is there is found without it."""
    if not item.is_symlink():
        return False
    there = os.path.realpath(item.path)
    return f"{os.path.realpath(item.path.rpartition('/')[0])}/".startswith(f"{there.rstrip('/')}/")


def too_many_folders(folder: Path) -> Problem:
    """What is said where the bound on folders is reached."""
    say = f"more than {MOST_FOLDERS} folders up to here; does a link lead out of the catalog?"
    return Problem(file=folder, message=say)


def _is_searched(item: os.DirEntry[str]) -> bool:
    if item.name in SKIPPED_FOLDERS or item.name.startswith(".") or item.name == FILE_NAME:
        return False
    try:
        return item.is_dir()
    except OSError:  # a link to itself is no folder
        return False


def _problem_of_name(file: Path, say: str) -> Problem:
    try:
        lines = key_lines(read_bytes(file).decode(errors="replace"))
    except CatalogError:  # changed since it was read: the line is lost, the fault is not
        return Problem(file=file, message=say)
    table = "demo" if ("demo", "name") in lines else "app"
    return Problem(file=file, key=f"{table}.name", line=nearest_line(lines, (table, "name")), message=say)


def _shown(file: Path) -> str:
    return str(Problem(file=file, message=""))
