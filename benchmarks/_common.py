"""What all benchmarks share: a row for each promise, the table for people, the list for programs, the exit code."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One promise and how it was kept: `ratio` ≤ `bound` is good."""

    promise: str
    ratio: float
    bound: float
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Figures behind the ratio, and what a peer reached; plain values, units in the names."""

    @property
    def ok(self) -> bool:
        """Whether the promise was kept; a figure that is no number never is."""
        return self.ratio <= self.bound

    def as_json(self) -> dict[str, Any]:
        """The row as programs read it."""
        head = {"promise": self.promise, "ratio": round(self.ratio, 4), "bound": self.bound, "ok": self.ok}
        return {**head, **self.extra}


def finish(rows: Sequence[Row], *, as_json: bool) -> int:
    """Print the rows; returns the exit code: 1 when a promise was missed, or when nothing was measured."""
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        print(table(rows))
    return 0 if rows and all(row.ok for row in rows) else 1


def table(rows: Sequence[Row]) -> str:
    """The rows as people read them, aligned."""
    lines = [("promise", "ratio", "bound", "", "figures")]
    for row in rows:
        figures = ", ".join(f"{name} {value}" for name, value in row.extra.items())
        lines.append((row.promise, f"{row.ratio:.3f}", f"{row.bound:g}", "ok" if row.ok else "MISSED", figures))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4])).rstrip()
        for line in lines
    )


def progress(what: str, number: int, of: int) -> None:
    """Tell the person who waits which round is under way; never on standard output."""
    print(f"{what}: {number + 1} of {of}", file=sys.stderr, flush=True)


def environment(home: Path) -> dict[str, str]:
    """The environment of a session to be measured: a home of its own, and caches of bytecode as a user has them."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "TESTLAB_HOME": str(home)}


def alternate(rounds: int, *contenders: Callable[[], None], what: str) -> None:
    """Let the contenders take turns, each round in the other order, so that a machine that warms up favours none."""
    for number in range(rounds):
        progress(what, number, rounds)
        for contender in contenders if number % 2 else reversed(contenders):
            contender()


def seconds(work: Callable[[], object]) -> float:
    """How long something takes by the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(figures: Iterable[float]) -> float:
    """The middle one, the mean of the middle two."""
    ordered = sorted(figures)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
