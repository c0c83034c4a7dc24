"""One session, from the opening of the store to its closing: what is common to one process and to many.

It is one run, or as many as there are images: each has a book of its own, and all of them share pool and budget.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pluggy

from pytest_testlab.catalog.install import NODE_ID
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import Provenance, ServerRequest
from pytest_testlab.moments import Moments
from pytest_testlab.options import Settings
from pytest_testlab.planning.forecast import Forecast
from pytest_testlab.planning.images import apportion, at_home, loads, projected_on_images_s
from pytest_testlab.planning.units import Estimates, Unit, Wish, make_units
from pytest_testlab.plugins import made
from pytest_testlab.pool.golden import CanFreeze, Golden, Known
from pytest_testlab.pool.keeping import Keeping
from pytest_testlab.pool.kept import load, unknown_kept
from pytest_testlab.pool.leases import Leases
from pytest_testlab.pool.onserver import OnServer
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.pool.upkeep import Upkeep
from pytest_testlab.protocols import Provider
from pytest_testlab.recording import events
from pytest_testlab.recording.journal import JournalFull
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.recording.recover import recover
from pytest_testlab.seams import blame
from pytest_testlab.session.book import Book
from pytest_testlab.session.provenance import provenances
from pytest_testlab.store.embedded import open_store
from pytest_testlab.store.home import home
from pytest_testlab.store.reads import estimates

WISHES = ("unit", "image", "alone", "first")
"""What a test says of itself to the plan, and not to history."""
OWN = (*WISHES, "test", "row", "suffix")
"""What history has no column for, or knows by another name."""


class Run:
    """A session of this process: its store, its books, its pool. Made when it starts."""

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
        self.provider = _provider(settings, hooks)
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
        self._default_image = str(getattr(self.provider, "default_image", ""))
        origins = provenances(
            settings,
            root=root,
            provider=settings.provider,
            platform=self.platform_name,
            default_image=self._default_image,
        )
        self.provenance = origins[0]
        self.id = self.provenance.run
        """The name of its first run, which all that the session makes is labelled with."""
        keeping = self._keeping()
        self.unrecorded = ""
        """Why the journal can't be written any further; nothing is given out then."""
        self.broke: Callable[[str], None] = lambda say: None
        """Called once, on any thread, when `unrecorded` is set."""
        self.store_changed: Callable[[], None] = lambda: None
        """Called on the recorder's thread when the store went away or came back."""
        self._writing = threading.Lock()
        self.store = open_store(settings)
        try:
            self._open(origins)
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
            image=settings.images[0],
            changed=self._slot_changed,
            said=self._provider_said,
            now=self.moments.now,
            mask=self.mask,
            trigger=self.provenance.trigger,
            intends=self._intends,
            leases=Leases(
                self.store.url,
                run=self.id,
                trigger=self.provenance.trigger,
                fenced=lambda lease, why: self.pool.fence(lease, why),
            ),
            upkeep=Upkeep(
                self.provider,
                self.id,
                dead={left.of_run or left.run for left in self.recovered},
                told=self._upkeep_told,
                prolong=(lambda: None) if keeping is None else keeping.prolong,
            ),
            golden=self._golden(),
            keeping=keeping,
        )
        self.phases["start"] = self.elapsed

    def _keeping(self) -> Keeping | None:
        """What is to outlive the run; raises `UsageError` where the provider has nothing that can."""
        if self.settings.keep == "no":
            return None
        return Keeping(
            self.provider,
            mode=self.settings.keep,
            seconds=self.settings.keep_for,
            run=self.id,
            platform=self.platform_name,
            home=home(self.settings),
        )

    def _open(self, origins: Sequence[Provenance]) -> None:
        """Take in what was left behind, and begin the journals: the last that can go wrong before anything is made."""
        self.recovered = recover(self.store.engine, self.store.home)
        """What killed runs had left on this machine; nobody needs to remember `testlab recover`."""
        self.estimates = self._estimates()
        self.books: list[Book] = []
        try:
            for origin, image in zip(origins, self.settings.images, strict=True):
                first = not self.books
                changed: Callable[[], object] = (lambda: self.store_changed()) if first else (lambda: None)
                self.books.append(Book(origin, self.store, image=image, changed=changed))
        except BaseException:
            for book in self.books:
                book.tear_up()
            raise
        self.folder = self.books[0].folder
        for book in self.books:
            book.open()

    def _golden(self) -> Golden | None:
        """The golden snapshots, where they are wanted and both the provider and the platform can have them."""
        if (
            self.settings.golden == "no"
            or not isinstance(self.provider, CanFreeze)
            or not isinstance(self.platform, Known)
        ):
            return None
        return Golden(
            self.provider,
            self.platform,
            run=self.id,
            always=self.settings.golden == "always",
            trusts=self.settings.mode != "nightly",
            install_s=lambda image: self._estimated.get(image, {}).get(NODE_ID),
            now=self.moments.now,
        )

    def book(self, image: str) -> Book:
        """That of an image; what belongs to none is kept in the first."""
        return next((book for book in self.books if book.image == image), self.books[0])

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.clock

    @property
    def deadline(self) -> float:
        """The monotonic moment after which no test is given out."""
        return self.clock + self.settings.budget

    @property
    def to_give_back(self) -> int:
        """How many servers stand that neither outlive the run nor were there before it."""
        settings = self.settings
        if settings.on is not None or settings.keep == "always":
            return 0
        ended = (SlotState.GONE, SlotState.KEPT)
        standing = [slot for slot in self.pool.slots if slot.server is not None and slot.state not in ended]
        return sum(not (slot.failed and settings.keep == "failed") for slot in standing)

    @property
    def recorder(self) -> Recorder:
        """That of its first run; they all carry into one store."""
        return self.books[0].recorder

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

    def note(self, event: Mapping[str, Any], blob: bytes = b"", *, sync: bool = True, book: Book | None = None) -> None:
        """Write to this process's segment of a journal; the pool's threads do so too.

        The journal is that of the event's test, or else of its slot. A full disk is no error here: `unrecorded` says
        it, and the session ends in order with the room that was kept.
        """
        book, event = (book, event) if book is not None else self._filed(event)
        with self._writing:
            try:
                book.journal.append(event, blob, sync=sync)
                return
            except JournalFull as error:
                say = str(error)
                self._release_reserves()
            with suppress(JournalFull):
                book.journal.append(event, blob, sync=sync)
        self.can_not_record(say)

    def _filed(self, event: Mapping[str, Any]) -> tuple[Book, Mapping[str, Any]]:
        """The book that an event goes into, and the event as it stands there: by the name of its test's history."""
        known = self.tests.get(event.get("test", ""))
        if known is not None:
            return self.book(known["image"]), {**event, "test": known["row"]}
        slot = event.get("slot")
        return self.book("" if slot is None else self.pool.slots[slot].image), event

    def _release_reserves(self) -> None:
        for book in self.books:
            book.folder.release_reserve()

    def can_not_record(self, say: str) -> None:
        """The journal of this process or of a worker is full: what was finished is kept, and the session must end."""
        if not self.unrecorded:
            self.unrecorded = f"{say}; what was finished before is kept: make room there, then start again"
            self._release_reserves()
            self.broke(self.unrecorded)

    def begin(self, collection: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> list[Unit]:
        """Take down what was collected, begin to provision, and return the units to run.

        Raises `UsageError` when the plan can't be taken down.
        """
        self.phases["collect"] = self.elapsed - self.phases["start"]
        self.tests = {test["test"]: test for test in tests}
        images = self.settings.images
        kinds = {name: f"{test['suite']}/{test['stage']}" for name, test in self.tests.items()}
        wishes = {name: Wish(**{key: test[key] for key in WISHES}) for name, test in self.tests.items()}
        self.estimates = self._by_id()
        self.units = at_home(make_units(collection, kinds, self.estimates, wishes), images)
        if self.estimates.by_test:
            self.projected_s = projected_on_images_s(self.units, images, self.settings.pool)
        expected = {name: self.estimates.of(name, kind) for name, kind in kinds.items()}
        self.forecast = Forecast(expected, self.projected_s)
        for book in self.books:
            self._note_plan(book)
        if self.unrecorded:
            raise UsageError(self.unrecorded)
        self.pool.start(len(self.units), apportion(loads(self.units, images), self.settings.pool))
        return self.units

    def _note_plan(self, book: Book) -> None:
        own = [test for test in self.tests.values() if test["image"] == book.image]
        planned = [
            events.PlannedTest(test=test["row"], **{key: test[key] for key in test if key not in OWN}) for test in own
        ]
        selected = selection({test["row"]: test for test in own})
        self.note(events.collected(planned, selection=selected, projected_s=self.projected_s), book=book)

    def _by_id(self) -> Estimates:
        """The estimates by the ids that tests have in this session, each for its own image."""
        found = {
            name: self._estimated[test["image"]][test["row"]]
            for name, test in self.tests.items()
            if test["row"] in self._estimated[test["image"]]
        }
        return Estimates(by_test=found, by_kind=self.estimates.by_kind)

    def too_few(self) -> str:
        """Why the run is given up: fewer targets than its minimum can still be had, with the reasons; "" while not."""
        wanted = min(self.settings.min_pool, len(self.units))
        left = self.pool.within_reach
        if left >= wanted:
            return ""
        reasons = "; ".join(self.pool.reasons)
        return f"{left} of {self.settings.pool} targets can be had, and --testlab-min-pool is {wanted}: {reasons}"

    def expected_s(self, test: str) -> float | None:
        """How long a test of the plan took in other runs, or others of its kind; None where there were none."""
        planned = self.tests.get(test)
        kind = f"{planned['suite']}/{planned['stage']}" if planned else ""
        return self.estimates.by_test.get(test, self.estimates.by_kind.get(kind))

    def took(self, result: Mapping[str, Any]) -> None:
        """Count a result; it is on a journal's disk already."""
        if result["again"]:
            self.again[result["test"]] = result
            self.results.pop(result["test"], None)  # what was said before its target was known to be another's
        else:
            self.results[result["test"]] = result
            self.forecast.took(result["test"])
        self._book_of(result["test"]).recorder.poke()

    def recorded(self, writer: str, test: str, attempt: int) -> Mapping[str, Any] | None:
        """What a worker's segment of the journal says of an attempt, if it came that far."""
        row = self.tests[test]["row"] if test in self.tests else test
        return self._book_of(test).recorded(writer, row, attempt)

    def _book_of(self, test: str) -> Book:
        return self.book(self.tests[test]["image"] if test in self.tests else "")

    def counts_of(self, book: Book) -> Counter[str]:
        """As `counts`, of one image."""
        last = self.last
        own = [name for name, test in self.tests.items() if test["image"] == book.image]
        return Counter(str(last[name]["status"]) if name in last else "not_run" for name in own)

    def finish(self, exit_code: int, state: str) -> list[str]:
        """Give the servers back, close the journal and drain it into the store; returns what went wrong."""
        start = time.monotonic()
        errors = self.pool.close()
        self.provider_close()
        self.phases["teardown"] = time.monotonic() - start
        self.phases["total"] = self.elapsed
        for book in self.books:
            self._note_end(book, exit_code, state)
        self.phases.update(self.pool.time_spent())
        for book in self.books:
            errors += self._end_recording(book, state)
        return errors

    def _note_end(self, book: Book, exit_code: int, state: str) -> None:
        """What an image's servers took and cost is told of its own run, and the rest of all of them."""
        one = len(self.books) == 1
        self.note(
            events.run_finished(
                state=state,
                exit_code=exit_code,
                say=self.aborted or self.unrecorded or self.say,
                finished_at=self.moments.now(),
                phases={**self.phases, **self.pool.time_spent(None if one else book.image)},
                cost_eur=self.cost_eur if one else self.pool.costs.total(self.moments.now(), book.image),
            ),
            book=book,
        )

    def _end_recording(self, book: Book, state: str) -> list[str]:
        try:
            book.journal.close()
        except JournalFull as error:
            self.can_not_record(str(error))
        errors = book.close()
        return [*errors, *self._tell_plugins(book, state)] if book.in_store else errors

    def _tell_plugins(self, book: Book, state: str) -> list[str]:
        """Returns what went wrong at that: a run that is recorded has ended well, whatever its notifiers do."""
        try:
            self.hooks.hook.testlab_run_finished(run=book.id, state=state, counts=dict(self.counts_of(book)))
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            return [self.mask(blame("a plugin's testlab_run_finished", error))]
        return []

    def provider_close(self) -> None:
        """Let a provider that holds something open end it."""
        close = getattr(self.provider, "close", None)
        if close is not None:
            close()

    def release(self) -> None:
        """Let go of the store."""
        self.store.close()

    def _estimates(self) -> Estimates:
        """What is known before the tests are; by the names of their histories, for each image."""
        provider = self.settings.provider
        with self.store.engine.connect() as connection:
            self._estimated = {
                image: estimates.estimates(connection, provider=provider, image=image or self._default_image)
                for image in self.settings.images
            }
            return Estimates(by_test=self._estimated[self.settings.images[0]], by_kind=estimates.priors(connection))

    def _slot_changed(self, slot: Slot, at: dt.datetime) -> None:
        proof = dict(slot.server.proof) if slot.server is not None else {}
        self.note(
            events.target_event(slot=slot.index, name=slot.name, state=slot.state, at=at, say=slot.say, proof=proof),
            sync=slot.state in (SlotState.PROVISIONING, SlotState.LOST),
        )
        self.slot_changed(slot)

    def _intends(self, request: ServerRequest, at: dt.datetime) -> None:
        """On disk before anything is made, so that whoever comes after a kill knows what there may be."""
        self.note(
            events.intent(
                run=request.run,
                slot=self.pool.index_at(request.slot),
                provider=self.provider.name,
                name=request.name,
                at=at,
                expires_at=request.expires_at,
            )
        )
        if self.unrecorded:
            raise InfraError(f"nothing is made that can't be taken down before: {self.unrecorded}")

    def _upkeep_told(self, say: str) -> None:
        self.note(events.provisioning(slot=None, at=self.moments.now(), say=self.mask(say)))

    def _provider_said(self, slot: Slot, at: dt.datetime, say: str) -> None:
        self.note(events.provisioning(slot=slot.index, at=at, say=say))


def _provider(settings: Settings, hooks: pluggy.PluginManager) -> Provider:
    """The provider that was asked for; of a run on a kept server one that has nothing but that."""
    provider: Provider = made(hooks, "provider", settings.provider, settings)
    if settings.on is None:
        return provider
    found = load(home(settings), settings.on)
    if found is None:
        raise unknown_kept(home(settings), settings.on)
    return OnServer(provider, found)


def selection(tests: Mapping[str, Any]) -> str:
    """A digest of which tests were selected, to compare runs of the same selection only."""
    return hashlib.sha256(json.dumps(sorted(tests)).encode()).hexdigest()[:16]
