"""A run's page: how far it is, what runs where, and every result, the worst first."""

from __future__ import annotations

import datetime as dt
import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pytest_testlab.store.views import ResultView, RunView
from testlab_server.present.statuses import Share, shares, weight

ROWS = 200
"""Of a long table at a time: a browser is at it as long as the server."""
PENDING = ("running", "waiting")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    done: int
    planned: int
    percent: float
    elapsed_s: float
    left_s: float | None
    """What is left by the projection, else by the pace so far; None when nothing can be said, 0 when it is over."""
    bar: tuple[Share, ...]

    @property
    def over(self) -> bool:
        """Whether every planned test has come to something."""
        return self.done >= self.planned


def progress(run: RunView, results: Collection[ResultView], now: dt.datetime) -> Progress:
    """Counted from the results, not from the run's own counts, which may be those of its end."""
    counts = Counter(result.status for result in results if result.status not in PENDING)
    done, planned = sum(counts.values()), max(run.planned, len(results))
    elapsed = max(0.0, ((run.finished_at or now) - run.started_at).total_seconds())
    return Progress(
        done=done,
        planned=planned,
        percent=100 * done / planned if planned else 0.0,
        elapsed_s=elapsed,
        left_s=_left(run, done, planned, elapsed),
        bar=shares(counts, planned),
    )


def _left(run: RunView, done: int, planned: int, elapsed: float) -> float | None:
    if run.finished_at is not None or (planned and done >= planned):
        return 0.0
    if run.projected_s is not None and run.projected_s > elapsed:
        return run.projected_s - elapsed
    # Three results are the least that a pace can be told from.
    return elapsed / done * (planned - done) if done >= 3 else None


def sorted_results(results: Iterable[ResultView]) -> list[ResultView]:
    """In their `order`."""
    return sorted(results, key=order)


def order(result: ResultView) -> str:
    """Failures first, then by status, what matters most first, and the test's own name; compared as text."""
    return f"{weight(result.status):02} {result.priority} {result.test}"


def page_of(results: Sequence[ResultView], after: str = "", most: int = ROWS) -> tuple[Sequence[ResultView], int]:
    """(the results in their order that come after an `order`, at most so many; how many more there are)."""
    begin = bisect_right(results, after, key=order) if after else 0
    return results[begin : begin + most], max(0, len(results) - begin - most)


def row_id(result: ResultView) -> str:
    """The id of a result's row on its page; a test's own name may hold what no id should."""
    return "r-" + hashlib.blake2s(result.test.encode(), digest_size=6).hexdigest()
