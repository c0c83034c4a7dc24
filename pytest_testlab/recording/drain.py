"""Carries a run's journal into the store: in batches, each with the offsets it read to, so that nothing counts twice.

A segment is read twice: once for events, and behind that for bundles, which so never delay a status.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Event, JournalError, OtherVersion, count_records, read_segment
from pytest_testlab.recording.transcript import TOLD, transcript
from pytest_testlab.store import migrate
from pytest_testlab.store.engine import one_line
from pytest_testlab.store.writes.caches import refresh
from pytest_testlab.store.writes.names import Names
from pytest_testlab.store.writes.results import (
    BundleRow,
    put_attempts,
    put_bundles,
    put_offset,
    put_transcript,
    read_offsets,
)
from pytest_testlab.store.writes.runs import RunKey, close_run, find_run, put_plan, put_run, put_starts, put_targets

BATCH = 500
"""Events of one transaction, at most."""
BUNDLES = 200
"""Bundles of one transaction, at most; and no more after BUNDLE_BYTES."""
BUNDLE_BYTES = 4_000_000
MOST_PROBLEMS = 100
"""Kept to be shown; all of them are logged."""
CHANNEL = "testlab_run"
"""What is notified, with the run's name, at most once a second."""

log = logging.getLogger("testlab.recorder")
_SUSPECT = re.compile(rb"\\u(?:0000|d[89a-f])", re.IGNORECASE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(kw_only=True)
class Batch:
    """Events read from segments, and how far each was read."""

    events: list[Event] = field(default_factory=list)
    read_to: dict[str, int] = field(default_factory=dict)


class Drain:
    """One run's journal on its way into the store; one thread uses it."""

    def __init__(self, engine: sa.Engine, folder: RunFolder, *, final: bool = False) -> None:
        self.engine = engine
        self.folder = folder
        self.final = final
        """Nobody writes any more: what can't be read then is lost, and is said aloud."""
        self.problems: list[str] = []
        """What could not be carried over; the journal still has it."""
        self.closed = False
        """The run is closed in the store."""
        self.foreign = False
        """A segment is of another version: the run stays open on disk until a program comes that reads it."""
        self._names = Names()
        self._key: RunKey | None = None
        self._events_to: dict[str, int] = {}
        self._bundles_to: dict[str, int] = {}
        self._ending: Event | None = None
        self._stale_caches = False
        self._broken: set[str] = set()

    def events(self) -> bool:
        """Carry one batch of events over; False when there was nothing to carry.

        Raises SQLAlchemy's `DBAPIError` when the store is away or in no state to take anything, and `NewerSchema`;
        call again later.
        """
        with self._from_the_store_again():
            if self._key is None and not self._begin():
                return False
            batch = self._read()
            if batch.read_to:
                self._write(batch)
                return True
            return self._end()

    def bundles(self) -> bool:
        """Carry some bundles over; False when there was nothing to carry. Raises as `events` does."""
        if self._key is None:
            return False
        with self._from_the_store_again():
            for path in self.folder.segments():
                rows, read_to = self._read_bundles(path)
                if read_to is not None:
                    self._write_bundles(path.name, rows, read_to)
                    return True
            return False

    def waiting(self) -> int:
        """How many events are on disk and not in the store, as far as is known without asking it."""
        return sum(count_records(path, self._events_to.get(path.name, 0)) for path in self.folder.segments())

    @contextmanager
    def _from_the_store_again(self) -> Iterator[None]:
        """After an error, believe only what the store says it has: it may come back as an earlier one, or empty."""
        try:
            yield
        except (DBAPIError, migrate.NewerSchema):
            self._forget()
            raise

    def _forget(self) -> None:
        self._names.forget()
        self._key = None

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            migrate.keep_schema(connection)
            yield connection

    def notify(self) -> None:
        """Tell listeners that this run has news."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.text("SELECT pg_notify(:channel, :run)"), {"channel": CHANNEL, "run": self.folder.run}
            )

    # --- events ------------------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Find or make the run's row. Nothing is carried over before the event that starts the run."""
        first = self._first_event()
        if first is None:
            return False
        with self._transaction() as connection:
            key = put_run(connection, first)
            offsets = read_offsets(connection, key)
            state = connection.scalar(sa.text("SELECT state FROM run WHERE id = :run"), {"run": key.run_id})
            self.closed = state != "running"
        self._events_to = {segment: events_to for segment, (events_to, _) in offsets.items()}
        self._bundles_to = {segment: bundles_to for segment, (_, bundles_to) in offsets.items()}
        self._key = key
        return True

    def _first_event(self) -> Event | None:
        for path in self.folder.segments():
            event, _, _ = next(self._records(path, 0, blobs=False), ({}, b"", 0))
            if event.get("kind") == "run_started":
                return event
        return None

    def _read(self) -> Batch:
        batch = Batch()
        for path in self.folder.segments():
            at = self._events_to.get(path.name, 0)
            for event, _, next_offset in self._records(path, at, blobs=False):
                if len(batch.events) >= BATCH:
                    return batch
                if event["kind"] == "run_finished":
                    self._ending = self._ending or event
                batch.events.append(event)
                batch.read_to[path.name] = next_offset
        return batch

    def _records(self, path: Path, at: int, *, blobs: bool) -> Iterator[tuple[Event, bytes, int]]:
        """The records of a segment; one that is broken is read up to there, and said aloud once."""
        try:
            yield from read_segment(path, at, final=self.final, blobs=blobs, load=_storable)
        except JournalError as error:
            self.foreign = self.foreign or isinstance(error, OtherVersion)
            if path.name not in self._broken:
                self._broken.add(path.name)
                self._complain(str(error))

    def _write(self, batch: Batch) -> None:
        try:
            self._put(batch.events, batch.read_to)
        except (DBAPIError, LookupError, TypeError, ValueError) as error:
            if not _is_about_the_event(error) or self._run_is_gone():
                raise
            # One event that the store can't take must not hold up all the others: each by itself, then.
            self._names.forget()
            if len(batch.events) > 1:
                for event in batch.events:
                    self._write(Batch(events=[event]))
            elif batch.events:
                event = batch.events[0]
                say = one_line(error)
                self._complain(f"the store refused an event ({event['kind']} {event.get('test', '')}): {say}")
            self._put([], batch.read_to)
        self._events_to.update(batch.read_to)

    def _run_is_gone(self) -> bool:
        """Whether somebody took the run out of the store, as a restored backup does; then nothing of it can be put."""
        with self.engine.connect() as connection:
            return find_run(connection, self.folder.run) != self._key

    def _put(self, events: list[Event], read_to: dict[str, int]) -> None:
        assert self._key is not None
        of: dict[str, list[Any]] = {}
        for event in events:
            of.setdefault(event["kind"], []).append(event)
        with self._transaction() as connection:
            for plan in of.get("collected", ()):
                put_plan(connection, self._key, plan, self._names)
            put_targets(connection, self._key, of.get("target", ()))
            put_starts(connection, self._key, of.get("started", ()), self._names)
            put_attempts(connection, self._key, of.get("finished", ()), self._names)
            for segment, offset in read_to.items():
                put_offset(connection, self._key, segment, events_to=offset)
        self._stale_caches = self._stale_caches or (self.closed and "finished" in of)

    def _end(self) -> bool:
        """Close the run once every segment is read; True when it was closed now, or its caches were mended."""
        assert self._key is not None
        if not self.closed and self._ending is None:
            self._ending = self._find_ending()
        if not self.closed and self._ending is not None:
            told = transcript(self._told())
            with self._transaction() as connection:
                if told.text:
                    put_transcript(connection, self._key, *events.pack_bundle([told]))
                close_run(connection, self._key, self._ending)
            self.closed = True
            return True
        if self._stale_caches:
            with self._transaction() as connection:
                refresh(connection, self._key.run_id, self._key.lane_id)
            self._stale_caches = False
            return True
        return False

    def _told(self) -> Iterator[Event]:
        """What was said of targets; of every segment, from its beginning."""
        for path in self.folder.segments():
            for event, _, _ in self._records(path, 0, blobs=False):
                if event["kind"] in TOLD:
                    yield event

    def _find_ending(self) -> Event | None:
        """The end of the run, if an earlier drain read it and was killed before it closed the run."""
        if not self.final:
            return None
        for path in self.folder.segments():
            for event, _, _ in self._records(path, 0, blobs=False):
                if event["kind"] == "run_finished":
                    return event
        return None

    # --- bundles -----------------------------------------------------------------------------------------------------

    def _read_bundles(self, path: Path) -> tuple[list[BundleRow], int | None]:
        """Some bundles of a segment, from where its events are in the store already."""
        at, limit = self._bundles_to.get(path.name, 0), self._events_to.get(path.name, 0)
        rows: list[BundleRow] = []
        read_to, held = None, 0
        if at >= limit:
            return rows, None
        for event, blob, next_offset in self._records(path, at, blobs=True):
            if next_offset > limit:
                break
            read_to = next_offset
            if event["kind"] == "finished" and (blob or event.get("manifest")):
                about = {"test": event["test"], "attempt": event["attempt"], "manifest": event.get("manifest", [])}
                rows.append(BundleRow(**about, data=blob))
                held += len(blob)
            if len(rows) >= BUNDLES or held >= BUNDLE_BYTES:
                break
        return rows, read_to

    def _write_bundles(self, segment: str, rows: list[BundleRow], read_to: int) -> None:
        assert self._key is not None
        try:
            with self._transaction() as connection:
                put_bundles(connection, self._key, rows, self._names)
                put_offset(connection, self._key, segment, bundles_to=read_to)
        except DBAPIError as error:
            if not _is_about_the_event(error) or self._run_is_gone():
                raise
            self._names.forget()
            if len(rows) > 1:
                for row in rows:
                    self._write_bundles(segment, [row], 0)
            elif rows:
                self._complain(f"the store refused the bundle of {rows[0].test}: {one_line(error)}")
            self._write_bundles(segment, [], read_to)
        self._bundles_to[segment] = max(read_to, self._bundles_to.get(segment, 0))

    def _complain(self, say: str) -> None:
        if say not in self.problems and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(say)
        log.error("run %s: %s", self.folder.run, say)


def _is_about_the_event(error: Exception) -> bool:
    """Whether another event could fare better: its values are refused (SQLSTATE 22, 23, 54), or can't even be sent."""
    if not isinstance(error, DBAPIError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return not isinstance(error, OperationalError | InterfaceError)
    return str(state)[:2] in {"22", "23", "54"}


def _storable(payload: bytes) -> Event:
    """An event without what PostgreSQL can't hold in a text: NUL, and halves of a character.

    A journal is ASCII, so its bytes tell at once whether there can be any: to look into every text of it takes longer
    than all the rest.
    """
    event: Event = json.loads(payload)
    return _clean(event) if _SUSPECT.search(payload) else event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_clean(part) for part in value]
    return value
