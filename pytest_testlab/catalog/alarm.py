"""A deadline for Python code that nobody else watches: a test function may wait for anything."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pytest_testlab.errors import DeadlinePassed


@contextlib.contextmanager
def within(seconds: float, config: pytest.Config) -> Iterator[None]:
    """Raise `DeadlinePassed` in what runs inside once so many seconds have passed.

    Not where SIGALRM is somebody else's already (pytest-timeout), in another thread, or under `--pdb`. A debugger that
    is entered otherwise stops the clock for good.
    """

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise DeadlinePassed("test", seconds, "end of the test")

    if not _is_free() or getattr(config.option, "usepdb", False):
        yield
        return
    pause = _StopInDebugger()
    config.pluginmanager.register(pause)
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        config.pluginmanager.unregister(pause)


def _is_free() -> bool:
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


class _StopInDebugger:
    """A pytest plugin for as long as the clock runs."""

    def pytest_enter_pdb(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
