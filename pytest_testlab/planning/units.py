"""Units, and the order in which they are pulled: longest first, because uncertain durations leave nothing better."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PRIOR_S = {"install": 60.0, "check": 10.0}
"""What an unknown test is taken for until its suite has a history."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What must run in order on one server."""

    key: str
    indices: tuple[int, ...]
    """Into the collection, in running order."""
    estimate_s: float


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """How long tests take: by test where there is a history, else by what kind of test it is."""

    by_test: Mapping[str, float]
    by_kind: Mapping[str, float]
    """`suite/stage` → seconds."""

    def of(self, test: str, kind: str) -> float:
        """Seconds that a test is expected to take."""
        known = self.by_test.get(test)
        if known is not None:
            return known
        return self.by_kind.get(kind, PRIOR_S.get(kind.rpartition("/")[2], 10.0))


def make_units(tests: Sequence[str], kinds: Mapping[str, str], estimates: Estimates) -> list[Unit]:
    """Group a collection by entry; a test that isn't the catalog's (no kind) is a unit of its own."""
    grouped: dict[str, list[int]] = {}
    for index, test in enumerate(tests):
        key = test.partition("::")[0] if test in kinds else test
        grouped.setdefault(key, []).append(index)
    return [
        Unit(
            key=key,
            indices=tuple(indices),
            estimate_s=sum(estimates.of(tests[index], kinds.get(tests[index], "")) for index in indices),
        )
        for key, indices in grouped.items()
    ]


def longest_first(units: Iterable[Unit]) -> deque[Unit]:
    """The order in which units are pulled; ties keep the order of the collection."""
    return deque(sorted(units, key=lambda unit: -unit.estimate_s))


def projected_s(units: Iterable[Unit], pool: int) -> float:
    """The makespan, in seconds, of pulling longest-first on `pool` targets, if the estimates were true."""
    free = [0.0] * max(1, pool)
    for unit in longest_first(units):
        free.sort()
        free[0] += unit.estimate_s
    return max(free)
