"""The scheduler behind xdist: units are pulled longest-first by whichever blank target is free, one at a time.

It runs on xdist's event loop only; what other threads have to say reaches it as an event.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pytest_testlab.catalog.attempts import TRIES
from pytest_testlab.distribution import private
from pytest_testlab.distribution.queue import Queue, Queues, how_many
from pytest_testlab.distribution.wire import server_to_wire
from pytest_testlab.planning.images import worth_moving
from pytest_testlab.planning.units import Unit
from pytest_testlab.pool.pool import Pool, Slot, SlotState

OUT = (SlotState.LOST, SlotState.GONE)
"""States of a slot that comes back no more."""


class Node(Protocol):
    """What the scheduler uses of xdist's end of a worker."""

    workerinput: dict[str, Any]

    @property
    def shutting_down(self) -> bool:
        """Whether it was told to end, or is gone: it takes no more commands."""

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
    used: bool = False
    """Whether its server must be made blank before its next unit."""
    fresh: bool = True
    """Whether no unit was run on its server since that was blank."""
    bare: bool = False
    """Whether its server has no platform yet: the unit that installs it is to come."""
    frozen: bool = False
    """Whether its server was rebooted for a snapshot since it was last told of it."""
    running: deque[int] = field(default_factory=deque)
    units: list[Unit] = field(default_factory=list)
    """What it was given, until it says that it is idle."""
    retired: bool = False


class Sink(Protocol):
    """Who must know what the scheduler found out."""

    def wrong_catalog(self, node: Node) -> None:
        """A worker collected something else than the first one did."""

    def lost(self, slot: Slot, say: str) -> None:
        """A slot is out of the run."""

    def recorded(self, node: Node, test: str) -> bool | None:
        """What a dead worker's journal says of the test that it held.

        None: it didn't get through. True: its result is to be tried again, else it stands.
        """

    def void(self, node: Node, test: str) -> bool:
        """A dead worker's target was another's: what its journal says of a test counts no more. False: nothing."""

    def blocked(self, tests: Sequence[str], *, by: str, failure_class: str = "infra") -> None:
        """These won't be run, because a test before them couldn't, or failed."""

    def is_retried(self, test: str) -> bool:
        """Whether a test whose worker died is to be tried again: only the catalog's are."""

    def ended(self, reason: str) -> None:
        """Nothing more can be given out: there is no target left, or the budget is spent."""


class PullScheduler:
    """Implements xdist's scheduling protocol."""

    def __init__(
        self, pool: Pool, sink: Sink, *, deadline: float, attempts: dict[str, int], config: Any = None
    ) -> None:
        self.config = config
        """As xdist's own have it: plugins that hear of a crash look there (pytest-rerunfailures)."""
        self._pool = pool
        self._sink = sink
        self._deadline = deadline
        self._attempts = attempts
        """Test → attempts that were made of it."""
        self._workers: dict[Any, Worker] = {}
        self._queues: Queues | None = None
        """By image; None before there is a plan."""
        self._done = 0
        self._spent_s = 0.0
        self._done_estimate_s = 0.0
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
        """Whether nothing is pending *or running*, and no worker may still hand something back."""
        running = any(worker.units for worker in self._workers.values())
        return not running and (self._ended or (self._queues is not None and self._queues.empty))

    @property
    def has_pending(self) -> bool:
        """Whether there is something to give out."""
        return self._queues is not None and not self._queues.empty

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
        if self._is_void(worker, item_index):
            return  # it counts as running until its worker is gone
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
        """A worker is gone; returns the test that it was running and didn't get through."""
        worker = self._workers.pop(node)
        crashed = None
        if worker.running and private.ended_in_order(node):
            self._void(worker, worker.running)
            self._take_back(worker, again=False)  # it was told to end before it had begun
        elif worker.running:
            crashed = self._crashed(worker)
        if not worker.retired and worker.slot.state is SlotState.READY:
            self._pool.busy(worker.slot)
        self._end_if_nobody_is_left()
        self.schedule()  # others may have nothing to do, and would wait for ever for what it held
        return crashed

    # --- the lab's events ---------------------------------------------------------------------------------------------

    def refuse(self, node: Any) -> None:
        """A worker sees another catalog than the first one did: it gets no test."""
        worker = self._workers.get(node)
        if worker is not None and not worker.retired:
            self._sink.wrong_catalog(node)
            self._retire(worker)
            self._pool.lose(worker.slot, "its worker collected other tests than the first one")

    def plan(self, units: Iterable[Unit]) -> None:
        """Begin to give out units, of each image in this order."""
        self._queues = Queues(units)
        self.schedule()

    def slot_changed(self, slot: Slot) -> None:
        """A slot of the pool is ready, or lost."""
        worker = next((worker for worker in self._workers.values() if worker.slot is slot), None)
        if slot.state is SlotState.LOST:
            self._sink.lost(slot, slot.say)
            if worker is not None:
                self._retire(worker)
            self._end_if_nobody_is_left()
            self.schedule()  # a unit that was barred from the last slot that is left may run there after all
        elif slot.state is SlotState.READY and worker is not None:
            self._use(worker)

    def usable(self, node: Any, epoch: int) -> None:
        """A worker's target can take tests."""
        worker = self._workers.get(node)
        if worker is None or worker.epoch != epoch:
            return
        if not worker.bare and self._pool.wants_snapshot(worker.slot):
            self._freeze(worker)
        else:
            worker.usable = True
            self._pump(worker)

    def idle(self, node: Any, *, left: Sequence[int] = (), again: bool = False, spoiled: bool = False) -> None:
        """A worker is through with what it was given, but for what is `left`.

        `again`: the first of that met an infrastructure fault, and is tried again. `spoiled`: its target is no good.
        """
        worker = self._workers.get(node)
        if worker is None or worker.slot.fenced:
            return
        worker.running = deque(left)
        if left:
            self._take_back(worker, again=again)
        units, worker.units = worker.units, []
        self._done_estimate_s += sum(unit.estimate_s for unit in units)
        apart = self._pool.provider.blank_between_units or any(unit.alone for unit in units)
        worker.used = spoiled or apart or bool(worker.slot.failed)
        if worker.bare and not (spoiled or worker.slot.failed) and self._pool.wants_snapshot(worker.slot):
            self._freeze(worker)
        worker.bare = False
        self.schedule()

    def hand_back(self, node: Any) -> None:
        """A worker was told to stop, and keeps what it had found; what it ran is tried again elsewhere."""
        worker = self._workers[node]
        worker.retired = True
        if worker.running:
            self._take_back(worker, again=True)
        worker.units = []
        self.schedule()

    def interrupt(self) -> None:
        """Have every worker end what it does, and give out nothing more."""
        self._ended = True
        for worker in self._workers.values():
            private.command(worker.node, "testlab_stop")

    def block_all(self, *, by: str, failure_class: str, image: str = "") -> None:
        """What is still pending on an image can't be run: what all of it stands on has failed."""
        assert self.collection is not None
        assert self._queues is not None
        if pending := self._queues[image].clear():
            tests = [self.collection[index] for unit in pending for index in unit.indices]
            self._sink.blocked(tests, by=by, failure_class=failure_class)

    def tick(self) -> None:
        """Some time has passed; give out nothing more if the budget is spent."""
        if self.has_pending and time.monotonic() > self._deadline:
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
        if server is not None and (worker.epoch != server.epoch or worker.frozen) and not worker.retired:
            worker.epoch = server.epoch
            worker.usable = False
            worker.fresh = True
            worker.bare = self._queue(worker).first is not None and self._may_install(worker)
            told = {"server": server_to_wire(server), "install": not worker.bare, "rebooted": worker.frozen}
            worker.frozen = False
            private.command(worker.node, "testlab_use", **told)

    def _freeze(self, worker: Worker) -> None:
        """Have a snapshot made of a server on which nothing but the platform is, before it is used."""
        worker.usable = worker.used = False
        worker.frozen = True
        self._pool.freeze(worker.slot)

    def _queue(self, worker: Worker) -> Queue:
        """What is pending on the image of a worker's slot."""
        return self._queues[worker.slot.image] if self._queues is not None else Queue()

    def _beside(self, worker: Worker) -> list[Worker]:
        """The other workers on its image."""
        return [
            other for other in self._workers.values() if other is not worker and other.slot.image == worker.slot.image
        ]

    def _may_install(self, worker: Worker) -> bool:
        """Whether no other worker is kept bare, so that the platform is installed for the first time on this one's."""
        return not any(other.bare and not other.retired for other in self._beside(worker))

    def _pump(self, worker: Worker) -> None:
        if not (self.has_pending and worker.collected) or worker.units or worker.retired or self._ended:
            return
        if worker.node.shutting_down:
            return
        unit = self._next_for(worker)
        if unit is None:
            self._move_over(worker)
            return
        if worker.used or ((unit.alone or unit.first) and not worker.fresh) or worker.bare != unit.first:
            if worker.usable or worker.used:
                worker.used = worker.usable = False
                worker.bare = unit.first
                self._pool.blank(worker.slot)
        elif worker.usable:
            self.tick()
            if not self._ended:
                self._give(worker, unit)

    def _next_for(self, worker: Worker) -> Unit | None:
        """What a worker gets next; nothing while another one installs the platform for the first time."""
        queue = self._queue(worker)
        if any(unit.first for other in self._beside(worker) for unit in other.units):
            return None
        if (first := queue.first) is not None:
            return first if self._may_install(worker) and self._may(worker, first) else None
        return next((unit for unit in queue if self._may(worker, unit)), None)

    def _may(self, worker: Worker, unit: Unit) -> bool:
        """Whether a unit may run there: a second try is made elsewhere, as long as there is an elsewhere."""
        return self._queue(worker).barred.get(unit.key) != worker.slot.index or not any(
            slot is not worker.slot and slot.state not in OUT and slot.headed_for == worker.slot.image
            for slot in self._pool.slots
        )

    def _move_over(self, worker: Worker) -> None:
        """Have a worker with nothing left to do on its image take up another one, if what is left there is worth it."""
        assert self._queues is not None
        if self._queue(worker) or not (worker.usable or worker.used):
            return
        pace = self._spent_s / self._done_estimate_s if self._done_estimate_s else 1.0
        waiting = {image: queue.left_s * pace for image, queue in self._queues.items() if queue}
        slots = {image: self._serving(image) for image in waiting}
        for image in sorted(waiting, key=lambda image: -waiting[image] / max(1, slots[image])):
            free = len(self._queues[image]) > self._coming(image)
            if free and worth_moving(waiting[image], slots[image], self._pool.new_server_s):
                worker.used = worker.usable = worker.bare = False
                self._pool.change_image(worker.slot, image)
                return

    def _serving(self, image: str) -> int:
        """How many slots work on an image, or will."""
        return sum(slot.headed_for == image and slot.state not in OUT for slot in self._pool.slots)

    def _coming(self, image: str) -> int:
        """How many of them are being made ready, and will take something from the queue."""
        coming = (SlotState.PROVISIONING, SlotState.BLANKING, SlotState.READY)
        return sum(slot.headed_for == image and slot.state in coming for slot in self._pool.slots)

    def _give(self, worker: Worker, unit: Unit) -> None:
        assert self.collection is not None
        worker.units = self._take(worker, unit)
        worker.fresh = False
        worker.running.extend(index for unit in worker.units for index in unit.indices)
        tests = [self.collection[index] for index in worker.running]
        attempts = {test: self._attempts[test] for test in tests if test in self._attempts}
        self._pool.busy(worker.slot)
        private.command(worker.node, "testlab_run", indices=list(worker.running), attempts=attempts)

    def _take(self, worker: Worker, unit: Unit) -> list[Unit]:
        """A unit, and those that follow where they are short and the target needs no blanking."""
        queue, most = self._queue(worker), 1
        if not self._pool.provider.blank_between_units and self._done:
            workers = len(self._beside(worker)) + 1
            most = how_many(self._spent_s / self._done, len(queue) - 1, workers)
        return queue.take(unit, most)

    def _crashed(self, worker: Worker) -> str | None:
        """Put back what a dead worker held; returns its running test, unless the journal has its result."""
        assert self.collection is not None
        test = self.collection[worker.running[0]]
        recorded = self._sink.recorded(worker.node, test)
        again = recorded is not False and self._sink.is_retried(test)
        self._void(worker, list(worker.running)[1:])
        if not again:
            worker.running.popleft()
        if worker.running:
            self._take_back(worker, again=again)
        return test if recorded is None else None

    def _is_void(self, worker: Worker, index: int) -> bool:
        """Whether what a worker says of a test doesn't count, because its target is another's by now."""
        assert self.collection is not None
        return worker.slot.fenced and self._sink.is_retried(self.collection[index])

    def _void(self, worker: Worker, indices: Iterable[int]) -> None:
        """Let nothing count that a worker recorded on a target that was another's; such tests were tried once."""
        assert self.collection is not None
        for test in [self.collection[index] for index in indices if self._is_void(worker, index)]:
            if self._sink.void(worker.node, test):
                self._attempts[test] = self._attempts.get(test, 0) + 1

    def _take_back(self, worker: Worker, *, again: bool) -> None:
        """Put what a worker held back in the queue, at its head; the first test counts as tried if `again`."""
        queue = self._queue(worker)
        hit = next(unit for unit in worker.units if worker.running[0] in unit.indices) if again else None
        if hit is not None:
            queue.barred[hit.key] = worker.slot.index
            if hit.first:
                self._pool.install_moves_on(worker.slot)
            self._count_try(worker, hit)
        left = set(worker.running)
        for unit in reversed(worker.units):
            if indices := tuple(index for index in unit.indices if index in left):
                queue.put_back(replace(unit, indices=indices))
        worker.running.clear()

    def _count_try(self, worker: Worker, hit: Unit) -> None:
        """After the last try what was to follow in the unit is blocked, since that try can't be made up for."""
        assert self.collection is not None
        test = self.collection[worker.running[0]]
        self._attempts[test] = self._attempts.get(test, 0) + 1
        if self._attempts[test] < TRIES:
            return
        held = [index for index in worker.running if index in hit.indices]
        worker.running = deque(index for index in worker.running if index not in hit.indices)
        if held[1:]:
            self._sink.blocked([self.collection[index] for index in held[1:]], by=test)

    def will_retry(self, test: str) -> bool:
        """Whether a test whose worker died is tried again."""
        return 0 < self._attempts.get(test, 0) < TRIES

    def _retire(self, worker: Worker) -> None:
        worker.retired = True
        worker.node.shutdown()

    def _end_if_nobody_is_left(self) -> None:
        if self.has_pending and all(slot.state in OUT for slot in self._pool.slots):
            reasons = sorted({slot.say for slot in self._pool.slots if slot.say})
            self.end("no target is left: " + "; ".join(reasons))
