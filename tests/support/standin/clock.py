"""The cloud's time, which may run faster than ours, and what is due in it."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("standin")
WORKERS = 16


class Clock:
    """Draws how long things take, and says it in our seconds."""

    def __init__(self, speed: float, seed: int) -> None:
        self.speed = speed
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def span(self, seconds: float, spread: float = 0.2) -> float:
        """Of the cloud's seconds, give or take a share of them, as ours."""
        with self._lock:
            return self.ours(seconds * self._random.uniform(1 - spread, 1 + spread))

    def ours(self, seconds: float) -> float:
        """The cloud's seconds as ours."""
        return seconds / self.speed

    def chance(self, share: float) -> bool:
        """Whether something comes to pass that does in this share of cases."""
        with self._lock:
            return self._random.random() < share


def now() -> str:
    """This moment as the API writes it; dates are never sped up, because labels hold true ones."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


class Agenda:
    """Does things later, a few at a time, on threads of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._over = False
        self._pool = ThreadPoolExecutor(WORKERS, "standin")
        self._thread = threading.Thread(target=self._run, name="standin-agenda", daemon=True)
        self._thread.start()

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Do it that many of our seconds from now; what is due after the end is never done."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), do))
            self._changed.notify()

    def close(self) -> None:
        """Forget what is not due yet, and wait for what is being done."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while (do := self._next()) is not None:
            self._pool.submit(_said, do)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._over:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None


def _said(do: Callable[[], object]) -> None:
    try:
        do()
    except Exception:
        log.exception("the stand-in itself is at fault")
