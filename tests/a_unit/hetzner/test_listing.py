"""One listing for all who ask at about the same time."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from testlab_hetzner.listing import Shared


def test_who_asks_at_once_shares_an_answer() -> None:
    """Never one that was under way when they came: it may not show what they did just before."""
    begun = threading.Event()
    numbers = itertools.count()

    def ask() -> int:
        begun.set()
        time.sleep(0.2)
        return next(numbers)

    shared = Shared(ask, 0.05)
    with ThreadPoolExecutor(17) as threads:
        first = threads.submit(shared.get, 30)
        assert begun.wait(30)
        others = [threads.submit(shared.get, 30) for _ in range(16)]
        assert first.result(30) == 0
        assert {other.result(30) for other in others} == {1}


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
