"""The statuses, in the order of their weight, each with a letter: colour alone never says anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LETTERS = {
    "failed": "F",
    "error": "E",
    "blocked": "B",
    "flaky": "~",
    "not_run": "N",
    "shed": "H",
    "skipped": "S",
    "running": "R",
    "passed": "P",
    "waiting": "W",
}
"""Worst first; what came of a test, and the two that a test can have while its run goes on."""
LABELS = {"not_run": "not run"}
UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of a run has one status; for a bar, in per cent."""

    status: str
    count: int
    start: float
    width: float


def weight(status: str) -> int:
    """Sorts the worst first, an unknown status (of a newer store) last."""
    known = list(LETTERS)
    return known.index(status) if status in known else len(known)


def label(status: str) -> str:
    """The status as a word."""
    return LABELS.get(status, status)


def shares(counts: Mapping[str, int], total: int | None = None) -> tuple[Share, ...]:
    """A bar over all counted tests, worst first; `total` above their sum leaves the rest of the bar empty."""
    whole = max(total or 0, sum(counts.values()))
    bar, start = [], 0.0
    for status in sorted(counts, key=weight):
        if counts[status] > 0:
            width = 100 * counts[status] / whole
            bar.append(Share(status=status, count=counts[status], start=start, width=width))
            start += width
    return tuple(bar)
