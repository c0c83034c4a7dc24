"""In a worker: says what it does, where it has changed, so often as somebody looks, and no more often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Doing = dict[str, Any] | None


class Watch:
    """A thread that looks at what runs. What came and went between two looks is never spoken of."""

    def __init__(self, look: Callable[[], Doing], tell: Callable[[Doing], None], every_s: float) -> None:
        """`tell` sends to the controller, from this thread."""
        self._look = look
        self._tell = tell
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="testlab-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        last: Doing = None
        while not self._over.wait(self._every_s):
            now = self._look()
            if now != last:
                try:
                    self._tell(now)
                except OSError:
                    return  # the controller is gone; the main thread will find out
                last = now
