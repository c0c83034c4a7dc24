"""How long a run will still take: what was expected of the tests so far, held against what they took."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Forecast:
    """Counts expected seconds; begins with the plan. All times are by the monotonic clock."""

    def __init__(self, expected: Mapping[str, float]) -> None:
        """`expected`: test → seconds."""
        self._left = dict(expected)
        self._left_s = sum(self._left.values())
        self._done_s = 0.0
        self._start = time.monotonic()

    def took(self, test: str) -> None:
        """A test is through; a second time doesn't count."""
        seconds = self._left.pop(test, 0.0)
        self._left_s -= seconds
        self._done_s += seconds

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the end, None while there is nothing to go by."""
        if not self._left or not self._done_s:
            return None
        return (time.monotonic() - self._start) * self._left_s / self._done_s
