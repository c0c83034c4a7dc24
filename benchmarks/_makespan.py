"""What the benchmarks of makespans share: a clock in each worker, and the bound that no schedule can beat."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLOCK = """
import os, time
import pytest
from pathlib import Path

times = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    start = time.time()
    result = yield
    times.append((start, time.time()))
    return result

def pytest_collection_finish(session):
    times.append((time.time(), time.time()))

def pytest_unconfigure(config):
    if len(times) > 1:
        Path(os.environ["BENCH_CLOCK"], f"{os.getpid()}.txt").write_text("".join(f"{a} {b}\\n" for a, b in times))
"""
"""A pytest plugin for the workers: when each had collected, and when tests began and ended, into $BENCH_CLOCK."""


@dataclass(frozen=True, kw_only=True)
class Clocked:
    """What the workers' clocks say of a session; moments in seconds from the first worker's being ready."""

    ready: Sequence[float]
    """When each worker was, the first at 0."""
    makespan_s: float
    """Until the last test's end."""


def read_clocks(folder: Path) -> Clocked:
    """What the workers of a session wrote into $BENCH_CLOCK."""
    workers = [[tuple(map(float, line.split())) for line in file.read_text().splitlines()] for file in folder.iterdir()]
    if not workers:
        sys.exit("no worker of the session wrote down its times")
    start = min(times[0][0] for times in workers)
    ready = [times[0][0] - start for times in workers]
    return Clocked(ready=ready, makespan_s=max(end for times in workers for _, end in times) - start)


def bound(seconds: Sequence[float], targets: int) -> float:
    """No schedule can end earlier."""
    return max(max(seconds), sum(seconds) / targets)


def bound_from(ready: Sequence[float], seconds: Sequence[float]) -> float:
    """No schedule can end earlier when its workers are ready at these moments, the first at 0."""
    left, workers, now = sum(seconds), 0, 0.0
    for worker, following in zip(sorted(ready), [*sorted(ready)[1:], float("inf")], strict=True):
        workers, now = workers + 1, worker
        if left <= workers * (following - now):
            break
        left -= workers * (following - now)
    return max(max(seconds), now + left / workers)
