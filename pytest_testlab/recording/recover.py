"""Brings what a killed run left behind into the store, and closes the run as aborted."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import UsageError
from pytest_testlab.recording import events
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal, JournalError, read_segment
from pytest_testlab.store.engine import one_line

WRITER = "recover"


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A run that was brought home."""

    run: str
    state: str
    """What it was closed as; `empty` when it was killed before it had recorded anything."""
    problems: tuple[str, ...] = ()
    """What could not be carried over; the journal still has it."""


def recover(engine: sa.Engine, home: Path, *, wait_s: float = 0.0) -> list[Recovered]:
    """Drain and close every run below `home` that nobody works on any more; may be repeated, and killed at any point.

    Workers outlive a killed controller by up to 15 s: `wait_s` is how long to wait for them; a run that still has a
    writer then is left for the next time. Raises `UsageError` when the store can't be reached.
    """
    try:
        return [found for folder in _left_behind(home, wait_s) if (found := _bring_home(engine, folder)) is not None]
    except DBAPIError as error:
        raise UsageError(f"the store can't be reached: {one_line(error)}; nothing is lost, try again") from error


def _left_behind(home: Path, wait_s: float) -> Iterator[RunFolder]:
    deadline = time.monotonic() + wait_s
    for folder in RunFolder.all(home):
        if folder.closed or not folder.try_lock():
            continue
        try:
            while folder.has_writers() and time.monotonic() < deadline:
                time.sleep(0.1)
            if not folder.has_writers():
                yield folder
        finally:
            folder.close()


def _bring_home(engine: sa.Engine, folder: RunFolder) -> Recovered | None:
    if folder.closed:
        return None
    kinds = _kinds(folder)
    if "run_started" not in kinds:
        folder.mark_closed()
        return Recovered(run=folder.run, state="empty", problems=_unreadable(folder))
    if "run_finished" not in kinds:
        _write_ending(folder)
    drain = Drain(engine, folder, final=True)
    while drain.events() or drain.bundles():
        pass
    folder.mark_closed()
    return Recovered(run=folder.run, state=_state(engine, folder.run), problems=tuple(drain.problems))


def _kinds(folder: RunFolder) -> set[str]:
    kinds: set[str] = set()
    for path in folder.segments():
        try:
            kinds.update(event["kind"] for event, _, _ in read_segment(path, blobs=False))
        except JournalError:
            continue  # the drain will say so, where it can still be told to somebody
    return kinds


def _unreadable(folder: RunFolder) -> tuple[str, ...]:
    problems = []
    for path in folder.segments():
        try:
            for _ in read_segment(path, final=True, blobs=False):
                pass
        except JournalError as error:
            problems.append(str(error))
    return tuple(problems)


def _write_ending(folder: RunFolder) -> None:
    """Into the journal first, so that it stays the whole truth."""
    last = max((path.stat().st_mtime for path in folder.segments()), default=time.time())
    journal = Journal(folder.path, WRITER)
    journal.append(
        events.run_finished(
            state="aborted",
            exit_code=None,
            finished_at=dt.datetime.fromtimestamp(last, dt.UTC),
            say="the run was killed; what it had recorded was recovered",
        )
    )
    journal.close()


def _state(engine: sa.Engine, run: str) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.text("SELECT state FROM run WHERE name = :run"), {"run": run}))
