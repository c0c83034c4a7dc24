"""The thread that carries a live run's journal into the store; the store may be away as long as it likes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import TestlabError
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.store.engine import make_engine, one_line
from pytest_testlab.store.migrate import NewerSchema

EVERY_S = 0.1
NOTIFY_S = 1.0
LONGEST_WAIT_S = 5.0
"""Between attempts to reach a store that is away."""
SILENT_S = 20.0
"""A store that has not answered for so long is called away, though the connection stands."""
LET_BE_S = 5.0
"""How long to go on trying, at the end of a run, with a store that is away; `testlab recover` does it at any time."""
WRITERS_END_S = 5.0
"""How long to wait for workers that still have their segment open when all else is carried over."""

log = logging.getLogger("testlab.recorder")


class Recorder:
    """Tails all segments of a run's folder. `start`, then `close`; errors never reach the run itself."""

    def __init__(
        self,
        store: str | sa.Engine,
        folder: RunFolder,
        *,
        revive: Callable[[], bool] = lambda: False,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """`revive` is called when the store is away: it starts a server that is the lab's own; False if it isn't.

        `changed` is called when the store went away or came back; both on the recorder's thread.
        """
        self._engine = make_engine(store) if isinstance(store, str) else store
        self._owns_engine = isinstance(store, str)
        self._drain = Drain(self._engine, folder)
        self._folder = folder
        self._revive = revive
        self._changed = changed
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._let_be: float = 0.0
        self._drained = False
        self._notified = 0.0
        self._news = False
        self._thread = threading.Thread(target=self._loop, name="testlab-recorder", daemon=True)
        self._lost: str | None = None
        self._revived = False
        """Whether the store is the lab's own and was started again: then it is worth waiting for."""
        self._asked_at: float | None = None
        self.waiting = 0
        """How many events wait on disk; counted while the store is away."""

    @property
    def away(self) -> str | None:
        """Why the store can't be reached now; None when it can."""
        asked = self._asked_at
        if self._lost is None and asked is not None and time.monotonic() - asked > SILENT_S:
            return f"it has not answered for {time.monotonic() - asked:.0f} s"
        return self._lost

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
        run's folder as closed, unless somebody does write.
        """
        self._let_be = time.monotonic() + LET_BE_S
        self._deadline = time.monotonic() + deadline_s
        if self._thread.ident is None:
            self.start()
        self.poke()
        self._thread.join(deadline_s + 1.0)
        if self._thread.is_alive():
            self._revive = lambda: False  # a server that is started from now on would have no owner
            return False
        if self._owns_engine:
            self._engine.dispose()
        if self._drained and self._drain.closed and not self._drain.foreign:
            self._folder.mark_closed()
            return True
        return False

    def _loop(self) -> None:
        wait = EVERY_S
        while True:
            closing = self._closing()
            try:
                self._asked_at = time.monotonic()
                self._drain_all()
                wait = EVERY_S
                if self._lost is not None:
                    self._lost = None
                    self._changed()
                if closing:
                    self._drained = True
                    return
            except (DBAPIError, NewerSchema) as error:
                self._lose(one_line(error))
                wait = min(max(wait * 2, 0.2), LONGEST_WAIT_S)
            except Exception:
                # A thread that dies in silence would stop all recording: say it, and go on from the journal.
                log.exception("the recorder met an error of its own")
                wait = min(max(wait * 2, 0.2), LONGEST_WAIT_S)
            self._asked_at = None
            if self._is_over():
                return
            self._pause(wait)

    def _closing(self) -> bool:
        """Whether all is written, so that what can't be read now is damage, and is said aloud."""
        if self._deadline is None:
            return False
        until = min(self._deadline, time.monotonic() + WRITERS_END_S)
        while self._folder.has_writers():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        self._drain.final = True
        return True

    def _is_over(self) -> bool:
        if self._deadline is None:
            return False
        away = self._lost is not None and not self._revived
        return time.monotonic() > (min(self._deadline, self._let_be) if away else self._deadline)

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
            self._asked_at = time.monotonic()
        if self._deadline is not None:
            self._notify(now=True)

    def _notify(self, *, now: bool = False) -> None:
        if self._news and (now or time.monotonic() - self._notified >= NOTIFY_S):
            self._drain.notify()
            self._notified, self._news = time.monotonic(), False

    def _lose(self, say: str) -> None:
        first = self._lost is None
        if first:
            log.warning("the store is away (%s); the journal keeps everything until it is back", say)
        self.waiting = self._drain.waiting()
        self._lost = say
        self._engine.dispose()
        try:
            self._revived = self._revive()
        except TestlabError as error:
            self._revived = False
            self._lost = one_line(error)
        if first:
            self._changed()
