"""The line at the bottom of a terminal that says what runs just now; there is none where output isn't a terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TICK_S = 0.5
ERASE = "\r\x1b[2K"


class StatusLine:
    """Rewrites one line on a thread of its own. Whoever prints lines in between does so inside `aside`."""

    def __init__(self, writer: Any, say: Callable[[], str]) -> None:
        """`writer` is pytest's terminal writer; `say` gives the text, and is called on the thread."""
        self._writer = writer
        self._say = say
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="testlab-status", daemon=True)

    @staticmethod
    def fits(reporter: Any) -> bool:
        """Whether the output is a terminal that can erase a line."""
        return bool(reporter is not None and reporter.isatty and os.environ.get("TERM", "dumb") != "dumb")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and leave no trace; may be called twice, and without `start`."""
        if self._thread.is_alive():
            self._over.set()
            self._thread.join(timeout=5)
            self._put(ERASE)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Erase the line while something else is printed."""
        with self._lock:
            if self._thread.is_alive():
                self._put(ERASE)
            yield

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            with self._lock:
                text = self._say()[: max(20, self._writer.fullwidth - 1)]
                self._put(f"{ERASE}\x1b[2m{text}\x1b[0m")

    def _put(self, text: str) -> None:
        self._writer.write(text, flush=True)
