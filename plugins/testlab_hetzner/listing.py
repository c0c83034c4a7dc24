"""A listing shared by all who ask at about the same time: sixteen servers that go at once need one list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Generic, TypeVar

from pytest_testlab.errors import InfraError

T = TypeVar("T")


class Shared(Generic[T]):
    """Whoever asks gets an answer that was asked for after they came: never one that was under way, or remembered."""

    def __init__(self, ask: Callable[[], T], gather_s: float) -> None:
        """`gather_s`: how long the first one waits for others to come along."""
        self._ask = ask
        self._gather_s = gather_s
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._coming: Future[T] | None = None

    def get(self, timeout_s: float) -> T:
        """The answer, or what asking for it raised; raises `InfraError` when it is late."""
        with self._lock:
            mine, leads = self._coming, self._coming is None
            if mine is None:
                mine = self._coming = Future()
        if leads:
            self._lead(mine)
        try:
            return mine.result(timeout_s)
        except FutureTimeout:
            if mine.done():
                raise
            raise InfraError(f"no listing came within {timeout_s:g} s") from None

    def _lead(self, answer: Future[T]) -> None:
        with self._asking:  # the one before has been answered
            try:
                time.sleep(self._gather_s)
            finally:
                with self._lock:
                    self._coming = None
            try:
                answer.set_result(self._ask())
            except BaseException as error:  # noqa: BLE001 - handed over to all who wait for it, the leader too
                answer.set_exception(error)
