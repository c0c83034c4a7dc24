"""Ctrl-C and SIGTERM, taken where a test can be cut short, and kept until then everywhere else.

What collects a bundle, writes the journal or removes an app is bounded in time and is not cut: it is what "nothing is
lost" rests on. Only a stage, and the waiting for a target, may be.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether somebody asked this process to stop: the first signal asks, and those after it insist.

    `on_first` and `on_again` are called in the signal handler: they may neither wait nor take a lock.
    """

    def __init__(
        self, *, on_first: Callable[[], None] = lambda: None, on_again: Callable[[], None] = lambda: None
    ) -> None:
        self.asked = False
        self._on_first = on_first
        self._on_again = on_again
        self._open = True

    def heed(self) -> None:
        """Take the signals from now on; only in the main thread, where Python delivers them."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def ignore(self) -> None:
        """Give the signals back to Python, for what comes after the session."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def hold(self) -> None:
        """From now on nothing may be cut short outside `allowed`."""
        self._open = False

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let `KeyboardInterrupt` be raised inside; at once, if somebody asked before."""
        self._open = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._open = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self._on_again()
            return
        self.asked = True
        self._on_first()
        if self._open:
            self._open = False
            raise KeyboardInterrupt
