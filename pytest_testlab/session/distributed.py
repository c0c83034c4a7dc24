"""A session with several targets: one xdist worker a target, and this process gives out the tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pluggy
import pytest

from pytest_testlab.catalog.attempts import blocked, outline
from pytest_testlab.catalog.follow import followed
from pytest_testlab.catalog.install import NODE_ID
from pytest_testlab.catalog.items import RERUN
from pytest_testlab.distribution import private
from pytest_testlab.distribution.scheduler import PullScheduler
from pytest_testlab.distribution.watchdog import Watchdog
from pytest_testlab.model import CollectedSection
from pytest_testlab.options import Settings
from pytest_testlab.planning.units import longest_first
from pytest_testlab.pool.pool import Slot, SlotState
from pytest_testlab.recording import events
from pytest_testlab.session.assemble import hidden_values, wire
from pytest_testlab.session.controller import READY_WITHIN_S, Controller
from pytest_testlab.session.rescue import report_of, rescue, void

TICK_S = 2.0
LOOK_S = 0.2
"""How often the clock looks whether somebody asked to stop, or a worker hangs."""
STOP_WITHIN_S = 90.0
"""For workers to keep the bundle of what they run, and to remove its app, once they are told to stop."""


class Distributed(Controller):
    """Wires xdist's events, the pool and the scheduler together."""

    scheduler: PullScheduler
    post: Callable[..., None]
    asked: Any = None
    """The worker that was asked what its tests are."""
    _digest = ""
    _installs: Sequence[tuple[str, str]] = ()
    """The test that installs the platform, and its image: one for each."""

    def __init__(
        self, config: pytest.Config, settings: Settings, secrets: Mapping[str, str], hooks: pluggy.PluginManager
    ) -> None:
        super().__init__(config, settings, secrets, hooks)
        self._slots: dict[Any, int] = {}
        self._over = threading.Event()
        self._watchdog = Watchdog(lambda node, why: self.post(kind="condemned", node=node, why=why))
        self._condemned: dict[Any, str] = {}
        self._stop_by: float | None = None
        self._to_mask = {*secrets.values(), *hidden_values(settings)}
        """Also what workers told of their apps, in memory only: a dead worker can't mask its bundle itself."""

    # --- workers ------------------------------------------------------------------------------------------------------

    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker its slot; a replacement gets the slot of the one that died."""
        slot = self._free_slot()
        node.workerinput["testlab"] = wire(
            run=self.run.id,
            folders={book.image: book.folder.path for book in self.run.books},
            provider=self.settings.provider,
            platform=self.run.platform_name,
            slot=slot,
            worker=node.gateway.id,
            secrets=self.secrets,
            clock=self.run.moments.base,
            hidden=hidden_values(self.settings),
        )
        node.workerinput["testlab_looks_every_s"] = self.progress.looks_every_s
        self._slots[node] = slot
        private.hear(node)

    def _free_slot(self) -> int:
        taken = set(self._slots.values())
        return next(index for index in range(self.settings.pool) if index not in taken)

    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Free the slot of a worker that is gone; if it took the answer with it, its successor is asked."""
        slot = self._slots.pop(node, None)
        if slot is not None:
            self.board.tell(slot, None)
        if node is self.asked and not self.run.tests:
            self.asked = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:  # type: ignore[override]
        """Count a result; where no worker is let in by the provider, this process reads a faulty server's console."""
        self._silence(report)
        super().pytest_runtest_logreport(report)  # before anybody shows how many there are
        yield
        result: Mapping[str, Any] | None = getattr(report, "testlab", None)
        at_fault = result is not None and result["failure_class"] == "infra" and result["slot"] is not None
        if result is not None and at_fault and self.settings.credentials:
            self.run.pool.ask_console(self.run.pool.slots[result["slot"]])

    def _silence(self, report: pytest.TestReport) -> None:
        """Have a worker's report say nothing to anybody once its target is another's: its test is tried elsewhere."""
        node: Any = getattr(report, "node", None)
        if node is None or report.nodeid not in self.run.tests or hasattr(report, "testlab_rescued"):
            return
        if self._slot_of(node).fenced:
            report.when, report.outcome, report.longrepr = "setup", "passed", None
            report.testlab = None  # type: ignore[attr-defined]

    def _slot_of(self, node: Any) -> Slot:
        slot: Slot = self.run.pool.slots[node.workerinput["testlab"]["slot"]]
        return slot

    # --- tests --------------------------------------------------------------------------------------------------------

    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> PullScheduler:
        """Take the place of xdist's own schedulers."""
        self.post = private.listen(config, self._on_event)
        self.scheduler = PullScheduler(self.run.pool, self, deadline=self.run.deadline, attempts={}, config=config)
        self.run.store_changed = lambda: self.post(kind="store")
        self.run.broke = lambda say: self.post(kind="broke", say=say)
        self.run.slot_changed = lambda slot: self.post(kind="slot", slot=slot)
        self.interrupts.hold()
        threading.Thread(target=self._tick, name="testlab-clock", daemon=True).start()
        return self.scheduler

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Ask the first worker that has collected what its tests are; stop if the catalog is broken."""
        if self.broken and not self.config.option.continue_on_collection_errors:
            private.stop(self.config, "errors during collection")
        elif self.asked is None:
            self.asked = node
            self._collection = list(ids)
            private.command(node, "testlab_describe")

    def _on_event(self, kind: str, **fields: Any) -> None:
        """Something that a worker or the pool had to say; on xdist's event loop."""
        getattr(self, f"_on_{kind}")(**fields)

    def _on_refused(self, node: Any, say: str) -> None:
        raise pytest.UsageError(say)

    def _on_digest(self, node: Any, digest: str) -> None:
        self._digest = self._digest or digest
        if digest != self._digest:
            self.scheduler.refuse(node)

    def _tick(self) -> None:
        """Keep the time on a thread of its own: xdist's loop has no clock, and may be busy."""
        next_tick = time.monotonic() + TICK_S
        stopping = False
        while not self._over.wait(LOOK_S):
            if self.interrupts.asked and not stopping:
                stopping = True
                self.post(kind="interrupted")
            self._watchdog.look(list(self._slots))
            if time.monotonic() >= next_tick:
                next_tick += TICK_S
                self.post(kind="tick")

    def _on_tick(self) -> None:
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            for node in list(self._slots):
                self._watchdog.condemn(node, f"the worker did not stop within {STOP_WITHIN_S:g} s")
        elif self.run.units:
            self.run.pool.lose_stuck(READY_WITHIN_S)
            self.scheduler.tick()

    def _on_beat(self, node: Any, late: str) -> None:
        if late:
            self._watchdog.condemn(node, late)

    def _on_doing(self, node: Any, doing: dict[str, Any] | None) -> None:
        if (slot := self._slots.get(node)) is not None:
            self.board.tell(slot, doing)

    def _on_followed(self, node: Any, test: str, section: str, lines: list[str]) -> None:
        self.progress.followed(test, section, lines)

    def _on_secrets(self, node: Any, values: list[str]) -> None:
        self._to_mask.update(values)

    def _on_condemned(self, node: Any, why: str) -> None:
        self._condemned[node] = why

    def _on_interrupted(self, node: Any = None) -> None:
        """Somebody asked this process to stop: end in order. A worker that alone was asked costs its target only."""
        if node is not None and not self.interrupts.asked:
            self.scheduler.hand_back(node)
            self.run.pool.lose(self.run.pool.slots[self._slots[node]], "its worker was told to stop by a signal")
        elif self._stop_by is None:
            self.interrupts.asked = True
            self._stop_by = time.monotonic() + STOP_WITHIN_S
            self.scheduler.interrupt()
            private.stop(self.config, "interrupted")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop the clock, then close the run."""
        self._over.set()
        super().pytest_sessionfinish(session, exitstatus)

    def _on_described(self, node: Any, tests: str, missing: str) -> None:
        if missing:
            raise pytest.UsageError(missing)
        known = json.loads(tests)
        if unknown := followed(self.settings.follow, known)[1]:
            raise pytest.UsageError(unknown)
        units = self.run.begin(self._collection, known)
        self._installs = [(test["test"], test["image"]) for test in known if test["first"]]
        self.scheduler.plan(longest_first(units))

    def _on_slot(self, slot: Slot) -> None:
        if slot.fenced:
            self._stop_fenced(slot)
        self.scheduler.slot_changed(slot)
        if slot.state is SlotState.LOST and self.scheduler.has_pending and (why := self.run.too_few()):
            self._abort(why)

    def _stop_fenced(self, slot: Slot) -> None:
        """Its server is another's by now, so what its worker runs must not count: it is killed, and tried elsewhere."""
        for node, index in list(self._slots.items()):
            if index == slot.index:
                self._watchdog.condemn(node, slot.say, at_once=True)

    def _abort(self, why: str) -> None:
        """There are fewer targets than the run is worth: what runs keeps its bundle, and nothing more is given out."""
        if self._stop_by is None and not self.run.aborted:
            self.run.aborted = why
            self._stop_by = time.monotonic() + STOP_WITHIN_S
            self.scheduler.interrupt()
            private.stop(self.config, why)

    def _on_usable(self, node: Any, epoch: int, versions: dict[str, str], seconds: float) -> None:
        if (slot := self._slots.get(node)) is not None:
            self.run.pool.slots[slot].spent("install", seconds)
            if versions:  # without any the platform's install is left to a test
                self.run.pool.slots[slot].install_s = seconds
            self.board.usable(slot, epoch)
        self.scheduler.usable(node, epoch)

    def _on_unusable(self, node: Any, epoch: int, say: str) -> None:
        self.run.pool.lose(self.run.pool.slots[self._slots[node]], say)

    def _on_unrecordable(self, node: Any, say: str) -> None:
        self.run.can_not_record(say)

    def _on_left_behind(self, node: Any, say: str) -> None:
        self.errors.append(say)

    def _on_store(self) -> None:
        self.progress.say_store()

    def _on_broke(self, say: str) -> None:
        private.stop(self.config, say)

    def _on_idle(self, node: Any, left: list[int], again: bool, spoiled: str) -> None:
        for test, image in self._installs:
            result = self.run.results.get(test)
            if result is not None and result["status"] == "failed":
                self.scheduler.block_all(by=test, failure_class=result["failure_class"], image=image)
                if len(self.run.books) > 1:  # else there is nothing left to do for those that wait
                    self.run.pool.give_up_snapshot(image, "the platform could not be installed")
            elif result is not None and result["slot"] == self._slots.get(node):
                self.run.pool.slots[result["slot"]].install_s = (result["phases"] or {}).get("install")
        self.scheduler.idle(node, left=left, again=again, spoiled=bool(spoiled))

    def _broke_off(self, session: pytest.Session) -> bool:
        return private.enough_failures(self.config)

    def _kill_workers(self) -> None:
        private.kill_all(self.config)

    # --- what the scheduler found out ---------------------------------------------------------------------------------

    def wrong_catalog(self, node: Any) -> None:
        """Say which worker sees another catalog; it gets no test."""
        self.errors.append(f"worker {node.gateway.id} collected other tests than the first one; it was sent home")

    def lost(self, slot: Slot, say: str) -> None:
        """Say which slot is out."""
        self.errors.append(f"{slot.name} is out of the run: {say}")

    def recorded(self, node: Any, test: str) -> bool | None:
        """A worker that was killed after its last word was on disk has had its say; pytest hears of it here."""
        event = self.run.recorded(node.gateway.id, test, self.scheduler.attempts_of(test) + 1)
        if event is None or self._slot_of(node).fenced:
            return None
        report = report_of(event, test)
        report.node = node  # type: ignore[attr-defined]
        self.config.hook.pytest_runtest_logreport(report=report)
        return bool(report.testlab["again"])

    def void(self, node: Any, test: str) -> bool:
        """Have an error stand in place of what a worker recorded of a test when its target was another's already."""
        attempt = self.scheduler.attempts_of(test) + 1
        if self.run.recorded(node.gateway.id, test, attempt) is None:
            return False
        void(self.run, self._slot_of(node), test=test, attempt=attempt)
        return True

    def is_retried(self, test: str) -> bool:
        """Only what the lab records; anything else ends as under any pytest-xdist."""
        return test in self.run.tests

    def blocked(self, tests: Sequence[str], *, by: str, failure_class: str = "infra") -> None:
        """Record what can't be run any more; why is all that there is to keep of it."""
        row = self.run.tests[by]["row"]
        reason = blocked(row if row == NODE_ID else row.rpartition("::")[2], failure_class)
        text = f"{reason}\n".encode()
        section = CollectedSection(name="reason", source="the controller", text=text, size=len(text))
        manifest, blob = events.pack_bundle([section])
        for test in tests:
            event = events.finished(test=test, attempt=0, status="blocked", reason=reason, manifest=manifest)
            self.run.note(event, blob)
            self.config.hook.pytest_runtest_logreport(report=report_of(event, test))

    def ended(self, reason: str) -> None:
        """Stop the session, with no target left or no time."""
        if reason.startswith("no target"):
            self.run.aborted = reason
            private.stop(self.config, reason)
        else:
            self.run.say = reason

    @pytest.hookimpl(trylast=True)  # after whoever else reruns what crashed: here it is the lab that does
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A worker died while it ran a test: that is the lab's fault and not the app's.

        A test that isn't the catalog's has failed, as everywhere under xdist, and isn't tried again.
        """
        if crashitem not in self.run.tests:
            return
        node: Any = report.node
        why = self._condemned.get(node)
        ended = private.how_it_ended(node)
        say = f"infra: {why}; it was killed" if why else f"infra: the worker that ran it died: {ended}"
        event = rescue(
            self.run,
            self._slot_of(node),
            worker=node.gateway.id,
            test=crashitem,
            attempt=self.scheduler.attempts_of(crashitem),
            say=say,
            secrets=frozenset(self._to_mask),
        )
        again = self.scheduler.will_retry(crashitem) and self._stop_by is None
        report.when = "setup"
        report.longrepr = say
        report.testlab_rescued = True  # type: ignore[attr-defined]
        report.testlab = outline(event, crashitem) | {"again": again}  # type: ignore[attr-defined]
        if again:
            report.outcome = RERUN  # type: ignore[assignment]
