"""The event loop that all SSH lines of a process share, in a thread of its own, behind a synchronous face."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from pytest_testlab.errors import InfraError

T = TypeVar("T")
_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None


def wait_for(work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """Run a coroutine on the shared loop and return its result.

    Raises what it raises, and `InfraError` after `timeout_s` seconds: a last resort, since the work has deadlines of
    its own. Whatever interrupts the wait (Ctrl-C) cancels the work.
    """
    future = asyncio.run_coroutine_threadsafe(work, shared_loop())
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        if future.done():
            raise
        raise InfraError(f"the lab's own line to the target hung for {timeout_s:g} s") from None
    finally:
        future.cancel()


def shared_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process; a fork gets one of its own."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            _running = (os.getpid(), _start())
        return _running[1]


def _start() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="testlab-ssh", daemon=True).start()
    return loop
