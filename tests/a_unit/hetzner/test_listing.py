"""One listing for all who ask at about the same time."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from testlab_hetzner.listing import Shared


def test_who_asks_at_once_shares_an_answer() -> None:
    """Never one that was under way when they came: it may not show what they did just before."""
    begun, all_came, coming = threading.Event(), threading.Event(), threading.Semaphore(0)
    numbers = itertools.count()

    def ask() -> int:
        number = next(numbers)
        begun.set()
        assert all_came.wait(60)
        return number

    def come() -> int:
        coming.release()
        return shared.get(60)

    shared = Shared(ask, 0.2)
    with ThreadPoolExecutor(17) as threads:
        first = threads.submit(shared.get, 60)
        assert begun.wait(60)
        others = [threads.submit(come) for _ in range(16)]
        assert all(coming.acquire(timeout=60) for _ in others)
        all_came.set()
        assert first.result(60) == 0
        assert {other.result(60) for other in others} == {1}


def test_all_hear_of_a_failure_and_the_next_one_asks_anew() -> None:
    answers = iter([OSError("down"), None])

    def ask() -> str:
        if error := next(answers):
            raise error
        return "up"

    shared = Shared(ask, 0)
    with pytest.raises(OSError, match="down"):
        shared.get(30)
    assert shared.get(30) == "up"
