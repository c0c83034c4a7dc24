"""How long a run will still take: what was expected of the tests so far, held against what they took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LATE = math.inf
"""In place of what is left: all that is left takes longer than usual, and nobody can say how long."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A test that runs. Times are seconds."""

    test: str
    spent_s: float
    expected_s: float | None
    """None where there is nothing to go by."""

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than usual."""
        return self.expected_s is not None and self.spent_s > self.expected_s

    @property
    def at_least_s(self) -> float:
        """What is left of it; of a late one as long again as it is over, for want of anything better to go by."""
        return 0.0 if self.expected_s is None else abs(self.expected_s - self.spent_s)


class Forecast:
    """Counts expected seconds; begins with the plan. All times are by the monotonic clock."""

    def __init__(self, expected: Mapping[str, float], planned_s: float | None = None) -> None:
        """`expected`: test → seconds; `planned_s`: what all of them were expected to take on the targets of the run."""
        self._left = dict(expected)
        self._left_s = sum(self._left.values())
        self._done_s = 0.0
        self._planned_s = planned_s
        self._start = time.monotonic()

    def took(self, test: str) -> None:
        """A test is through; a second time doesn't count."""
        seconds = self._left.pop(test, 0.0)
        self._left_s -= seconds
        self._done_s += seconds

    def left_s(self, running: Iterable[Running]) -> float | None:
        """Seconds until the end: never earlier than that of a test that runs.

        None while there is nothing to go by, `LATE` where all that is left takes longer than usual.
        """
        running = [one for one in running if one.test in self._left]
        left = self.remaining_s if self._done_s else self._by_plan(running)
        if left is None:
            return None
        if left <= 0 or len([one for one in running if one.is_late]) == len(self._left):
            return LATE
        return max([left, *(one.at_least_s for one in running)])

    def _by_plan(self, running: Iterable[Running]) -> float | None:
        """Before any test is through. While targets are still being made, nothing of the plan has passed."""
        if self._planned_s is None or not self._left:
            return None
        return self._planned_s - max((one.spent_s for one in running), default=0.0)

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the end at the pace so far, None while there is nothing to go by."""
        if not self._left or not self._done_s:
            return None
        return (time.monotonic() - self._start) * self._left_s / self._done_s
