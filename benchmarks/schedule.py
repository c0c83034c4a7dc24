"""Promise: pulling longest-first ends within 3 % of the bound max(longest, sum/N), in real pytest sessions.

Sleeping tests, lognormal durations (sigma 0.8), and a history whose durations are off by a lognormal of sigma 0.3. The
same durations run under stock `pytest -n N --dist load` and `--dist worksteal`. A plugin in each worker takes down when
tests begin and end; the makespan is from the first beginning to the last end, in all three alike.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _common import Row, environment, finish, progress
from _history import store_history

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

def pytest_unconfigure(config):
    if times:
        Path(os.environ["BENCH_CLOCK"], f"{os.getpid()}.txt").write_text("".join(f"{a} {b}\\n" for a, b in times))
"""
FOLLOWED_BY_STOCK = 1
"""Seeds on which the stock schedulers run too; they are context, not the promise."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """A number of tests on a number of targets, and how long its ideal makespan should be, in seconds."""

    tests: int
    targets: int
    ideal_s: float


NIGHTS = tuple(
    Night(tests=tests, targets=targets, ideal_s=ideal)
    for tests, ideal in ((60, 10.0), (150, 12.0), (500, 20.0))
    for targets in (4, 8)
)


def durations(night: Night, seed: int) -> list[float]:
    """Lognormal durations whose ideal makespan is `night.ideal_s`."""
    rng = random.Random(f"{seed} {night.tests} {night.targets}")
    raw = [rng.lognormvariate(0, 0.8) for _ in range(night.tests)]
    scale = night.ideal_s / bound(raw, night.targets)
    return [value * scale for value in raw]


def bound(seconds: Sequence[float], targets: int) -> float:
    """No schedule can end earlier."""
    return max(max(seconds), sum(seconds) / targets)


def makespan(arguments: list[str], folder: Path, environ: dict[str, str]) -> float:
    """Run one session and return its seconds from the first test's beginning to the last test's end."""
    with tempfile.TemporaryDirectory() as clock:
        env = {**environ, "BENCH_CLOCK": clock, "PYTHONPATH": str(folder.parent)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "bench_clock", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            sys.exit(f"the session failed with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        lines = [line.split() for file in Path(clock).iterdir() for line in file.read_text().splitlines()]
    return max(float(end) for _, end in lines) - min(float(start) for start, _ in lines)


def write_catalog(folder: Path, seconds: Sequence[float]) -> list[str]:
    """An entry a duration; returns the ids of their tests."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    for index, value in enumerate(seconds):
        entry = folder / f"e{index:03}"
        entry.mkdir()
        (entry / "testlab.toml").write_text(f'[app]\nname = "e{index:03}"\n\n[run]\ncommand = "sleep {value:.4f}"\n')
    return [f"e{index:03}/testlab.toml::install" for index in range(len(seconds))]


def write_stock(folder: Path, seconds: Sequence[float]) -> None:
    """The same durations as plain tests, in the same order."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    for index, value in enumerate(seconds):
        (folder / f"test_e{index:03}.py").write_text(f"import time\n\ndef test_it():\n    time.sleep({value:.4f})\n")


def one_night(night: Night, seed: int, base: Path, environ: dict[str, str], *, stock: bool) -> dict[str, float]:
    """Ratios of makespan to bound, by who scheduled."""
    seconds = durations(night, seed)
    where = base / f"{night.tests}-{night.targets}-{seed}"
    where.mkdir()
    (where / "bench_clock.py").write_text(CLOCK)
    tests = write_catalog(where / "catalog", seconds)
    rng = random.Random(f"estimates {seed}")
    store_history(environ, {test: s * rng.lognormvariate(0, 0.3) for test, s in zip(tests, seconds, strict=True)})
    pool = ["--testlab-pool", str(night.targets), "--testlab-provider", "memory", "-m", "install"]
    ratios = {"testlab": makespan(pool, where / "catalog", environ) / bound(seconds, night.targets)}
    if stock:
        write_stock(where / "stock", seconds)
        for dist in ("load", "worksteal"):
            arguments = ["-p", "no:testlab", "-n", str(night.targets), "--dist", dist]
            ratios[dist] = makespan(arguments, where / "stock", environ) / bound(seconds, night.targets)
    return ratios


def main() -> int:
    """Play every night for every seed and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="tl-bench-") as folder:
        environ = environment(Path(folder, "home"))
        Path(folder).chmod(0o755)
        for number, night in enumerate(NIGHTS):
            runs = []
            for seed in range(args.seeds):
                progress(f"{night.tests} tests on {night.targets}, seed {seed}", number, len(NIGHTS))
                runs.append(one_night(night, seed, Path(folder), environ, stock=seed < FOLLOWED_BY_STOCK))
            extra = {
                dist: round(statistics.median(run[dist] for run in runs if dist in run), 3)
                for dist in ("load", "worksteal")
            }
            rows.append(
                Row(
                    promise=f"schedule-{night.tests}-on-{night.targets}",
                    ratio=statistics.median(run["testlab"] for run in runs),
                    bound=1.03,
                    extra={**extra, "worst": round(max(run["testlab"] for run in runs), 3), "seeds": args.seeds},
                )
            )
    return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
