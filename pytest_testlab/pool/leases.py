"""The leases of a run: who may use which server is written in the store, by the store's own clock.

A thread asks the store, and another one watches the time, so that neither a provider nor the run ever waits for a
store that is away. What the run made itself is nobody else's, since its name holds the run's: it is entered once the
store can be had. A server that was there before is used only while the store has confirmed its lease.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import InfraError, Taken, TestlabError
from pytest_testlab.model import Claim
from pytest_testlab.store import migrate
from pytest_testlab.store.engine import make_engine, one_line
from pytest_testlab.store.reads import leases as reads
from pytest_testlab.store.writes import leases as writes
from pytest_testlab.store.writes.leases import Claimant, Granted

TTL_S = 180.0
"""How long a server stays its holder's after the last word of that."""
BEATS = 6
"""Words within that time."""
MARGIN = 0.9
"""The part of that time after which a holder that has not been confirmed stops by itself, before others may begin."""
ANSWER_WITHIN_S = 30.0
RELEASE_WITHIN_S = 5.0
LOOK_EVERY_S = 1.0
AGAIN_S = 1.0
"""How long to wait before a store that is away is asked for something new again."""
STORE_AWAY = "leases need the store, and servers of an inventory need leases; the store can't be reached"

log = logging.getLogger("testlab.leases")


def _now() -> float:
    """Seconds that go on while the machine sleeps: others' time does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease(Claim):
    """One server, ours until it is released or lost."""

    def __init__(self, leases: Leases, who: Claimant, *, fixed: bool) -> None:
        self.who = who
        self.fixed = fixed
        """Whether the server was there before, so that another run may want it."""
        self.epoch: int | None = None
        """None until the store has entered it."""
        self.steps = 0
        """How many epochs it is ahead of the store."""
        self.confirmed = 0.0
        """When the store was last asked with success."""
        self.over = False
        self.kept: tuple[dt.datetime, str, str] | None = None
        """Where it outlives the run: until when, why, and which test failed on it."""
        self.gone = threading.Event()
        """Set once it is the store's no more, or nobody asks for it."""
        self._leases = leases
        self._lost = ""

    @property
    def slot(self) -> int:
        """Of the run's pool."""
        return self.who.slot

    @property
    def lost(self) -> str:
        """Why the server is another's by now; "" while it is ours."""
        return self._lost

    def named(self, server: str) -> None:
        """What people call the server, where that is not what the lease was taken by."""
        with self._leases.turn:
            self.who = replace(self.who, server=server)

    def step(self) -> None:
        """The server was made blank, or anew: what was handed out before no longer counts."""
        with self._leases.turn:
            self.steps += 1
        self._leases.poke()

    def release(self) -> None:
        """Give the server back; may be called twice, never raises. Of one that others wait for, until that is known."""
        if not self.over:
            self.over = True
            self._leases.poke()
        if self.fixed and not self._lost:
            self.gone.wait(RELEASE_WITHIN_S)

    def keep(self, until: dt.datetime, why: str, test: str) -> None:
        """Let go of the server, which goes on to stand; never raises."""
        self.kept = (until, why, test)
        self.release()

    def lose(self, why: str) -> bool:
        """Say that it is another's by now; False when it was said, or given back, before."""
        with self._leases.turn:
            if self._lost or self.over:
                return False
            self._lost = why
            return True


class Leases:
    """The leases of one run; safe to use from several threads. `close` ends them."""

    def __init__(
        self,
        store: str,
        *,
        run: str,
        trigger: str = "",
        fenced: Callable[[Lease, str], object] = lambda lease, why: None,
        ttl_s: float | None = None,
    ) -> None:
        """`fenced` is called, on a thread of the leases', once for each lease that was lost, with the reason."""
        self.turn = threading.RLock()
        self.fenced = fenced
        self._run, self._trigger, self._ttl_s = run, trigger, ttl_s or TTL_S
        self._holder = f"{run} {socket.gethostname()}:{os.getpid()}"
        self._engine = make_engine(store)
        self._held: list[Lease] = []
        self._asked: queue.SimpleQueue[tuple[Lease, Future[None]]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._away = ""
        self._pruned = False
        self._threads = [
            threading.Thread(target=work, name=f"testlab-leases-{name}", daemon=True)
            for name, work in (("store", self._keep), ("watch", self._watch))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def away(self) -> str:
        """Why the store could not be asked when it was last tried; "" when it could."""
        return self._away

    def claim(self, provider: str, name: str, *, slot: int) -> Lease:
        """The lease of a server that was there before, by what is the machine's own.

        Raises `Taken` when somebody else has it, `InfraError` when the store is away.
        """
        lease = self._lease(provider, name, slot, fixed=True)
        with self.turn:
            if any(other.who.key == lease.who.key and not other.gone.is_set() for other in self._held):
                raise Taken(name, "another target of this run")
        if self._over.is_set():
            raise InfraError("the run is over: no server is leased any more")
        granted: Future[None] = Future()
        self._asked.put((lease, granted))
        self.poke()
        try:
            granted.result(ANSWER_WITHIN_S)
        except TimeoutError:
            lease.over = True  # should it come yet, it is given back
            raise InfraError(f"{STORE_AWAY}: it has not answered for {ANSWER_WITHIN_S:g} s") from None
        return lease

    def hold(
        self, provider: str, name: str, *, slot: int, eur_per_hour: float | None = None, address: str = ""
    ) -> Lease:
        """The lease of a server that this run made; it is entered in the store as soon as that can be had."""
        lease = self._lease(provider, name, slot, fixed=False, eur_per_hour=eur_per_hour, address=address)
        with self.turn:
            self._held.append(lease)
        self.poke()
        return lease

    def poke(self) -> None:
        """Ask the store now rather than at the next beat."""
        self._wake.set()

    def close(self, timeout_s: float = RELEASE_WITHIN_S) -> None:
        """Give back what is still held, and stop; what a store that is away can't be told, lapses by itself."""
        with self.turn:
            for lease in self._held:
                lease.over = True
        self._over.set()
        self.poke()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._engine.dispose()

    def _lease(
        self,
        provider: str,
        name: str,
        slot: int,
        *,
        fixed: bool,
        eur_per_hour: float | None = None,
        address: str = "",
    ) -> Lease:
        who = Claimant(
            key=f"{provider}/{name}",
            provider=provider,
            server=name,
            run=self._run,
            slot=slot,
            holder=self._holder,
            trigger=self._trigger,
            eur_per_hour=eur_per_hour,
            address=address,
        )
        return Lease(self, who, fixed=fixed)

    # --- the thread that asks the store -------------------------------------------------------------------------------

    def _keep(self) -> None:
        beat_at = 0.0
        while True:
            last = self._over.is_set()
            self._answer()
            with self.turn:
                held = list(self._held)
            news = [lease for lease in held if lease.over or lease.epoch is None or lease.steps]
            due = _now() >= beat_at
            if due:
                beat_at = _now() + self._ttl_s / BEATS
            self._beat(held if due else news)
            if last:
                break
            self._wake.wait(AGAIN_S if news and self._away else max(0.05, beat_at - _now()))
            self._wake.clear()

    def _answer(self) -> None:
        """Those who wait for a lease come first."""
        while True:
            try:
                lease, granted = self._asked.get_nowait()
            except queue.Empty:
                return
            try:
                with self._transaction() as connection:
                    asked = _now()
                    found = writes.take(connection, lease.who, self._ttl_s)
                    other = reads.find(connection, lease.who.key) if found is None else None
                if found is None:
                    granted.set_exception(Taken(lease.who.server, other))
                    continue
                self._took(lease, found, asked)
                with self.turn:
                    self._held.append(lease)
                granted.set_result(None)
            except (DBAPIError, TestlabError) as error:
                granted.set_exception(InfraError(f"{STORE_AWAY}: {one_line(error)}"))
            except Exception as error:  # noqa: BLE001 - handed over to whoever waits; a dead thread would keep silent
                granted.set_exception(error)

    def _beat(self, leases: list[Lease]) -> None:
        try:
            for lease in leases:
                with self._transaction() as connection:
                    lost = self._tell(connection, lease)
                if lost:
                    self._fence(lease, lost)
            self._away = self._away if not leases else ""
            if leases and not self._pruned:  # once a run is often enough
                with self._transaction() as connection:
                    writes.prune(connection)
                self._pruned = True
        except (DBAPIError, TestlabError) as error:
            if not self._away:
                log.warning("the store is away (%s): leases are confirmed once it is back", one_line(error))
            self._away = one_line(error)
            self._engine.dispose()
            self._let_go()
        except Exception:
            log.exception("the leases met an error of their own")

    def _tell(self, connection: sa.Connection, lease: Lease) -> str:
        """Bring the store's word of a lease up to date; returns why it is lost, or ""."""
        asked, who = _now(), lease.who
        if lease.over:
            if lease.epoch is None and lease.kept is not None:  # the store was away for as long as the run had it
                taken = writes.take(connection, who, self._ttl_s)
                lease.epoch = None if taken is None else taken.epoch
            if lease.epoch is not None and not lease.lost:
                if lease.kept is not None:
                    writes.keep(connection, who, lease.epoch, *lease.kept)
                else:
                    writes.release(connection, who, lease.epoch)
            self._drop(lease)
            return ""
        if lease.lost:
            self._drop(lease)
            return ""
        with self.turn:
            steps = lease.steps
        if lease.epoch is None:
            found = writes.take(connection, who, self._ttl_s)
        else:
            found = writes.renew(connection, who, lease.epoch, self._ttl_s, steps=steps)
        if found is None:
            return self._by_whom(connection, lease)
        self._took(lease, found, asked, steps)
        return ""

    def _took(self, lease: Lease, found: Granted, asked: float, steps: int = 0) -> None:
        with self.turn:
            lease.epoch, lease.confirmed = found.epoch, asked
            lease.steps -= steps

    def _by_whom(self, connection: sa.Connection, lease: Lease) -> str:
        other = reads.find(connection, lease.who.key)
        what = f"the lease of {lease.who.server} was lost"
        if other is None:
            return f"{what}: the store knows nothing of it any more"
        if other.state != "held":
            return f"{what}: it was ended, under epoch {other.epoch}"
        return f"{what} to {other}, under epoch {other.epoch}"

    def _fence(self, lease: Lease, why: str) -> None:
        if lease.lose(why):
            self.fenced(lease, why)
        self._drop(lease)

    def _drop(self, lease: Lease) -> None:
        with self.turn, contextlib.suppress(ValueError):
            self._held.remove(lease)
        lease.gone.set()

    def _let_go(self) -> None:
        """Of what was given back while the store is away nobody waits for an answer: it lapses."""
        with self.turn:
            over = [lease for lease in self._held if lease.over]
        for lease in over:
            self._drop(lease)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            migrate.keep_schema(connection)
            yield connection

    # --- the thread that watches the time -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """A lease that the store has not confirmed in time is lost, whether or not the store can be asked."""
        while not self._over.wait(min(LOOK_EVERY_S, self._ttl_s / 20)):
            with self.turn:
                late = [
                    lease
                    for lease in self._held
                    if lease.fixed and lease.epoch is not None and _now() - lease.confirmed > self._ttl_s * MARGIN
                ]
            for lease in late:
                silent = _now() - lease.confirmed
                why = f"the lease of {lease.who.server} ran out: the store has not confirmed it for {silent:.0f} s"
                self._fence(lease, why + (f" ({self._away})" if self._away else ""))
