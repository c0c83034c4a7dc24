"""Runs the tests of a catalog in one process: the stage, then the bundle, then the journal, then pytest's verdict.

The order matters: an outcome counts only once it is on the journal's disk, so pytest hears of it last.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import pluggy

from pytest_testlab.catalog.attempts import Attempt, blocked, outline, skip
from pytest_testlab.catalog.bundler import COLLECT_WITHIN_S, Bundler
from pytest_testlab.catalog.follow import Follow, Follower
from pytest_testlab.catalog.interrupts import Interrupts
from pytest_testlab.catalog.items import CatalogItem, Equipment, Failed, Headline, Unit, UnitState
from pytest_testlab.catalog.secrets import SecretLookup
from pytest_testlab.diagnosis.bundle import masked
from pytest_testlab.diagnosis.collect import RawSection, collect, prepare
from pytest_testlab.diagnosis.lastwords import last_words, told, with_last_words
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.sections import cloud_init
from pytest_testlab.errors import InfraError, RequirementMissing, StageFailure, TestlabError
from pytest_testlab.model import Bundle, FailureClass, Server, Status
from pytest_testlab.moments import Moments
from pytest_testlab.protocols import Platform, Provider, Target
from pytest_testlab.recording import events
from pytest_testlab.recording.journal import Journal, JournalFull
from pytest_testlab.seams import blame
from pytest_testlab.target.observe import Observations

LOOK_WITHIN_S = 10.0
"""For the logs of a test that is followed."""
GROWING = ("build", "deploy", "app")
"""The platform's logs that are worth following."""


class Lab:
    """What a process needs to run tests: the line to its target, the platform, the journal, what to mask."""

    def __init__(
        self,
        *,
        slot: int,
        provider: Provider,
        platform: Platform,
        hooks: pluggy.PluginManager,
        journals: Mapping[str, Journal],
        secrets: SecretLookup,
        known_secrets: frozenset[str],
        moments: Moments,
        keeps: bool = False,
    ) -> None:
        """`journals` are by image: a segment of its own in that of each run.

        `keeps`: servers on which a test failed are kept, so that what failed is to be left standing there.
        """
        self.slot = slot
        self.attempts: dict[str, int] = {}
        """Test → attempts that were made before, elsewhere."""
        self.before_unit: Callable[[Unit], None] | None = None
        """Called before a unit's first test; set where one process is controller and worker at once."""
        self.interrupts = Interrupts()
        self.tell_secrets: Callable[[frozenset[str]], None] = lambda values: None
        """Told of the secrets of each app that is deployed."""
        self.spoiled = ""
        """Why the target is not to be used again as it is; empty while it is sound."""
        self.lost: Callable[[], str] = lambda: ""
        """Why the target is another's by now; "" while it is ours. What came of a test counts only then."""
        self._keeps = keeps
        self.left_standing = ""
        """The test that failed on the target, and whose app is left there to be looked at; empty while none is."""
        self._provider = provider
        self._platform = platform
        self._journals = journals
        self.full = ""
        """Why the journal can't be written any further."""
        self.blocked_by: dict[str, str] = {}
        """Image → why no further test can run on it: what all of them stand on has failed."""
        self.secrets = secrets
        self._moments = moments
        shapes = tuple(shape for shapes in hooks.hook.testlab_redactors() for shape in shapes or ())
        self._bundler = Bundler(platform, hooks)
        self._redactor = Redactor(known_secrets, shapes)
        self._target: Target | None = None
        self._server: Server | None = None
        self._equipment: Equipment | None = None
        self._attempt: Attempt | None = None
        self._installing = Observations()
        """What was seen of the platform's installation on the target."""
        self.follow: Follow | None = None
        """Which tests' output somebody wants to see as it comes."""

    # --- the target ---------------------------------------------------------------------------------------------------

    def use(self, server: Server, *, install: bool = True) -> Mapping[str, str]:
        """Take a blank server as the target and install the platform; returns the platform's versions.

        Without `install` that is left to a test, and there are no versions yet.

        Raises `InfraError`, whatever a plugin's provider or platform raised: it costs a target, and no more.
        """
        try:
            with self.interrupts.allowed():
                versions = self._use(server, install)
        except InfraError as error:
            self._tell_of_server(server)
            raise InfraError(self.mask(str(error))) from error
        except Exception as error:
            self._tell_of_server(server)
            who = f"the platform {self._platform.name}" if self._target else f"the provider {self._provider.name}"
            say = blame(who, error, self._platform, self._provider)
            say = f"{who} failed: {say}" if isinstance(error, TestlabError) else say
            raise InfraError(self.mask(say)) from error
        self.spoiled = self.left_standing = ""
        return versions

    def _tell_of_server(self, server: Server) -> None:
        """A server that could not be made a target belongs to no test: what is left to know goes to the transcript."""
        if self._target is None:
            return
        sections = [*self._installing.sections(), cloud_init(server)]
        raw = collect(self._target, sections, deadline_s=COLLECT_WITHIN_S)
        said = told(masked(raw, self._redactor).sections, server.name)
        if said:
            journal = self._journals.get(server.image or "") or next(iter(self._journals.values()))
            with suppress(JournalFull):
                journal.append(events.provisioning(slot=self.slot, at=self._moments.now(), say=said), sync=False)

    def mask(self, text: str, also: Iterable[str] = ()) -> str:
        """A text without the secrets of the lab and of its entries, nor `also`."""
        return self._redactor.knowing(also).redact_text(text)

    def learn(self, values: Iterable[str]) -> None:
        """Mask these from now on: what entries were given, whichever of them shows it."""
        self._redactor = self._redactor.knowing(values)

    def _use(self, server: Server, install: bool) -> Mapping[str, str]:
        self._installing = Observations()
        if self._target is None or self._server is None or _led_to(self._server) != _led_to(server):
            self.close()
            self._target = self._provider.connect(server)
        self._target.server = self._server = server
        self._equipment = Equipment(
            target=self._target, platform=self._platform, secrets=self.secrets, tell=self.tell_secrets
        )
        return self._platform.install(self._target, self._installing) if install else {}

    def close(self) -> None:
        """End the line to the target."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def end(self) -> None:
        """End the line to the target and the segment of the journal."""
        self.close()
        for journal in self._journals.values():
            with suppress(JournalFull):  # each outcome is on disk already, or was said not to be
                journal.close()

    @property
    def target(self) -> Target:
        """The line to the target; raises `InfraError` before there is one."""
        if self._target is None:
            raise InfraError("this process has no target yet")
        return self._target

    def doing(self) -> dict[str, Any] | None:
        """Which test runs, since when by the monotonic clock, in which phase; None between tests. From any thread."""
        attempt = self._attempt
        if attempt is None:
            return None
        return {"test": attempt.item.nodeid, "since": attempt.clock, "phase": attempt.observe.now}

    # --- tests --------------------------------------------------------------------------------------------------------

    def run(self, item: CatalogItem) -> None:
        """Run a test, keep its bundle, and tell pytest what came of it by raising.

        Raises `KeyboardInterrupt` when somebody asked to stop: the bundle is kept then as well.
        An outcome that the journal's disk can't take doesn't count; `full` says so, and no further test should run.
        """
        try:
            outcome = self._run(item)
        except JournalFull as error:
            self.full = str(error)
            raise Headline((f"it could not be recorded, and doesn't count: {error}",)) from None
        if outcome is not None:
            raise outcome

    def _run(self, item: CatalogItem) -> BaseException | None:
        unit = item.unit
        state = unit.state = unit.state or UnitState()
        self._attempt = attempt = self._begin(item)
        try:
            outcome = self._outcome(attempt, state)
        finally:
            self._attempt = None
        if attempt.status is Status.PASSED and attempt.number > 1:
            attempt.status = Status.FLAKY
            attempt.reason = "; ".join(filter(None, (attempt.reason, f"passed on attempt {attempt.number}")))
        if self._keeps and attempt.status is Status.FAILED:
            self.left_standing = self.left_standing or item.nodeid
        self._record(attempt)
        return outcome

    def pass_over(self, item: CatalogItem, reason: str) -> None:
        """Record a test that pytest skips by itself, as a mark asks."""
        try:
            attempt = self._begin(item)
            self._skip(attempt, UnitState(), Status.SKIPPED, reason)
            self._record(attempt)
        except JournalFull as error:
            self.full = str(error)

    def _begin(self, item: CatalogItem) -> Attempt:
        attempt = Attempt(item, self.attempts.get(item.nodeid, 0) + 1, self._moments.now())
        self._journals[item.place.image].append(
            events.started(
                test=item.row,
                attempt=attempt.number,
                slot=self.slot,
                target=self.target.server.name,
                at=attempt.started_at,
            ),
            sync=False,
        )
        return attempt

    def _outcome(self, attempt: Attempt, state: UnitState) -> BaseException | None:
        """Decide the attempt's status; returns what pytest is to see."""
        if why_blocked := self.blocked_by.get(attempt.item.place.image):
            return self._skip(attempt, state, Status.BLOCKED, why_blocked)
        if (why := _cannot_run(attempt.item, state)) is not None:
            return self._skip(attempt, state, *why)
        prepare(self.target)
        try:
            with self._followed(attempt, state):
                failure = self._work(attempt, state)
        except KeyboardInterrupt as interrupt:
            return self._interrupted(attempt, state, interrupt)
        finally:
            state.concealed |= attempt.observe.concealed
            for deployment in state.deployments:
                state.concealed |= deployment.secret_values | deployment.app.secret_values
            attempt.item.concealed = state.concealed
        if isinstance(failure, RequirementMissing):
            state.skipped = self._redactor.knowing(state.concealed).redact_text(str(failure))
            return self._skip(attempt, state, Status.SKIPPED, state.skipped)
        attempt.bundle = self._collect(attempt, state, failure)
        return self._judge(attempt, state, failure)

    def _skip(self, attempt: Attempt, state: UnitState, status: Status, reason: str) -> BaseException:
        """A test that didn't run has a bundle too: why it didn't, which is all that there is to keep."""
        attempt.status, attempt.reason = status, reason
        attempt.observe.write("reason", reason + "\n")
        attempt.bundle = self._bundler.of_record(self.target, attempt, state, self._redactor.knowing(state.concealed))
        return skip(reason)

    def _interrupted(self, attempt: Attempt, state: UnitState, interrupt: KeyboardInterrupt) -> BaseException:
        """A test that was cut short says nothing of its app; what had come about until then is kept."""
        seconds = time.monotonic() - attempt.clock
        attempt.status, attempt.reason = Status.NOT_RUN, f"interrupted after {seconds:.0f} s"
        attempt.observe.write("reason", attempt.reason + "\n")
        attempt.bundle = self._collect(attempt, state, None)
        return interrupt

    def _work(self, attempt: Attempt, state: UnitState) -> TestlabError | None:
        failure = self._worked(attempt, state)
        return InfraError(lost) if (lost := self.lost()) else failure

    def _worked(self, attempt: Attempt, state: UnitState) -> TestlabError | None:
        try:
            assert self._equipment is not None, "no target"
            with self.interrupts.allowed():
                attempt.item.work(self._equipment, state, attempt.observe)
        except (StageFailure, InfraError, RequirementMissing) as failure:
            return failure
        except Exception as error:  # noqa: BLE001 - a fault of the lab's own must not pass for one of the app
            attempt.observe.write("lab", traceback.format_exc())
            fault = InfraError(self.mask(blame(self._lab_itself, error, self._platform, self._provider)))
            fault.__cause__ = error
            return fault
        return None

    @property
    def _lab_itself(self) -> str:
        ours = type(self._platform).__module__.startswith("pytest_testlab.")
        return "the lab itself" if ours else f"the platform {self._platform.name}, or the lab itself,"

    def _followed(self, attempt: Attempt, state: UnitState) -> AbstractContextManager[object]:
        if self.follow is None or attempt.item.nodeid not in self.follow.tests:
            return nullcontext()

        def mask(data: bytes) -> bytes:
            concealed = state.concealed | attempt.observe.concealed
            if (deployment := state.deployment) is not None:
                concealed |= deployment.secret_values | deployment.app.secret_values
            return self._redactor.knowing(concealed).by_line().redact(data)[0]

        def look() -> tuple[frozenset[str], Callable[[], list[RawSection]]] | None:
            if (deployment := state.deployment) is None:
                return None
            logs = [
                section for section in self._bundler.of_platform(self.target, deployment) if section.name in GROWING
            ]
            names = frozenset(section.name for section in logs if section.absent is None and section.content is None)
            return names, lambda: collect(self.target, logs, deadline_s=LOOK_WITHIN_S)

        follower = Follower(attempt.item.nodeid, self.follow.tell, mask, look)
        attempt.observe.heard = follower.heard
        return follower

    def _judge(self, attempt: Attempt, state: UnitState, failure: TestlabError | None) -> BaseException | None:
        item = attempt.item
        if failure is None:
            attempt.reason = item.remark
            if (missed := item.missed()) is not None:
                attempt.status, attempt.reason = Status.FAILED, missed
                return Failed((missed,))
            return None
        assert attempt.bundle is not None
        verdict = attempt.bundle.verdict
        assert verdict is not None
        state.failed = (item.stage, verdict.failure_class)
        if (foreseen := item.foresaw(verdict)) is not None:
            state.expected = True
            attempt.reason = self.mask(foreseen, state.concealed)
            return None
        if verdict.failure_class is FailureClass.INFRA:
            attempt.status = Status.ERROR
            self.spoiled = attempt.bundle.headline[0]
            return Headline(attempt.bundle.headline)
        attempt.status = Status.FAILED
        if item.blocks_all:
            self.blocked_by[item.place.image] = blocked(item.row, verdict.failure_class)
        return Failed(attempt.bundle.headline)

    def enter(self, unit: Unit) -> None:
        """Begin a new unit, on a target made blank for it where `before_unit` sees to that."""
        unit.state = UnitState()
        if self.before_unit is not None:
            self.before_unit(unit)

    def leave(self, unit: Unit) -> None:
        """Clean up after a unit's last test; raises `InfraError` where something of it stays.

        Nothing is removed from a spoiled target, nor from one that is kept: it is made blank, or another one takes its
        place, before anybody uses it again.
        """
        state, unit.state = unit.state, None
        if state is None or self._equipment is None or self.spoiled or self.left_standing:
            return
        try:
            unit.clean_up(self._equipment, state)
        except InfraError as error:
            self.spoiled = self._redactor.knowing(state.concealed).redact_text(str(error))
            raise InfraError(self.spoiled) from None

    # --- the bundle ---------------------------------------------------------------------------------------------------

    def _collect(self, attempt: Attempt, state: UnitState, failure: TestlabError | None) -> Bundle:
        redactor = self._redactor.knowing(state.concealed)
        bundle = self._bundler.collect(self.target, attempt, state, failure, redactor)
        if bundle.verdict is None or bundle.verdict.failure_class is not FailureClass.INFRA:
            return bundle
        return with_last_words(bundle, last_words(self._provider, self.target), redactor)

    # --- the journal --------------------------------------------------------------------------------------------------

    def _record(self, attempt: Attempt) -> None:
        event, blob = attempt.finished(self.slot, self.target.server)
        self._journals[attempt.item.place.image].append(event, blob)
        attempt.item.result = outline(event, attempt.item.nodeid)


def _cannot_run(item: CatalogItem, state: UnitState) -> tuple[Status, str] | None:
    """Why a test needn't be tried: (blocked or skipped, the reason)."""
    if state.skipped is not None:
        return Status.SKIPPED, state.skipped
    if state.failed is not None:
        stage, failure_class = state.failed
        if state.expected:
            return Status.SKIPPED, f"{stage} failed with {failure_class}, as expected"
        return Status.BLOCKED, blocked(stage, failure_class)
    return None if item.idle is None else (Status.SKIPPED, item.idle)


def _led_to(server: Server) -> object:
    """What a line hangs on: where any of it changed, the old line may lead nowhere and never say so."""
    return server.ssh, server.facts
