"""The scheduler behind xdist: units are pulled longest-first by whichever blank target is free, one at a time.

It runs on xdist's event loop only; what other threads have to say reaches it as an event.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_testlab.distribution.wire import server_to_wire
from pytest_testlab.planning.units import Unit
from pytest_testlab.pool.pool import Pool, Slot, SlotState

GROUP_S = 0.15
"""Very short units are handed out together, up to about this many seconds of work, to save round trips."""
TRIES = 2
"""How often a unit whose worker died is started at most."""


class Node(Protocol):
    """What the scheduler uses of xdist's end of a worker."""

    workerinput: dict[str, Any]

    def sendcommand(self, name: str, **kwargs: Any) -> None:
        """Send a command; never waits."""

    def shutdown(self) -> None:
        """Ask the worker to end after what it runs."""


@dataclass
class Worker:
    """One xdist worker and its slot."""

    node: Node
    slot: Slot
    collected: bool = False
    epoch: int | None = None
    """The epoch of the server that it was told to use."""
    usable: bool = False
    """Whether it said that this server can take tests."""
    running: deque[int] = field(default_factory=deque)
    units: list[Unit] = field(default_factory=list)
    retired: bool = False


class Sink(Protocol):
    """Who must know what the scheduler found out."""

    def wrong_catalog(self, node: Node) -> None:
        """A worker collected something else than the first one did."""

    def lost(self, slot: Slot, say: str) -> None:
        """A slot is out of the run."""

    def ended(self, reason: str) -> None:
        """Nothing more can be given out: there is no target left, or the budget is spent."""


class PullScheduler:
    """Implements xdist's scheduling protocol."""

    def __init__(self, pool: Pool, sink: Sink, *, deadline: float, attempts: dict[str, int]) -> None:
        self._pool = pool
        self._sink = sink
        self._deadline = deadline
        self._attempts = attempts
        self._workers: dict[Any, Worker] = {}
        self._pending: deque[Unit] | None = None
        self._tries: dict[str, int] = {}
        self._done = 0
        self._spent_s = 0.0
        self._ended = False
        self.collection: list[str] | None = None

    # --- xdist's protocol ---------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Any]:
        """The workers that are up."""
        return list(self._workers)

    @property
    def collection_is_completed(self) -> bool:
        """Whether to start: the first collection is enough, the others are held against it."""
        return self.collection is not None

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is pending *or running*."""
        running = any(worker.running for worker in self._workers.values())
        return not running and (self._ended or (self._pending is not None and not self._pending))

    @property
    def has_pending(self) -> bool:
        """Whether there is something to give out."""
        return bool(self._pending)

    def add_node(self, node: Any) -> None:
        """Take in a worker; its slot was set when it was configured."""
        slot = self._pool.slots[node.workerinput["testlab"]["slot"]]
        worker = self._workers[node] = Worker(node, slot)
        if slot.state is SlotState.LOST:
            self._retire(worker)
        elif slot.state is SlotState.READY:
            self._use(worker)
        elif slot.state is SlotState.BUSY:
            self._pool.blank(slot)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Keep the first collection; a worker whose own differs gets no test."""
        if self.collection is None:
            self.collection = list(collection)
        elif list(collection) != self.collection:
            self.refuse(node)
            return
        self._workers[node].collected = True

    def schedule(self) -> None:
        """A worker has collected; give it work if everything else is there."""
        for worker in self._workers.values():
            self._pump(worker)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """A test is through; pytest has its reports already."""
        worker = self._workers[node]
        worker.running.remove(item_index)
        self._spent_s += duration
        self._done += 1

    def mark_test_pending(self, item: str) -> None:
        """Only xdist's own schedulers take single tests back."""
        raise NotImplementedError(item)

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """Only the answer to a `steal`, which is never sent."""
        raise NotImplementedError(indices)

    def remove_node(self, node: Any) -> str | None:
        """A worker is gone; returns the test that it was running, if it was."""
        worker = self._workers.pop(node)
        crashed = self._crashed(worker) if worker.running else None
        if not worker.retired and worker.slot.state is SlotState.READY:
            self._pool.busy(worker.slot)
        self._end_if_nobody_is_left()
        return crashed

    # --- the lab's events ---------------------------------------------------------------------------------------------

    def refuse(self, node: Any) -> None:
        """A worker sees another catalog than the first one did: it gets no test."""
        worker = self._workers.get(node)
        if worker is not None and not worker.retired:
            self._sink.wrong_catalog(node)
            self._retire(worker)

    def plan(self, units: deque[Unit]) -> None:
        """Begin to give out units, in this order."""
        self._pending = units
        self.schedule()

    def slot_changed(self, slot: Slot) -> None:
        """A slot of the pool is ready, or lost."""
        worker = next((worker for worker in self._workers.values() if worker.slot is slot), None)
        if slot.state is SlotState.LOST:
            self._sink.lost(slot, slot.say)
            if worker is not None:
                self._retire(worker)
            self._end_if_nobody_is_left()
        elif slot.state is SlotState.READY and worker is not None:
            self._use(worker)

    def usable(self, node: Any, epoch: int) -> None:
        """A worker's target can take tests."""
        worker = self._workers.get(node)
        if worker is not None and worker.epoch == epoch:
            worker.usable = True
            self._pump(worker)

    def idle(self, node: Any) -> None:
        """A worker is through with what it was given."""
        worker = self._workers.get(node)
        if worker is None:
            return
        worker.running.clear()
        worker.units = []
        if self._pool.provider.blank_between_units and self._pending:
            worker.usable = False
            self._pool.blank(worker.slot)
        else:
            self._pump(worker)

    def tick(self) -> None:
        """Some time has passed; give out nothing more if the budget is spent."""
        if self._pending and time.monotonic() > self._deadline:
            self.end("the budget is spent")

    def end(self, reason: str) -> None:
        """Give out nothing more."""
        if not self._ended:
            self._ended = True
            self._sink.ended(reason)

    def attempts_of(self, test: str) -> int:
        """How many attempts at a test were begun and lost."""
        return self._attempts.get(test, 0)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _use(self, worker: Worker) -> None:
        server = worker.slot.server
        if server is not None and worker.epoch != server.epoch and not worker.retired:
            worker.epoch = server.epoch
            worker.usable = False
            worker.node.sendcommand("testlab_use", server=server_to_wire(server))

    def _pump(self, worker: Worker) -> None:
        if not (self._pending and worker.usable and worker.collected) or worker.running or worker.retired:
            return
        self.tick()
        if self._ended:
            return
        worker.units = self._take()
        worker.running.extend(index for unit in worker.units for index in unit.indices)
        assert self.collection is not None
        tests = [self.collection[index] for index in worker.running]
        attempts = {test: self._attempts[test] for test in tests if test in self._attempts}
        self._pool.busy(worker.slot)
        worker.node.sendcommand("testlab_run", indices=list(worker.running), attempts=attempts)

    def _take(self) -> list[Unit]:
        assert self._pending is not None
        taken = [self._pending.popleft()]
        while self._pending and len(taken) < self._group():
            taken.append(self._pending.popleft())
        return taken

    def _group(self) -> int:
        """How many units at once: more than one only where they are short and the target needs no blanking."""
        if self._pool.provider.blank_between_units or not self._done or not self._pending:
            return 1
        mean_s = self._spent_s / self._done
        fair = len(self._pending) // (4 * max(1, len(self._workers)))
        return max(1, min(fair, int(GROUP_S / max(mean_s, 1e-4))))

    def _crashed(self, worker: Worker) -> str:
        """Put what a dead worker held back in the queue, each unit at most `TRIES` times; returns its running test."""
        assert self.collection is not None
        assert self._pending is not None
        crashed = self.collection[worker.running[0]]
        self._attempts[crashed] = self._attempts.get(crashed, 0) + 1
        for unit in reversed(worker.units):
            left = set(unit.indices) & set(worker.running)
            if not left:
                continue
            hit = worker.running[0] in left
            self._tries[unit.key] = self._tries.get(unit.key, 0) + hit
            if self._tries[unit.key] < TRIES:
                self._pending.appendleft(Unit(key=unit.key, indices=_in_order(unit, left), estimate_s=unit.estimate_s))
        worker.running.clear()
        return crashed

    def _retire(self, worker: Worker) -> None:
        worker.retired = True
        worker.node.shutdown()

    def _end_if_nobody_is_left(self) -> None:
        out = (SlotState.LOST, SlotState.GONE)
        if self._pending and all(slot.state in out for slot in self._pool.slots):
            reasons = sorted({slot.say for slot in self._pool.slots if slot.say})
            self.end("no target is left: " + "; ".join(reasons))


def _in_order(unit: Unit, left: set[int]) -> tuple[int, ...]:
    return tuple(index for index in unit.indices if index in left)
