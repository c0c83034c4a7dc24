"""Finds workers that hang: each one says every few seconds that it lives, and since when it is busy with what.

A worker that is stopped or stuck says nothing any more; one whose test doesn't end says so itself, from a thread of
its own. Both are killed by the controller, so that their tests are tried again elsewhere.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_testlab.distribution import private

BEAT_S = 2.0
SILENT_S = 30.0
"""Silence after which a worker counts as hung: far longer than any machine that still works is busy."""
START_S = 300.0
"""The same for a worker that has not yet begun to say that it lives: it is being started, or reads a large catalog."""
GRACE_S = 120.0
"""Beyond a test's own timeout, for its bundle and for removing its app."""
STALLED_S = 10.0
"""A gap in what is done every second or two that means that this process was stopped (Ctrl-Z), or its machine was."""
STACKS_S = 2.0
"""For a hung worker to write down where it hangs."""
STACKS = signal.SIGUSR1


def stacks_file(folder: Path, worker: str) -> Path:
    """Where a worker's threads are written down before it is killed."""
    return folder / f"{worker}.stacks"


class Heart:
    """In a worker: says that it lives, and when what it does takes longer than it may."""

    def __init__(self, say: Callable[[str], None], stacks: Path) -> None:
        """`say` sends to the controller, from any thread: "" for life, else what takes too long."""
        self._say = say
        self._over = threading.Event()
        self._doing: tuple[str, float, float] | None = None
        self._stalled_s = 0.0
        """Of what it does: how long the process was stopped, with all that is measured in it."""
        self._stacks = stacks.open("w")
        stacks.chmod(0o600)
        faulthandler.register(STACKS, file=self._stacks, all_threads=True)
        self._thread = threading.Thread(target=self._beat, name="testlab-heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End; leaves no file where nothing was written down."""
        self._over.set()
        self._thread.join(timeout=2 * BEAT_S)
        faulthandler.unregister(STACKS)
        self._stacks.close()
        with contextlib.suppress(FileNotFoundError):
            path = Path(self._stacks.name)
            if not path.stat().st_size:
                path.unlink()

    @contextlib.contextmanager
    def doing(self, what: str, within_s: float) -> Iterator[None]:
        """Something that must be over within so many seconds."""
        self._stalled_s = 0.0
        self._doing = (what, time.monotonic(), within_s)
        try:
            yield
        finally:
            self._doing = None

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._over.wait(BEAT_S):
            gap, last = time.monotonic() - last, time.monotonic()
            self._stalled_s += gap if gap > STALLED_S else 0.0
            try:
                self._say(self._late())
            except OSError:
                return  # the controller is gone; the main thread will find out

    def _late(self) -> str:
        doing = self._doing
        if doing is None:
            return ""
        what, since, within_s = doing
        seconds = time.monotonic() - since - self._stalled_s
        return "" if seconds < within_s else f"{what} did not end within {within_s:g} s"


class Watchdog:
    """In the controller: kills workers that hang. `look` is called every second or so, on any one thread."""

    def __init__(self, condemned: Callable[[Any, str], None]) -> None:
        """`condemned(node, why)` is called once, before the worker is killed."""
        self._condemned = condemned
        self._kill_at: dict[Any, float] = {}
        self._looked_at = self._awake_since = time.monotonic()

    def look(self, nodes: Iterable[Any]) -> None:
        """Condemn workers that have been silent for too long; kill the condemned.

        Whoever was stopped together with this process has all of its time again.
        """
        now = time.monotonic()
        if now - self._looked_at > STALLED_S:
            self._awake_since = now
        self._looked_at = now
        for node in nodes:
            silent = min(private.silent_s(node), now - self._awake_since)
            if node not in self._kill_at and silent > (SILENT_S if private.beats(node) else START_S):
                self.condemn(node, f"the worker said nothing for {silent:.0f} s")
        for node, moment in self._kill_at.items():
            if time.monotonic() > moment:
                private.kill(node)

    def condemn(self, node: Any, why: str, *, at_once: bool = False) -> None:
        """Have a worker write down where it hangs, then kill it a moment later.

        One that was stopped is killed as it stands: if it went on, its test would be measured wrongly. So is, with
        `at_once`, one that works on what is another's by now.
        """
        if node in self._kill_at:
            return
        stopped = private.is_stopped(node)
        self._kill_at[node] = time.monotonic() + (0 if stopped or at_once else STACKS_S)
        self._condemned(node, why + (": its process was stopped" if stopped else ""))
        if at_once:
            private.kill(node)
        elif not stopped:
            private.kill(node, STACKS)
