"""What a session records of one image: a run of its own, with a folder, a journal, and a recorder for the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

from pytest_testlab.errors import UsageError
from pytest_testlab.model import Provenance
from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal, JournalError, JournalFull, read_segment
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.engine import identity

DRAIN_WITHIN_S = 60.0
RESERVE = 1024 * 1024
"""Bytes of the disk that are kept until it is full, so that a run can still say how it ended."""


class Book:
    """One run of a session. Nothing is carried into the store before `open`."""

    def __init__(
        self, provenance: Provenance, store: StoreHandle, *, image: str, changed: Callable[[], object]
    ) -> None:
        """Make the folder and begin the journal; raises `UsageError` where there is no room for them.

        `image` is the one that was asked for, "" where none was; the provenance may know better. `changed` is called on
        the recorder's thread when the store went away or came back.
        """
        self.provenance = provenance
        self.id = provenance.run
        self.image = image
        self.in_store = False
        """Whether the store has all of it; once it is closed."""
        self._by_address = store.embedded is None
        self.folder = RunFolder.create(store.home, self.id)
        try:
            self.folder.take_note_of_store(identity(store.engine))
            self.folder.reserve(RESERVE)
            self.journal = self._begin_journal()
        except BaseException:
            self.folder.remove()
            raise
        self.recorder = Recorder(store.url, self.folder, revive=store.revive, changed=changed)

    def _begin_journal(self) -> Journal:
        """The first event stands in a segment of its own as well: without it nothing of a run can be taken in."""
        event = events.run_started(self.provenance)
        try:
            with closing(Journal(self.folder.path, "begin")) as beginning:
                beginning.append(event)
            journal = Journal(self.folder.path, "controller")
            journal.append(event)
        except JournalFull as error:
            raise UsageError(f"no run can be recorded: {error}; make room there, or set TESTLAB_HOME") from error
        return journal

    def open(self) -> None:
        """Begin to carry it into the store."""
        self.recorder.start()

    def tear_up(self) -> None:
        """Take back what was made of a book that was never opened."""
        with suppress(JournalFull):
            self.journal.close()
        self.folder.remove()

    def recorded(self, writer: str, row: str, attempt: int) -> Mapping[str, Any] | None:
        """What a worker's segment of the journal says of an attempt, if it came that far."""
        for path in self.folder.segments():
            if path.stem.partition("~")[0] == writer:
                with suppress(JournalError):
                    for event, _, _ in read_segment(path, blobs=False):
                        if event["kind"] == "finished" and (event["test"], event["attempt"]) == (row, attempt):
                            return event
        return None

    def close(self) -> list[str]:
        """Carry over what is left; returns what went wrong. The journal is closed before."""
        self.in_store = self.recorder.close(DRAIN_WITHIN_S)
        if self.in_store:
            self.folder.close()
            return list(self.recorder.problems)
        return [*self.recorder.problems, self._not_drained()]

    def _not_drained(self) -> str:
        """What to say of a run that ended before the store had it all."""
        where = " (with the same --db or TESTLAB_DATABASE_URL)" if self._by_address else ""
        why = f"the store is away: {self.recorder.away}" if self.recorder.away else "the store has not taken everything"
        kept = f"{self.recorder.waiting or 'some'} events of this run are kept on disk only, in {self.folder.path}"
        return f"{why}; {kept}; the next run takes them in, or type: testlab recover{where}"
