"""A session with several targets: one xdist worker a target, and this process gives out the tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pytest_testlab.catalog.lab import outline
from pytest_testlab.distribution import private
from pytest_testlab.distribution.scheduler import PullScheduler
from pytest_testlab.options import Settings
from pytest_testlab.planning.units import longest_first
from pytest_testlab.pool.pool import Slot
from pytest_testlab.recording import events
from pytest_testlab.session.assemble import wire
from pytest_testlab.session.controller import READY_WITHIN_S, Controller

TICK_S = 2.0


class Distributed(Controller):
    """Wires xdist's events, the pool and the scheduler together."""

    scheduler: PullScheduler
    post: Callable[..., None]
    asked: Any = None
    """The worker that was asked what its tests are."""
    _digest = ""
    broken_catalog = False

    def __init__(self, config: pytest.Config, settings: Settings, secrets: Mapping[str, str]) -> None:
        super().__init__(config, settings, secrets)
        self._slots: dict[Any, int] = {}
        self._over = threading.Event()

    # --- workers ------------------------------------------------------------------------------------------------------

    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker its slot; a replacement gets the slot of the one that died."""
        slot = self._free_slot()
        node.workerinput["testlab"] = wire(
            run=self.run.id,
            folder=self.run.folder.path,
            provider=self.settings.provider,
            platform=self.run.platform_name,
            slot=slot,
            worker=node.gateway.id,
            secrets=self.secrets,
            clock=self.run.moments.base,
        )
        self._slots[node] = slot
        private.hear(node)

    def _free_slot(self) -> int:
        taken = set(self._slots.values())
        return next(index for index in range(self.settings.pool) if index not in taken)

    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Free the slot of a worker that is gone; if it took the answer with it, its successor is asked."""
        self._slots.pop(node, None)
        if node is self.asked and not self.run.tests:
            self.asked = None

    # --- tests --------------------------------------------------------------------------------------------------------

    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> PullScheduler:
        """Take the place of xdist's own schedulers."""
        self.post = private.listen(config, self._on_event)
        self.scheduler = PullScheduler(self.run.pool, self, deadline=self.run.deadline, attempts={})
        self.run.store_changed = lambda: self.post(kind="store")
        self.run.broke = lambda say: self.post(kind="broke", say=say)
        self.run.slot_changed = lambda slot: self.post(kind="slot", slot=slot)
        threading.Thread(target=self._tick, name="testlab-clock", daemon=True).start()
        return self.scheduler

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember that the catalog is broken: nothing runs then, unless the user insists."""
        self.broken_catalog = self.broken_catalog or report.failed

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Ask the first worker that has collected what its tests are; stop if the catalog is broken."""
        if self.broken_catalog and not self.config.option.continue_on_collection_errors:
            private.stop(self.config, "errors during collection")
        elif self.asked is None:
            self.asked = node
            self._collection = list(ids)
            node.sendcommand("testlab_describe")

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
        """Post the time: xdist's loop has no clock, and a budget must end a session in which nothing happens."""
        while not self._over.wait(TICK_S):
            self.post(kind="tick")

    def _on_tick(self) -> None:
        if self.run.units:
            self.run.pool.lose_stuck(READY_WITHIN_S)
            self.scheduler.tick()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop the clock, then close the run."""
        self._over.set()
        super().pytest_sessionfinish(session, exitstatus)

    def _on_described(self, node: Any, tests: str, missing: str) -> None:
        if missing:
            raise pytest.UsageError(missing)
        units = self.run.begin(self._collection, json.loads(tests))
        self.scheduler.plan(longest_first(units))

    def _on_slot(self, slot: Slot) -> None:
        self.scheduler.slot_changed(slot)

    def _on_usable(self, node: Any, epoch: int, versions: dict[str, str], seconds: float) -> None:
        self.run.phases["install"] = self.run.phases.get("install", 0.0) + seconds
        self.scheduler.usable(node, epoch)

    def _on_unusable(self, node: Any, epoch: int, say: str) -> None:
        self.run.pool.lose(self.run.pool.slots[self._slots[node]], say)

    def _on_unrecordable(self, node: Any, say: str) -> None:
        self.run.can_not_record(say)

    def _on_store(self) -> None:
        self.progress.say_store()

    def _on_broke(self, say: str) -> None:
        private.stop(self.config, say)

    def _on_idle(self, node: Any) -> None:
        self.scheduler.idle(node)

    # --- what the scheduler found out ---------------------------------------------------------------------------------

    def wrong_catalog(self, node: Any) -> None:
        """Say which worker sees another catalog; it gets no test."""
        self.errors.append(f"worker {node.gateway.id} collected other tests than the first one; it was sent home")

    def lost(self, slot: Slot, say: str) -> None:
        """Say which slot is out."""
        self.errors.append(f"{slot.name} is out of the run: {say}")

    def ended(self, reason: str) -> None:
        """Stop the session, with no target left or no time."""
        if reason.startswith("no target"):
            self.run.aborted = reason
            private.stop(self.config, reason)
        else:
            self.run.say = reason

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A worker died while it ran a test: that is the lab's fault and not the app's."""
        say = f"infra: the worker that ran it died ({crashitem})"
        event = events.finished(
            test=crashitem,
            attempt=self.scheduler.attempts_of(crashitem),
            status="error",
            failure_class="infra",
            rule="infra/worker-died",
            headline=[say],
        )
        self.run.note(event)
        report.when = "setup"
        report.longrepr = say
        report.testlab = outline(event)  # type: ignore[attr-defined]
