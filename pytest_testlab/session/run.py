"""One run, from the opening of the store to its closing: what is common to one process and to many."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pluggy

from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.errors import UsageError
from pytest_testlab.moments import Moments
from pytest_testlab.options import Settings
from pytest_testlab.planning.forecast import Forecast
from pytest_testlab.planning.units import Estimates, Unit, Wish, make_units, projected_s
from pytest_testlab.plugins import made
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal, JournalError, JournalFull, read_segment
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.recording.recover import recover
from pytest_testlab.seams import blame
from pytest_testlab.session.provenance import provenance
from pytest_testlab.store.embedded import open_store
from pytest_testlab.store.engine import identity
from pytest_testlab.store.reads import estimates

DRAIN_WITHIN_S = 60.0
WISHES = ("unit", "alone", "first")
"""What a test says of itself to the plan, and not to history."""
RESERVE = 1024 * 1024
"""Bytes of the disk that are kept until it is full, so that a run can still say how it ended."""


class Run:
    """A run of this process: its store, its folder and journal, its pool. Made when a session starts."""

    def __init__(
        self,
        settings: Settings,
        hooks: pluggy.PluginManager,
        *,
        root: Path,
        known_secrets: frozenset[str] = frozenset(),
    ) -> None:
        """Open the store and begin the journal; raises `UsageError` for whatever can't go on."""
        self.settings = settings
        self.hooks = hooks
        self.provider = made(hooks, "provider", settings.provider, settings)
        self.platform_name = settings.platform or self.provider.default_platform
        self.platform = made(hooks, "platform", self.platform_name, settings)
        self.clock = time.monotonic()
        self.moments = Moments.begin()
        self.tests: dict[str, Mapping[str, Any]] = {}
        self.units: list[Unit] = []
        self.results: dict[str, Mapping[str, Any]] = {}
        self.again: dict[str, Mapping[str, Any]] = {}
        """What came of attempts after which the test was to be tried again."""
        self.forecast = Forecast({})
        self.projected_s: float | None = None
        """How long the whole plan was expected to take; None where nothing was known."""
        self.aborted: str | None = None
        """Why the run could not go on: no proven blank target."""
        self.say = ""
        """Why something was left out, or no test was run at all."""
        self.phases: dict[str, float] = {}
        self.slot_changed: Callable[[Slot], None] = lambda slot: None
        self.provenance = provenance(settings, root=root, provider=settings.provider, platform=self.platform_name)
        self.id = self.provenance.run
        self.unrecorded = ""
        """Why the journal can't be written any further; nothing is given out then."""
        self.broke: Callable[[str], None] = lambda say: None
        """Called once, on any thread, when `unrecorded` is set."""
        self.store_changed: Callable[[], None] = lambda: None
        """Called on the recorder's thread when the store went away or came back."""
        self._writing = threading.Lock()
        self.store = open_store(settings)
        try:
            self._open()
        except BaseException:
            self.store.close()
            raise
        shapes = (shape for shapes in hooks.hook.testlab_redactors() for shape in shapes or ())
        self.mask = Redactor(known_secrets, shapes).redact_text
        """Takes secrets out of what others say, before it is written down."""
        self.pool = Pool(
            self.provider,
            run=self.id,
            size=settings.pool,
            image=settings.image,
            changed=self._slot_changed,
            said=self._provider_said,
            now=self.moments.now,
            mask=self.mask,
            trigger=self.provenance.trigger,
        )
        self.phases["start"] = self.elapsed

    def _open(self) -> None:
        """Take in what was left behind, and begin the journal: the last that can go wrong before anything is made."""
        self.recovered = recover(self.store.engine, self.store.home)
        """What killed runs had left on this machine; nobody needs to remember `testlab recover`."""
        self.estimates = self._estimates()
        self.folder = RunFolder.create(self.store.home, self.id)
        try:
            self.folder.take_note_of_store(identity(self.store.engine))
            self.folder.reserve(RESERVE)
            self.journal = self._begin_journal()
        except BaseException:
            self.folder.remove()
            raise
        self.recorder = Recorder(
            self.store.url, self.folder, revive=self.store.revive, changed=lambda: self.store_changed()
        )
        self.recorder.start()

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

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.clock

    @property
    def deadline(self) -> float:
        """The monotonic moment after which no test is given out."""
        return self.clock + self.settings.budget

    @property
    def cost_eur(self) -> float | None:
        """What its servers have cost by now; None where nobody charges anything."""
        return self.pool.costs.total(self.moments.now())

    @property
    def counts(self) -> Counter[str]:
        """Tests by status; whatever has no result was never run."""
        last = self.last
        counts = Counter(str(result["status"]) for result in last.values())
        counts["not_run"] += len(self.tests.keys() - last.keys())
        return +counts

    @property
    def last(self) -> Mapping[str, Mapping[str, Any]]:
        """The last result of each test, also where the try that was to follow never came."""
        return {**self.again, **self.results}

    def note(self, event: Mapping[str, Any], blob: bytes = b"", *, sync: bool = True) -> None:
        """Write to this process's segment of the journal; the pool's threads do so too.

        A full disk is no error here: `unrecorded` says it, and the session ends in order with the room that was kept.
        """
        with self._writing:
            try:
                self.journal.append(event, blob, sync=sync)
                return
            except JournalFull as error:
                say = str(error)
                self.folder.release_reserve()
            with suppress(JournalFull):
                self.journal.append(event, blob, sync=sync)
        self.can_not_record(say)

    def can_not_record(self, say: str) -> None:
        """The journal of this process or of a worker is full: what was finished is kept, and the session must end."""
        if not self.unrecorded:
            self.unrecorded = f"{say}; what was finished before is kept: make room there, then start again"
            self.folder.release_reserve()
            self.broke(self.unrecorded)

    def begin(self, collection: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> list[Unit]:
        """Take down what was collected, begin to provision, and return the units to run.

        Raises `UsageError` when the plan can't be taken down.
        """
        self.phases["collect"] = self.elapsed - self.phases["start"]
        self.tests = {test["test"]: test for test in tests}
        kinds = {name: f"{test['suite']}/{test['stage']}" for name, test in self.tests.items()}
        wishes = {name: Wish(**{key: test[key] for key in WISHES}) for name, test in self.tests.items()}
        self.units = make_units(collection, kinds, self.estimates, wishes)
        self.forecast = Forecast({name: self.estimates.of(name, kind) for name, kind in kinds.items()})
        self.projected_s = projected_s(self.units, self.settings.pool) if self.estimates.by_test else None
        planned = [events.PlannedTest(**{key: test[key] for key in test if key not in WISHES}) for test in tests]
        self.note(events.collected(planned, selection=selection(self.tests), projected_s=self.projected_s))
        if self.unrecorded:
            raise UsageError(self.unrecorded)
        self.pool.start(len(self.units))
        return self.units

    def expected_s(self, test: str) -> float | None:
        """How long a test of the plan took in other runs, or others of its kind; None where there were none."""
        planned = self.tests.get(test)
        kind = f"{planned['suite']}/{planned['stage']}" if planned else ""
        return self.estimates.by_test.get(test, self.estimates.by_kind.get(kind))

    def took(self, result: Mapping[str, Any]) -> None:
        """Count a result; it is on a journal's disk already."""
        if result["again"]:
            self.again[result["test"]] = result
            self.recorder.poke()
            return
        self.results[result["test"]] = result
        self.forecast.took(result["test"])
        self.recorder.poke()

    def recorded(self, writer: str, test: str, attempt: int) -> Mapping[str, Any] | None:
        """What a worker's segment of the journal says of an attempt, if it came that far."""
        for path in self.folder.segments():
            if path.stem.partition("~")[0] == writer:
                with suppress(JournalError):
                    for event, _, _ in read_segment(path, blobs=False):
                        if event["kind"] == "finished" and (event["test"], event["attempt"]) == (test, attempt):
                            return event
        return None

    def finish(self, exit_code: int, state: str) -> list[str]:
        """Give the servers back, close the journal and drain it into the store; returns what went wrong."""
        start = time.monotonic()
        errors = self.pool.close()
        self.provider_close()
        self.phases["teardown"] = time.monotonic() - start
        self.phases.update(self.pool.time_spent())
        self.phases["total"] = self.elapsed
        self.note(
            events.run_finished(
                state=state,
                exit_code=exit_code,
                say=self.aborted or self.unrecorded or self.say,
                finished_at=self.moments.now(),
                phases=self.phases,
                cost_eur=self.cost_eur,
            )
        )
        return errors + self._end_recording(state)

    def _end_recording(self, state: str) -> list[str]:
        try:
            self.journal.close()
        except JournalFull as error:
            self.can_not_record(str(error))
        if self.recorder.close(DRAIN_WITHIN_S):
            self.folder.close()
            return [*self.recorder.problems, *self._tell_plugins(state)]
        return [*self.recorder.problems, self._not_drained()]

    def _tell_plugins(self, state: str) -> list[str]:
        """Returns what went wrong at that: a run that is recorded has ended well, whatever its notifiers do."""
        try:
            self.hooks.hook.testlab_run_finished(run=self.id, state=state, counts=dict(self.counts))
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            return [self.mask(blame("a plugin's testlab_run_finished", error))]
        return []

    def _not_drained(self) -> str:
        """What to say of a run that ended before the store had it all."""
        where = " (with the same --db or TESTLAB_DATABASE_URL)" if self.settings.db else ""
        why = f"the store is away: {self.recorder.away}" if self.recorder.away else "the store has not taken everything"
        kept = f"{self.recorder.waiting or 'some'} events of this run are kept on disk only, in {self.folder.path}"
        return f"{why}; {kept}; the next run takes them in, or type: testlab recover{where}"

    def provider_close(self) -> None:
        """Let a provider that holds something open end it."""
        close = getattr(self.provider, "close", None)
        if close is not None:
            close()

    def release(self) -> None:
        """Let go of the store."""
        self.store.close()

    def _estimates(self) -> Estimates:
        with self.store.engine.connect() as connection:
            by_test = estimates.estimates(connection, provider=self.settings.provider, image=self.settings.image)
            return Estimates(by_test=by_test, by_kind=estimates.priors(connection))

    def _slot_changed(self, slot: Slot, at: dt.datetime) -> None:
        proof = dict(slot.server.proof) if slot.server is not None else {}
        self.note(
            events.target_event(slot=slot.index, name=slot.name, state=slot.state, at=at, say=slot.say, proof=proof),
            sync=slot.state in (SlotState.PROVISIONING, SlotState.LOST),
        )
        self.slot_changed(slot)

    def _provider_said(self, slot: Slot, at: dt.datetime, say: str) -> None:
        self.note(events.provisioning(slot=slot.index, at=at, say=say))


def selection(tests: Mapping[str, Any]) -> str:
    """A digest of which tests were selected, to compare runs of the same selection only."""
    return hashlib.sha256(json.dumps(sorted(tests)).encode()).hexdigest()[:16]
