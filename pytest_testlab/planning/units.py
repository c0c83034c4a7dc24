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
    alone: bool = False
    """Whether its target must be blank, and proven so, before it and after it."""
    first: bool = False
    """Whether nothing else of its image may begin before it has ended."""
    image: str | None = None
    """What it must run on; None = that is all the same to it."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a test wants to be placed."""

    unit: str
    image: str | None = None
    alone: bool = False
    first: bool = False


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


def make_units(
    tests: Sequence[str], kinds: Mapping[str, str], estimates: Estimates, wishes: Mapping[str, Wish] | None = None
) -> list[Unit]:
    """Group a collection as its tests wish, else by entry; one that isn't the catalog's (no kind) is by itself."""
    wishes = {} if wishes is None else wishes
    grouped: dict[str, list[int]] = {}
    for index, test in enumerate(tests):
        key = test.partition("::")[0] if test in kinds else test
        grouped.setdefault(wishes[test].unit if test in wishes else key, []).append(index)
    return [
        Unit(
            key=key,
            indices=tuple(indices),
            estimate_s=sum(estimates.of(tests[index], kinds.get(tests[index], "")) for index in indices),
            alone=any(tests[index] in wishes and wishes[tests[index]].alone for index in indices),
            first=any(tests[index] in wishes and wishes[tests[index]].first for index in indices),
            image=next((wishes[tests[index]].image for index in indices if tests[index] in wishes), None),
        )
        for key, indices in grouped.items()
    ]


def longest_first(units: Iterable[Unit]) -> deque[Unit]:
    """The order in which units are pulled; ties keep the order of the collection."""
    return deque(sorted(units, key=lambda unit: (not unit.first, -unit.estimate_s)))


def projected_s(units: Iterable[Unit], pool: int) -> float:
    """The makespan, in seconds, of pulling longest-first on `pool` targets, if the estimates were true."""
    units = list(units)
    free = [sum(unit.estimate_s for unit in units if unit.first)] * max(1, pool)
    for unit in longest_first(unit for unit in units if not unit.first):
        free.sort()
        free[0] += unit.estimate_s
    return max(free)
