"""What a run and its targets are at, just now: put together from the pool, the results and what workers tell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_testlab.planning.forecast import Running
from pytest_testlab.pool.pool import Slot, SlotState
from pytest_testlab.session.show.panel import RunNow, TargetNow

if TYPE_CHECKING:
    from pytest_testlab.session.run import Run

Doing = Mapping[str, Any]
"""What `Lab.doing` says."""
STATES = {
    SlotState.PROVISIONING: "booting",
    SlotState.BLANKING: "blanking",
    SlotState.FREEZING: "being frozen",
    SlotState.LOST: "lost",
}


class Board:
    """Read from any thread, written by the one that runs tests or hears workers."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._told: dict[int, Doing | None] = {}
        self._usable: dict[int, int] = {}
        """Slot → the epoch of the server that has its platform."""
        self.ask: Callable[[], Doing | None] | None = None
        """Says what runs, where it runs in this process."""
        self.stopping = False

    def tell(self, slot: int, doing: Doing | None) -> None:
        """What a worker does now."""
        self._told[slot] = doing

    def usable(self, slot: int, epoch: int) -> None:
        """A server can take tests."""
        self._usable[slot] = epoch

    def run_now(self) -> RunNow:
        """All of it, for the block."""
        run = self._run
        return RunNow(
            done=len(run.results),
            planned=len(run.tests),
            elapsed_s=run.elapsed,
            left_s=self.left_s(),
            counts=Counter(str(result["status"]) for result in list(run.results.values())),
            targets=[self._target(slot) for slot in run.pool.slots if slot.state is not SlotState.GONE and run.tests],
            note=self._note(),
        )

    def left_s(self) -> float | None:
        """Seconds until the end, as expected; None while there is nothing to go by, `LATE` where nobody can say."""
        now = time.monotonic()
        running = []
        for doing in filter(None, map(self._doing, self._run.pool.slots)):
            test, spent_s = doing["test"], now - doing["since"]
            running.append(Running(test=test, spent_s=spent_s, expected_s=self._expected_s(test, spent_s)))
        return self._run.forecast.left_s(running)

    def is_usable(self, slot: Slot) -> bool:
        """Whether a slot's server has its platform."""
        return slot.server is not None and self._usable.get(slot.index) == slot.server.epoch

    def name(self, slot: Slot) -> str:
        """A target's name, as short as it is among those of one run."""
        return self.short(slot.name)

    def short(self, target: str) -> str:
        """A server's name without the run that all of them have in theirs: `local-0`."""
        run = self._run
        begins = f"{run.settings.provider}-" if target.startswith(run.id) else ""
        return target.replace(f"{run.id}-", begins).replace(f"-{run.id}", "")

    def test(self, test: str, between: str = " · ") -> str:
        """A test as people call it."""
        known = self._run.tests.get(test)
        return f"{known['entry']}{between}{known['stage']}{known['suffix']}" if known else test

    def _note(self) -> str:
        if self.stopping:
            return "stopping"
        recorder = self._run.recorder
        return f"store away, {recorder.waiting} events wait on disk" if recorder.away else ""

    def _target(self, slot: Slot) -> TargetNow:
        now = time.monotonic()
        state = STATES.get(slot.state)
        if state is None:
            if (doing := self._doing(slot)) is not None:
                return self._running(slot, doing, now)
            state = "waiting" if slot.state is SlotState.BUSY or self.is_usable(slot) else "installing platform"
        return TargetNow(name=self.name(slot), state=state, for_s=now - slot.since)

    def _doing(self, slot: Slot) -> Doing | None:
        """The test that runs there; what was reported already is none, though its worker may not have said so yet."""
        if slot.state is not SlotState.BUSY:
            return None
        doing = self.ask() if self.ask is not None else self._told.get(slot.index)
        return None if doing is None or doing["test"] in self._run.results else doing

    def _expected_s(self, test: str, spent_s: float) -> float | None:
        expected_s = self._run.expected_s(test)
        if expected_s is not None and expected_s < spent_s and test not in self._run.estimates.by_test:
            return None  # others of its kind took less: that says nothing of this one
        return expected_s

    def _running(self, slot: Slot, doing: Doing, now: float) -> TargetNow:
        test, spent_s = doing["test"], now - doing["since"]
        expected_s = self._expected_s(test, spent_s)
        return TargetNow(
            name=self.name(slot),
            state="running",
            for_s=spent_s,
            test=self.test(test),
            phase=doing["phase"],
            left_s=None if expected_s is None else expected_s - spent_s,
        )
