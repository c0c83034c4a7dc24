"""Brings what a killed run left behind into the store, and closes the run as aborted."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import UsageError
from pytest_testlab.money import billed
from pytest_testlab.recording import events
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Event, Journal, JournalError, JournalFull, OtherVersion, read_segment
from pytest_testlab.store import migrate
from pytest_testlab.store.engine import identity, one_line
from pytest_testlab.store.reads import leases

WRITER = "recover"


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A run that was brought home."""

    run: str
    state: str
    """What it was closed as; `empty` when it was killed before it had recorded anything, `unreadable` when not even
    its beginning can be read; `kept` when it waits for another version of this program, `elsewhere` for its store."""
    problems: tuple[str, ...] = ()
    """What could not be carried over; the journal still has it."""
    provider: str = ""
    """Who made its servers."""
    left: tuple[str, ...] = ()
    """What it had begun to make and not given back, by the names that were intended."""
    of_run: str = ""
    """What the label `run` says there: of a session with several images it made everything under one name."""

    def lines(self) -> list[str]:
        """What there is to say of it, for people."""
        return [f"the run {self.run} {_SAY.get(self.state, _WAS_WHOLE)}", *(f"  {say}" for say in self.problems)]


_WAS_WHOLE = "had not reached the store whole; now it has"
_SAY = {
    "aborted": "was left by a session that was killed or broke off; what it had recorded is kept, and it is closed now",
    "empty": "was left by a session that was killed before it had recorded anything",
    "unreadable": "can't be taken into the store: its beginning can't be read; its files are kept",
    "elsewhere": "was begun in another store, and waits on disk for it",
    "kept": "was taken into the store as far as this version can read it; the rest waits on disk for the other version",
}


def recover(engine: sa.Engine, home: Path, *, wait_s: float = 0.0) -> list[Recovered]:
    """Drain and close every run below `home` that nobody works on any more; may be repeated, and killed at any point.

    Workers outlive a killed controller by up to 15 s: `wait_s` is how long to wait for them; a run that still has a
    writer then is left for the next time. Raises `UsageError` when the store can't be reached.
    """
    try:
        left = _left_behind(home, wait_s)
        where = identity(engine)
        return [found for folder in left if (found := _bring_home(engine, where, folder)) is not None]
    except DBAPIError as error:
        raise UsageError(f"the store can't take what is left: {one_line(error)}; nothing is lost, try again") from error
    except JournalFull as error:
        raise UsageError(f"{error}; make room there, and type: testlab recover") from error


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


def _bring_home(engine: sa.Engine, where: str, folder: RunFolder) -> Recovered | None:
    if folder.closed:
        return None
    if not folder.belongs_to(where):
        return Recovered(run=folder.run, state="elsewhere", problems=(_elsewhere(folder),))
    found = _look(folder)
    if "run_started" not in found.kinds:
        if not found.foreign:
            folder.mark_closed()
        state = "kept" if found.foreign else "unreadable" if found.problems else "empty"
        return Recovered(run=folder.run, state=state, problems=found.problems, **found.made)
    if "run_finished" not in found.kinds:
        _write_ending(folder, found.last, _cost_eur(engine, found))
    drain = Drain(engine, folder, final=True)
    while drain.events() or drain.bundles():
        pass
    if drain.foreign:
        return Recovered(run=folder.run, state="kept", problems=tuple(drain.problems), **found.made)
    folder.mark_closed()
    state = _state(engine, folder.run)
    return Recovered(run=folder.run, state=state, problems=tuple(drain.problems), **found.made)


def _elsewhere(folder: RunFolder) -> str:
    return (
        "give `testlab recover` that store with --db or TESTLAB_DATABASE_URL; if this one has taken its place, remove "
        f"{folder.path / 'store'} first"
    )


_LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(kw_only=True)
class _Look:
    """What there is in a run's segments."""

    kinds: set[str] = field(default_factory=set)
    foreign: bool = False
    """Another version of the program wrote some of it."""
    provider: str = ""
    of_run: str = ""
    left: dict[int, str] = field(default_factory=dict)
    """Slot → the name of what it may still have."""
    names: set[str] = field(default_factory=set)
    """All servers that it had."""
    problems: tuple[str, ...] = ()
    last: dt.datetime = _LONG_AGO
    """The last moment of which it tells; what files say of their own age is as wrong as the machine's clock."""

    @property
    def made(self) -> dict[str, Any]:
        """What there may still be of it, and whose."""
        return {"provider": self.provider, "of_run": self.of_run, "left": tuple(self.left.values())}

    def take(self, event: Event) -> None:
        self.kinds.add(event["kind"])
        if event["kind"] == "intent":
            self.provider, self.of_run, self.left[event["slot"]] = event["provider"], event["run"], event["name"]
        elif event["kind"] == "target" and event["state"] == "gone":
            self.left.pop(event["slot"], None)
        if event["kind"] == "target":
            self.names.add(event["name"])
        for moment in (event.get("at"), event.get("started_at"), event.get("finished_at")):
            if moment:
                lasted = dt.timedelta(milliseconds=event.get("duration_ms") or 0)
                self.last = max(self.last, dt.datetime.fromisoformat(moment) + lasted)


def _look(folder: RunFolder) -> _Look:
    look = _Look()
    for path in folder.segments():
        try:
            for event, _, _ in read_segment(path, final=True, blobs=False):
                look.take(event)
        except JournalError as error:
            look.foreign = look.foreign or isinstance(error, OtherVersion)
            look.problems += (str(error),)
    return look


STOOD = dt.timedelta(hours=1)
"""How long a server stands at most after the last sign of life of its run: then it has expired."""


def _cost_eur(engine: sa.Engine, look: _Look) -> float | None:
    """What a killed run's servers cost: each until it was given back, else until now, or until it had expired.

    As far as the store knows them by their leases; None where nobody charged anything.
    """
    with engine.connect() as connection:
        migrate.keep_schema(connection)
        now = connection.execute(sa.text("SELECT now()")).scalar_one().astimezone(dt.UTC)
        had = [lease for lease in leases.of_run(connection, look.of_run) if lease.server in look.names]
    ends = {
        lease.key: min(now, lease.heartbeat_at + STOOD) if lease.state == "held" else lease.heartbeat_at
        for lease in had
    }
    bills = [billed(lease.eur_per_hour, lease.made_at, ends[lease.key]) for lease in had]
    paid = [bill for bill in bills if bill is not None]
    return sum(paid) if paid else None


def _write_ending(folder: RunFolder, last: dt.datetime, cost_eur: float | None) -> None:
    """Into the journal first, so that it stays the whole truth; at the last moment that is in it."""
    with closing(Journal(folder.path, WRITER)) as journal:
        journal.append(
            events.run_finished(
                state="aborted",
                exit_code=None,
                finished_at=last,
                say="the run was killed; what it had recorded was recovered",
                cost_eur=cost_eur,
            )
        )


def _state(engine: sa.Engine, run: str) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.text("SELECT state FROM run WHERE name = :run"), {"run": run}))
