"""The reaper beside a server: every ten minutes, on a thread of its own, whatever becomes of runs and of the store."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_testlab.errors import TestlabError
from pytest_testlab.options import Settings
from pytest_testlab.pool.reaper import Reaped
from pytest_testlab.pool.reaping import reap_all

EVERY_S = 600.0
END_WITHIN_S = 5.0


class Reaping:
    """What the last pass did; read by the pages while the thread works."""

    def __init__(self, settings: Settings, say: Callable[[str], None], *, every_s: float = EVERY_S) -> None:
        self._settings = settings
        self._say = say
        self._every_s = every_s
        self._told: frozenset[str] = frozenset()
        self.last: Reaped | None = None
        self.at: dt.datetime | None = None
        """When the last pass ended."""

    def run(self, stop: threading.Event) -> None:
        """Reap now, and again and again until `stop`."""
        while not stop.is_set():
            self.once()
            stop.wait(self._every_s)

    def once(self) -> None:
        """One pass; what went and what went wrong is said, an error that stays only once."""
        try:
            self.last = reap_all(self._settings, os.environ)
        except TestlabError as error:
            self.last = Reaped(errors=(str(error),))
        except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the reaper of all others
            self.last = Reaped(errors=(f"{type(error).__name__}: {error}",))
        self.at = dt.datetime.now(dt.UTC)
        for resource in self.last.deleted:
            self._say(f"the reaper removed the {resource.kind} {resource.name} of {resource.provider}: it had expired")
        for problem in self.last.errors:
            if problem not in self._told:
                self._say(f"the reaper: {problem}")
        self._told = frozenset(self.last.errors)


@contextmanager
def reaping(settings: Settings, say: Callable[[str], None]) -> Iterator[Reaping]:
    """Reap meanwhile. A pass that is under way at the end is not waited for long: the next one goes on from there."""
    reaper, stop = Reaping(settings, say), threading.Event()
    thread = threading.Thread(target=reaper.run, args=(stop,), name="reaper", daemon=True)
    thread.start()
    try:
        yield reaper
    finally:
        stop.set()
        thread.join(END_WITHIN_S)
