"""The thread that carries a live run's journal into the store; the store may be away as long as it likes."""

from __future__ import annotations

import logging
import threading
import time

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError

from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.store.engine import make_engine, one_line

EVERY_S = 0.1
NOTIFY_S = 1.0
LONGEST_WAIT_S = 5.0
"""Between attempts to reach a store that is away."""

log = logging.getLogger("testlab.recorder")


class Recorder:
    """Tails all segments of a run's folder. `start`, then `close`; errors never reach the run itself."""

    def __init__(self, store: str | sa.Engine, folder: RunFolder) -> None:
        self._engine = make_engine(store) if isinstance(store, str) else store
        self._owns_engine = isinstance(store, str)
        self._drain = Drain(self._engine, folder)
        self._folder = folder
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._drained = False
        self._notified = 0.0
        self._news = False
        self._thread = threading.Thread(target=self._loop, name="testlab-recorder", daemon=True)
        self.away: str | None = None
        """Why the store can't be reached now; None when it can."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be carried over; the journal still has it."""
        return tuple(self._drain.problems)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def poke(self) -> None:
        """Say that there is something new, rather than wait for the next look."""
        self._wake.set()

    def close(self, deadline_s: float = 30.0) -> bool:
        """Carry over what is left and stop; True when all of it reached the store and the run is closed there.

        False leaves it to recovery: the journal has everything. To be called when nobody writes any more; marks the
        run's folder as closed.
        """
        self._deadline = time.monotonic() + deadline_s
        if self._thread.ident is None:
            self.start()
        self.poke()
        self._thread.join(deadline_s + 1.0)
        if self._thread.is_alive():
            return False
        if self._owns_engine:
            self._engine.dispose()
        if self._drained and self._drain.closed:
            self._folder.mark_closed()
            return True
        return False

    def _loop(self) -> None:
        wait = EVERY_S
        while True:
            closing = self._deadline is not None
            try:
                self._drain_all()
                self.away, wait = None, EVERY_S
                if closing:
                    self._drained = True
                    return
            except (OperationalError, InterfaceError) as error:
                self._lost(one_line(error))
                wait = min(max(wait * 2, 0.2), LONGEST_WAIT_S)
            except Exception:
                # A thread that dies in silence would stop all recording: say it, and go on from the journal.
                log.exception("the recorder met an error of its own")
                wait = min(max(wait * 2, 0.2), LONGEST_WAIT_S)
            if self._deadline is not None and time.monotonic() > self._deadline:
                return
            self._pause(wait)

    def _pause(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = min(seconds, 0.2)
        self._wake.wait(seconds)
        self._wake.clear()

    def _drain_all(self) -> None:
        while True:
            moved = self._drain.events()
            self._news = self._news or moved
            self._notify()
            if not moved and not self._drain.bundles():
                break
        if self._deadline is not None:
            self._notify(now=True)

    def _notify(self, *, now: bool = False) -> None:
        if self._news and (now or time.monotonic() - self._notified >= NOTIFY_S):
            self._drain.notify()
            self._notified, self._news = time.monotonic(), False

    def _lost(self, say: str) -> None:
        if self.away is None:
            log.warning("the store is away (%s); the journal keeps everything until it is back", say)
        self.away = say
        self._engine.dispose()
