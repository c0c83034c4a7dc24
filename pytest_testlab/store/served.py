"""Who serves a lab's pages, and where: each server leaves a note below the lab's home, named by its port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_NOTES = "address-*"


@contextmanager
def noted(home: Path, port: int, origin: str) -> Iterator[None]:
    """Leave a note for as long as this process serves on a port; those of servers that were killed go."""
    for left in _folder(home).glob(_NOTES):
        if _living(left) is None:
            left.unlink(missing_ok=True)
    note, mine = _note(home, port), f"{os.getpid()} {origin}\n"
    aside = note.with_name(f".{note.name}-{os.getpid()}")
    aside.write_text(mine, encoding="utf-8")
    aside.replace(note)
    try:
        yield
    finally:
        with suppress(OSError):
            if note.read_text(encoding="utf-8") == mine:
                note.unlink()


def served_on(home: Path, port: int) -> str | None:
    """The address of this lab's server on a port; None where none runs."""
    return _living(_note(home, port))


def served_at(home: Path) -> str | None:
    """The address of this lab's server that started last, of those that run; None where none does."""
    found = [(_age(note), note.name, origin) for note in _folder(home).glob(_NOTES) if (origin := _living(note))]
    return min(found)[2] if found else None


def _folder(home: Path) -> Path:
    return home / "server"


def _note(home: Path, port: int) -> Path:
    return _folder(home) / f"address-{port}"


def _living(note: Path) -> str | None:
    """The address in a note whose process is still there."""
    try:
        pid, origin = note.read_text(encoding="utf-8").split()
        return origin if psutil.pid_exists(int(pid)) else None
    except (OSError, ValueError, OverflowError):
        return None


def _age(note: Path) -> float:
    """The less, the younger."""
    try:
        return -note.stat().st_mtime
    except OSError:
        return 0.0
