"""What a run does for what it has outside: puts off its expiry, removes what dead runs left, and at last its own.

All of it is told by labels, on a thread of its own, so that a cloud that is away delays and stops nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Collection

from pytest_testlab.errors import InfraError
from pytest_testlab.pool.reaper import Reaped, reap, renew, sweep, sweep_own
from pytest_testlab.protocols import Provider, Reapable

LIFETIME_S = 3600.0
"""From its making, or the last renewal, until a reaper may remove it."""
RENEWALS = 3
"""Within that time."""
AGAIN_S = 60.0
"""After a renewal that failed."""
LOOK_EVERY_S = 10.0
REAP_WITHIN_S = 120.0

log = logging.getLogger("testlab.upkeep")


def _utc_now() -> dt.datetime:
    """This machine's clock, which reapers compare labels with; never a clock of the run's own."""
    return dt.datetime.now(dt.UTC)


class Upkeep:
    """Looks after one run's things at one provider. `start`, then `close`; errors never reach the run itself."""

    def __init__(
        self,
        provider: Provider,
        run: str,
        *,
        dead: Collection[str] = (),
        told: Callable[[str], object] = lambda text: None,
        lifetime_s: float = LIFETIME_S,
        now: Callable[[], dt.datetime] = _utc_now,
        prolong: Callable[[], object] = lambda: None,
    ) -> None:
        """`dead` are runs that are known to work no more; `told` is called with what is done, on the thread.

        `prolong` puts off what the run keeps beyond its end; it raises `InfraError`.
        """
        self._provider = provider
        self._run = run
        self._dead = tuple(dead)
        self._told = told
        self._lifetime = dt.timedelta(seconds=lifetime_s)
        self._now = now
        self._prolong = prolong
        self._over = threading.Event()
        self.problems: list[str] = []
        """What went wrong, for the run's end."""
        self._failing = self._lapsed = False
        self._look_every_s = min(LOOK_EVERY_S, lifetime_s / 30)
        self._written_at = now()
        """When the oldest expiry that may be out there was written."""
        self._thread = threading.Thread(target=self._work, name="testlab-upkeep", daemon=True)

    @property
    def active(self) -> bool:
        """Whether there is anything to do: whether what the provider makes can outlive its run."""
        return isinstance(self._provider, Reapable)

    def expires_at(self) -> dt.datetime | None:
        """What to write on something that is made now; None where nobody reaps."""
        return self._now() + self._lifetime if self.active else None

    def start(self) -> None:
        """Begin; returns at once."""
        if self.active and self._thread.ident is None:
            self._written_at = self._now()
            self._thread.start()

    def close(self, within_s: float = 120.0) -> list[str]:
        """Remove what is left of the run, and stop; returns what went wrong since the start."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(LOOK_EVERY_S)
            self._tell(sweep_own(self._provider, self._run, within_s), "left over at the run's end")
        return self.problems

    def _work(self) -> None:
        try:
            if self._dead:
                self._tell(sweep(self._provider, *self._dead, within_s=REAP_WITHIN_S), "a killed run had left it")
            self._tell(reap({self._provider.name: self._provider}, within_s=REAP_WITHIN_S), "it had expired")
            again_at: dt.datetime | None = None
            while not self._over.wait(self._look_every_s):
                due = self._written_at + self._lifetime / RENEWALS
                if self._now() >= (again_at or due):
                    again_at = None if self._renew() else self._now() + self._patience
        except Exception as error:  # a thread that dies in silence would let the servers expire
            log.exception("the upkeep of the run's servers met an error of its own")
            self._complain(f"the expiry of this run's servers is put off no more: {type(error).__name__}: {error}")

    @property
    def _patience(self) -> dt.timedelta:
        return min(dt.timedelta(seconds=AGAIN_S), self._lifetime / 20)

    def _renew(self) -> bool:
        now = self._now()
        until = self._written_at + self._lifetime
        problems = renew(self._provider, self._run, now + self._lifetime)
        try:
            self._prolong()
        except InfraError as error:
            problems.append(f"of a kept server: {error}")
        if not problems:
            self._written_at = now
            if self._failing:
                self._told("the expiry of this run's servers is put off again")
            self._failing = self._lapsed = False
            return True
        if not self._failing:
            self._failing = True
            self._complain(f"the expiry of this run's servers, {until:%H:%M:%S} UTC, can't be put off: {problems[0]}")
        if now >= until and not self._lapsed:
            self._lapsed = True
            self._complain(f"servers of this run have expired at {until:%H:%M:%S} UTC: any reaper may remove them now")
        return False

    def _tell(self, reaped: Reaped, why: str) -> None:
        for resource in reaped.deleted:
            self._told(f"removed the {resource.kind} {resource.name}: {why}")
        for error in reaped.errors:
            self._complain(f"the reaper: {error}")

    def _complain(self, text: str) -> None:
        self._told(text)
        self.problems.append(text)
