"""The targets of a run: made, blanked and given back on threads of their own, so that nobody waits for a provider."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pytest_testlab.errors import InfraError, TestlabError
from pytest_testlab.labels import labels_of
from pytest_testlab.model import Claim, Server, ServerRequest
from pytest_testlab.pool.costs import Costs
from pytest_testlab.pool.golden import KIND, Golden, Over
from pytest_testlab.pool.keeping import Keeping
from pytest_testlab.pool.kept import address_of
from pytest_testlab.pool.leases import Lease, Leases
from pytest_testlab.pool.onserver import OnServer
from pytest_testlab.pool.upkeep import Upkeep
from pytest_testlab.protocols import Provider
from pytest_testlab.seams import blame


class SlotState(StrEnum):
    """Where a slot stands; only a `ready` one holds a server that was proven blank, a `gone` one holds none.

    `freezing`: a snapshot of its server is being made, on which nothing but the platform is.
    The server of a `kept` one outlives the run.
    """

    PROVISIONING = "provisioning"
    READY = "ready"
    BUSY = "busy"
    BLANKING = "blanking"
    FREEZING = "freezing"
    LOST = "lost"
    GONE = "gone"
    KEPT = "kept"


@dataclass
class Slot:
    """One place of the pool and the server in it."""

    index: int
    state: SlotState = SlotState.PROVISIONING
    server: Server | None = None
    image: str = ""
    """What its server is made from; empty where the provider has no images, or its own default."""
    next_image: str | None = None
    """What it is being changed to, until it is."""
    say: str = ""
    """Why it was lost."""
    since: float = field(default_factory=time.monotonic)
    """When it came into its state, by the monotonic clock."""
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """Image and phase → seconds spent in it."""
    install_s: float | None = None
    """How long the platform's install took on its server as it is; None while it isn't there, or nobody said so."""
    before_wiping: Callable[[Server], None] | None = None
    """Called once, on the pool's thread, before the server is blanked or destroyed: what is on it is evidence."""
    lease: Lease | None = None
    """The server's, or of the one that is being made."""
    failed: str = ""
    """The test that failed on its server, where that is a reason to keep it."""
    taken_out: bool = False
    """Whether another server is to take the place of this one, which is kept."""
    place: int | None = None
    """What a provider knows the slot by; None = its index. A server that is kept keeps its place too."""
    fenced: bool = False
    """Whether its server is another's by now: what runs there counts no more."""

    @property
    def name(self) -> str:
        """The server's name, or the slot's number before there is one."""
        return self.server.name if self.server is not None else f"slot {self.index}"

    @property
    def headed_for(self) -> str:
        """The image of its server, or of the one that takes its place."""
        return self.image if self.next_image is None else self.next_image

    def spent(self, phase: str, seconds: float) -> None:
        """Count seconds of a phase, for the image that it has now."""
        key = self.image, phase
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds


Listener = Callable[[Slot, dt.datetime], None]
Hearer = Callable[[Slot, dt.datetime, str], None]
Intends = Callable[[ServerRequest, dt.datetime], None]
CONSOLE_CHARACTERS = 64_000
"""Of a console's end; the cause of a server's death stands there."""


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Pool:
    """A fixed number of slots.

    On the pool's threads, `changed` is called whenever a slot's state changes, and `said` with what a provider tells of
    its work on a slot.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        run: str,
        size: int,
        image: str,
        changed: Listener,
        said: Hearer = lambda slot, at, say: None,
        now: Callable[[], dt.datetime] = _utc_now,
        mask: Callable[[str], str] = str,
        trigger: str = "",
        intends: Intends = lambda request, at: None,
        leases: Leases | None = None,
        upkeep: Upkeep | None = None,
        golden: Golden | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        """`mask` takes the secrets out of whatever a provider says, before anybody else sees it.

        `intends` is called before a provider is: what it takes down is on disk when it returns, or it raises. `leases`
        and `upkeep` are closed with the pool. `golden`: the snapshots to start from, where there are any.
        """
        self.provider = provider
        self.slots = tuple(Slot(index, image=image) for index in range(size))
        self.costs = Costs()
        self._run = run
        self._changed = changed
        self._said = said
        self._now = now
        self._mask = mask
        self._trigger = trigger
        self._intends = intends
        self._leases = leases
        self._upkeep = upkeep
        self._golden = golden
        self.keeping = keeping
        self._places = itertools.count(size)
        self._unkept: list[str] = []
        """What could not be kept, and why."""
        self._aside: list[tuple[Server, Lease | None, str]] = []
        """Servers that were taken out of their slots to be kept, and the test that failed on each."""
        self._threads = ThreadPoolExecutor(max_workers=size, thread_name_prefix="testlab-pool")
        self._pending: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._made = 0
        self._turn = threading.Condition()

    def start(self, units: int, images: Sequence[str] = ()) -> None:
        """Begin to provision; slots beyond the number of units would never get one, so they stay empty.

        `images` are those of the slots, in their order, where they don't all have the pool's.
        """
        for slot, image in zip(self.slots, images, strict=False):
            slot.image = image
        if self._upkeep is not None:
            self._upkeep.start()
        for slot in self.slots:
            if slot.index >= units:
                self._move(slot, SlotState.GONE)
                continue
            self._move(slot, SlotState.PROVISIONING)
            self._submit(slot, "provision", self._provision)

    def blank(self, slot: Slot) -> None:
        """Begin to blank a slot's server; it is `ready` again, under a new epoch, or `lost`.

        A server that can't be made blank is destroyed, and a new one takes its place. A slot that was lost stays so.
        """
        if slot.state is SlotState.LOST:
            return
        self._move(slot, SlotState.BLANKING)
        self._submit(slot, "blank", self._blank)

    def change_image(self, slot: Slot, image: str) -> None:
        """Begin to replace a slot's server by one of another image, under a new epoch: `ready`, or `lost`."""
        if slot.state is SlotState.LOST:
            return
        slot.next_image = image
        self._move(slot, SlotState.BLANKING)
        self._submit(slot, "provision", lambda slot: self._change_image(slot, image))

    def wants_snapshot(self, slot: Slot) -> bool:
        """Whether `freeze` is to be called now; True once for a slot that nothing was run on since its install."""
        if self._golden is None or slot.server is None or self._closed:
            return False
        return self._golden.claim(slot.server, slot.image, slot.install_s)

    def freeze(self, slot: Slot) -> None:
        """Begin to make a golden snapshot of a slot's server; it is `ready` again, as it was or made blank, or `lost`.

        It may have been rebooted: what led there before leads there no more.
        """
        self._move(slot, SlotState.FREEZING)
        self._submit(slot, "freeze", self._freeze)

    def install_moves_on(self, slot: Slot) -> None:
        """Say that a slot's install failed for now: whoever waits for a snapshot of its server needn't any longer."""
        if self._golden is not None:
            self._golden.slot_lost(slot.index)

    def give_up_snapshot(self, image: str, why: str) -> None:
        """Say that there will be no golden snapshot of an image: whoever waits for it starts bare."""
        if self._golden is not None:
            self._golden.give_up(image, why)

    def failed(self, slot: Slot, test: str) -> None:
        """A test failed on a slot's server: where such are kept it is from now on, whatever becomes of the run.

        Its place in the pool goes to another one, unless too many were taken out already; returns at once.
        """
        keeping, server = self.keeping, slot.server
        if keeping is None or server is None or slot.failed or self._closed:
            return
        slot.failed = test
        if keeping.may_take_out():
            slot.taken_out = True
            self._threads.submit(self._keep_early, slot, server, test)

    def busy(self, slot: Slot) -> None:
        """Say that a slot's server is no longer blank."""
        self._move(slot, SlotState.BUSY)

    def lose(self, slot: Slot, say: str) -> None:
        """Give a slot up for good, with the reason."""
        slot.say = self._mask(say)
        self._move(slot, SlotState.LOST)
        self.install_moves_on(slot)
        self.ask_console(slot)

    def ask_console(self, slot: Slot) -> None:
        """Have what is left to read of a slot's server taken down, before it goes; returns at once."""
        if slot.server is not None and not self._closed:
            with contextlib.suppress(RuntimeError):  # the threads are at their end, and so is the server
                self._threads.submit(self._ask_console, slot, slot.server)

    def index_at(self, place: int) -> int:
        """Which slot a provider knows by that number."""
        return next((slot.index for slot in self.slots if slot.place == place), min(place, len(self.slots) - 1))

    def fence(self, lease: Lease, why: str) -> None:
        """A server is another's by now: whoever works on it must stop, and what comes of it counts no more."""
        slot = self.slots[lease.slot]
        if slot.lease is lease:
            slot.fenced = True
            self.lose(slot, why)

    def lose_stuck(self, within_s: float) -> None:
        """Give up slots whose provider has said nothing for so many seconds."""
        for slot in self.slots:
            waiting = slot.state in (SlotState.PROVISIONING, SlotState.BLANKING, SlotState.FREEZING)
            if waiting and time.monotonic() - slot.since > within_s:
                self.lose(slot, f"{slot.name} was not ready within {within_s:g} s")

    def wait_ready(self, slot: Slot, timeout_s: float) -> Server:
        """Block until a slot is ready; raises `InfraError` with the reason if it is lost or the time is up."""
        settled = (SlotState.READY, SlotState.LOST, SlotState.GONE)
        with self._turn:
            if not self._turn.wait_for(lambda: slot.state in settled, timeout_s):
                raise InfraError(f"{slot.name} was not ready within {timeout_s:g} s")
        if slot.state is not SlotState.READY or slot.server is None:
            raise InfraError(slot.say or f"{slot.name} is {slot.state}")
        return slot.server

    def close(self, timeout_s: float = 120.0) -> list[str]:
        """Destroy every server, and then what else carries the run's label; returns what could not be, and why.

        A server that is made only after all waiting is destroyed as soon as it is there. May be called twice.
        """
        if self._closed:
            return []
        if self._golden is not None:
            self._golden.close()
        with self._lock:
            pending = set(self._pending)
        wait(pending, timeout=timeout_s)
        self._closed = True
        errors = list(self._unkept)
        ends = [self._threads.submit(self._give_back, slot, errors) for slot in self.slots]
        if self._aside:
            ends.append(self._threads.submit(self._keep_aside, errors))
        _, late = wait(ends, timeout=timeout_s)
        errors += [f"{len(late)} servers were not gone within {timeout_s:g} s"] if late else []
        if self._upkeep is not None:
            errors += map(self._mask, self._upkeep.close(timeout_s))
        if self._leases is not None:
            self._leases.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        return errors

    @property
    def within_reach(self) -> int:
        """How many slots have a server, or may still get one."""
        return sum(slot.state not in (SlotState.LOST, SlotState.GONE) for slot in self.slots)

    @property
    def reasons(self) -> list[str]:
        """Why slots were lost, each once."""
        return sorted({slot.say for slot in self.slots if slot.state is SlotState.LOST and slot.say})

    def say(self) -> str:
        """How many slots are in which state, in words."""
        counts: dict[str, int] = {}
        for slot in self.slots:
            counts[slot.state.value] = counts.get(slot.state.value, 0) + 1
        return ", ".join(f"{count} {state}" for state, count in counts.items())

    def time_spent(self, image: str | None = None) -> Mapping[str, float]:
        """Phase → seconds over all slots, for one image or for all."""
        total: dict[str, float] = {}
        for slot in self.slots:
            for (made_from, phase), seconds in list(slot.seconds.items()):
                if image in (None, made_from):
                    total[phase] = total.get(phase, 0.0) + seconds
        return total

    @property
    def new_server_s(self) -> float:
        """What a new server took until it had its platform, in seconds, on average; 0 before there was one."""
        spent = self.time_spent()
        return (spent.get("provision", 0.0) + spent.get("install", 0.0)) / max(1, self._made)

    # --- on the pool's threads ----------------------------------------------------------------------------------------

    def _submit(self, slot: Slot, phase: str, work: Callable[[Slot], Server]) -> None:
        def job() -> None:
            start = time.monotonic()
            try:
                slot.server = work(slot)
            except Over:
                self._move(slot, SlotState.GONE)
            except TestlabError as error:
                self.lose(slot, str(error))
            except Exception as error:  # noqa: BLE001 - a provider is a plugin: what it raises costs its slot, no more
                self.lose(slot, blame(f"the provider {self.provider.name}", error, self.provider))
            else:
                if self._closed:
                    self._destroy(slot, [])
                else:
                    self._move(slot, SlotState.READY)
            finally:
                slot.spent(phase, time.monotonic() - start)

        with self._lock:
            future = self._threads.submit(job)
            self._pending.add(future)
        future.add_done_callback(self._pending.discard)

    def _change_image(self, slot: Slot, image: str) -> Server:
        used = slot.server
        assert used is not None
        self._look_before_wiping(slot, used)
        if not self._set_aside(slot, used):
            self.provider.destroy(used)
            self.costs.end(used.name, self._now())
            self._release(slot)
        self._changed(replace(slot, state=SlotState.GONE), self._now())  # the last that the old image hears of it
        slot.server, slot.image, slot.next_image = None, image, None
        self._move(slot, SlotState.PROVISIONING)
        return replace(self._provision(slot), epoch=used.epoch + 1)

    def _provision(self, slot: Slot) -> Server:
        snapshot = None
        if self._golden is not None:
            snapshot = self._golden.start_from(replace(self._request(slot), slot=slot.index))
            self._move(slot, SlotState.PROVISIONING)  # what it waited for that doesn't count
        asked_at = self._now()
        request = self._request(slot)
        self._intends(request, asked_at)
        server = self._create(request, snapshot)
        slot.install_s = None
        self._made += 1
        self.costs.begin(server.name, server.eur_per_hour, asked_at, image=slot.image)
        if self._leases is not None and (slot.lease is None or slot.lease.over):
            slot.lease = self._leases.hold(
                self.provider.name,
                server.name,
                slot=slot.index,
                eur_per_hour=server.eur_per_hour,
                address=address_of(server),
            )
        if slot.lease is not None:
            slot.lease.named(server.name)
        return server

    def _request(self, slot: Slot) -> ServerRequest:
        def say(text: str) -> None:
            self._said(slot, self._now(), self._mask(text))

        def claim(name: str) -> Claim:
            if self._leases is None:
                return Claim()
            slot.lease = self._leases.claim(self.provider.name, name, slot=slot.index)
            return slot.lease

        expires_at = self._upkeep.expires_at() if self._upkeep is not None else None
        place = slot.index if slot.place is None else slot.place
        labels = labels_of(run=self._run, slot=place, expires_at=expires_at)
        return ServerRequest(
            run=self._run,
            slot=place,
            image=slot.image or None,
            labels=labels,
            trigger=self._trigger,
            expires_at=expires_at,
            claim=claim,
            say=say,
        )

    def _create(self, request: ServerRequest, snapshot: str | None) -> Server:
        """From the snapshot; from the bare disk where that can't be, as when it was removed meanwhile."""
        if self._golden is None or snapshot is None:
            return self.provider.create(request)
        try:
            made = self.provider.create(replace(request, snapshot=snapshot))
        except InfraError as error:
            request.say(f"it can't start from the golden snapshot {snapshot}, and starts bare: {error}")
            self._golden.missed(request.image or "", snapshot)
            return self.provider.create(request)
        return self._marked(replace(made, snapshot=snapshot), request.image or "")

    def _marked(self, server: Server, image: str) -> Server:
        """The server, with what it was made from in the proof of its blankness."""
        if self._golden is None or server.snapshot is None:
            return server
        return replace(server, proof={**server.proof, "golden snapshot": self._golden.proof(image)})

    def _freeze(self, slot: Slot) -> Server:
        server = slot.server
        assert server is not None
        assert self._golden is not None
        try:
            made = self._golden.make(server, slot.image)
        except Exception as error:  # noqa: BLE001 - a night isn't lost for want of a snapshot
            why = self._mask(blame("its snapshot", error, self.provider))
            self._golden.give_up(slot.image, why)
            self._said(slot, self._now(), f"no golden snapshot: {why}")
            return self._blank(slot)
        self._said(slot, self._now(), f"golden snapshot {made.id} made of {server.name}")
        self.costs.begin(f"{KIND} {made.id}", made.eur_per_hour, self._now(), by_the_hour=False, image=slot.image)
        for stays in self._golden.prune(slot.image):
            self._said(slot, self._now(), self._mask(stays))
        return replace(server, proof={**server.proof, "frozen": f"as the golden snapshot {made.id}"})

    def _ask_console(self, slot: Slot, server: Server) -> None:
        """Before it is destroyed: what is left to read of a server that was lost."""
        try:
            text = self.provider.console(server)
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            text = blame("asking for it", error, self.provider)
        if text:
            text = self._mask(text)[-CONSOLE_CHARACTERS:]
            self._said(slot, self._now(), f"the console of {server.name}:\n{text}")

    def _blank(self, slot: Slot) -> Server:
        used = slot.server
        assert used is not None
        self._look_before_wiping(slot, used)
        if slot.failed and (another := self._another(slot, used)) is not None:
            return another
        slot.install_s = None
        if self._golden is not None and used.snapshot is None and self._golden.snapshot(slot.image) is not None:
            return self._replaced(slot, used, "by one that starts from the golden snapshot")
        try:
            blank = self._marked(self.provider.blank(used), slot.image)
            if slot.lease is not None:
                slot.lease.step()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a new server is not
            why = self._mask(blame("its blanking", error, self.provider))
        else:
            return replace(blank, epoch=max(blank.epoch, used.epoch + 1))
        self._said(slot, self._now(), f"{used.name} can't be made blank, and is replaced: {why}")
        self._ask_console(slot, used)
        return self._replaced(slot, used, why)

    def _replaced(self, slot: Slot, used: Server, why: str) -> Server:
        self.provider.destroy(used)
        self.costs.end(used.name, self._now())
        self._release(slot)
        made = self._provision(slot)
        return replace(made, epoch=used.epoch + 1, proof={**made.proof, "replaces": f"{used.name}: {why}"[:500]})

    def _look_before_wiping(self, slot: Slot, server: Server) -> None:
        look, slot.before_wiping = slot.before_wiping, None
        if look is not None:
            look(server)

    def _another(self, slot: Slot, used: Server) -> Server | None:
        """A new server in the place of one that is kept; None where that one is to be made blank after all."""
        place, lease = slot.place, slot.lease
        if not self._set_aside(slot, used):
            return None
        try:
            made = self._provision(slot)
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            why = self._mask(blame("another in its place", error, self.provider))
            self._not_kept(slot, f"{used.name} is not kept after all, as no other can be had: {why}")
            self._take_back(slot, used, place, lease)
            return None
        return replace(made, epoch=used.epoch + 1, proof={**made.proof, "replaces": f"{used.name}, which is kept"})

    def _set_aside(self, slot: Slot, used: Server) -> bool:
        """Keep a slot's server, on which a test failed, and leave the slot to another; False where it isn't kept."""
        test, slot.failed = slot.failed, ""
        taken_out, slot.taken_out = slot.taken_out, False
        if self.keeping is None or not test:
            return False
        if not taken_out:
            self._said(slot, self._now(), f"{used.name} is not kept, as others are already, though {test} failed on it")
            return False
        try:
            self.keeping.keep(used, test)
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            self._not_kept(slot, self._mask(f"{used.name} can't be kept: {error}"))
            return False
        self._aside.append((used, slot.lease, test))
        slot.lease, slot.place = None, next(self._places)
        return True

    def _not_kept(self, slot: Slot, say: str) -> None:
        """Who asked for it hears of it at the run's end as well."""
        self._said(slot, self._now(), say)
        self._unkept.append(say)

    def _take_back(self, slot: Slot, used: Server, place: int | None, lease: Lease | None) -> None:
        assert self.keeping is not None
        self._aside = [aside for aside in self._aside if aside[0] is not used]
        slot.place, slot.lease = place, lease
        with contextlib.suppress(TestlabError):  # a label that stays is no harm: the run itself ends the server
            self.keeping.take_back(used, None if self._upkeep is None else self._upkeep.expires_at())

    def _keep_early(self, slot: Slot, server: Server, test: str) -> None:
        assert self.keeping is not None
        try:
            until = self.keeping.keep(server, test)
        except Exception as error:  # noqa: BLE001 - tried again when the slot is needed, or at the end
            self._said(slot, self._now(), self._mask(f"{server.name} can't be kept yet: {error}"))
        else:
            self._said(slot, self._now(), f"{server.name} is kept, until {until:%H:%M:%S} UTC at least: {test} failed")

    def _keep_aside(self, errors: list[str]) -> None:
        for server, lease, test in self._aside:
            self._keep(server, lease, test, errors)

    def _give_back(self, slot: Slot, errors: list[str]) -> None:
        keep = self.keeping is not None and self.keeping.wants(slot.failed) and not slot.fenced
        if keep and slot.server is not None:
            self._look_before_wiping(slot, slot.server)
            if self._keep(slot.server, slot.lease, slot.failed, errors):
                self._move(slot, SlotState.KEPT)
                return
        self._destroy(slot, errors)

    def _keep(self, server: Server, lease: Lease | None, test: str, errors: list[str]) -> bool:
        """Have a server stand for its whole time from now on; where that fails it is given back, which is said."""
        assert self.keeping is not None
        try:
            until = self.keeping.keep(server, test)
        except Exception as error:  # noqa: BLE001 - as with all that a plugin raises
            errors.append(self._mask(f"{server.name} can't be kept: {error}"))
            return False
        if lease is not None:
            lease.keep(until, self.keeping.why(test), test)
        return True

    def _destroy(self, slot: Slot, errors: list[str]) -> None:
        if slot.server is None:
            return
        try:
            self._look_before_wiping(slot, slot.server)
            self.provider.destroy(slot.server)
        except Exception as error:  # noqa: BLE001 - a server that stays must be named, whatever was raised
            errors.append(self._mask(f"{slot.name}: {blame('its removal', error, self.provider)}"))
        else:
            self.costs.end(slot.server.name, self._now())
            self._release(slot)
            self._move(slot, SlotState.GONE)

    def _release(self, slot: Slot) -> None:
        if slot.lease is not None and isinstance(self.provider, OnServer):
            self.provider.give_back(slot.lease)
        elif slot.lease is not None:
            slot.lease.release()

    def _move(self, slot: Slot, state: SlotState) -> None:
        if slot.state is SlotState.LOST and state not in (SlotState.GONE, SlotState.KEPT):
            return
        with self._turn:
            slot.state, slot.since = state, time.monotonic()
            self._turn.notify_all()
        self._changed(slot, self._now())
