"""Promise: pulling longest-first ends within 3 % of the bound max(longest, sum/N), in real pytest sessions.

Sleeping tests, lognormal durations (sigma 0.8), and a history whose durations are off by a lognormal of sigma 0.3. The
same durations run under stock `pytest -n N --dist load` and `--dist worksteal`. A plugin in each worker takes down when
it has collected, and when tests begin and end, in all three alike.

The session's start is not the scheduler's: the makespan counts from the moment when the first worker has collected, and
the bound knows when each of the others had. (With all at once it is max(longest, sum/N); a bound that ignores that the
workers of one machine boot one after the other could not be met by any scheduler.) `plain` is the ratio to
max(longest, sum/N), and so are the figures of the stock schedulers.
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
from _makespan import CLOCK, bound, bound_from, read_clocks

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


def session(arguments: list[str], folder: Path, environ: dict[str, str], seconds: Sequence[float]) -> dict[str, float]:
    """Run one session; its makespan's ratio to the bound, and to max(longest, sum/N)."""
    with tempfile.TemporaryDirectory() as clock:
        env = {**environ, "BENCH_CLOCK": clock, "PYTHONPATH": str(folder.parent)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "bench_clock", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            sys.exit(f"the session failed with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        clocked = read_clocks(Path(clock))
    return {
        "ratio": clocked.makespan_s / bound_from(clocked.ready, seconds),
        "plain": clocked.makespan_s / bound(seconds, len(clocked.ready)),
    }


def write_catalog(folder: Path, night: str, seconds: Sequence[float]) -> list[str]:
    """An entry a duration, named by the night, so that no other night's history counts; returns the tests' ids."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    names = [f"n{night}-{index:03}" for index in range(len(seconds))]
    for name, value in zip(names, seconds, strict=True):
        entry = folder / name
        entry.mkdir()
        (entry / "testlab.toml").write_text(f'[app]\nname = "{name}"\n\n[run]\ncommand = "sleep {value:.4f}"\n')
    return [f"{name}/testlab.toml::install" for name in names]


def write_stock(folder: Path, seconds: Sequence[float]) -> None:
    """The same durations as plain tests, in the same order."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    for index, value in enumerate(seconds):
        (folder / f"test_e{index:03}.py").write_text(f"import time\n\ndef test_it():\n    time.sleep({value:.4f})\n")


def one_night(
    night: Night, seed: int, base: Path, environ: dict[str, str], *, stock: bool
) -> dict[str, dict[str, float]]:
    """Ratios of makespan to bound, by who scheduled."""
    seconds = durations(night, seed)
    where = base / f"{night.tests}-{night.targets}-{seed}"
    where.mkdir()
    (where / "bench_clock.py").write_text(CLOCK)
    tests = write_catalog(where / "catalog", where.name, seconds)
    rng = random.Random(f"estimates {seed}")
    store_history(environ, {test: s * rng.lognormvariate(0, 0.3) for test, s in zip(tests, seconds, strict=True)})
    pool = ["--testlab-pool", str(night.targets), "--testlab-provider", "memory", "-m", "install"]
    ratios = {"testlab": session(pool, where / "catalog", environ, seconds)}
    if stock:
        write_stock(where / "stock", seconds)
        for dist in ("load", "worksteal"):
            arguments = ["-p", "no:testlab", "-n", str(night.targets), "--dist", dist]
            ratios[dist] = session(arguments, where / "stock", environ, seconds)
    return ratios


def row(night: Night, runs: Sequence[dict[str, dict[str, float]]]) -> Row:
    """The median over seeds, beside the stock schedulers'."""

    def middle(who: str, what: str) -> float:
        return round(statistics.median(run[who][what] for run in runs if who in run), 3)

    extra = {
        "plain": middle("testlab", "plain"),
        "worst": round(max(run["testlab"]["ratio"] for run in runs), 3),
        "load": middle("load", "plain"),
        "worksteal": middle("worksteal", "plain"),
        "seeds": len(runs),
    }
    name = f"schedule-{night.tests}-on-{night.targets}"
    return Row(promise=name, ratio=middle("testlab", "ratio"), bound=1.03, extra=extra)


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
            rows.append(row(night, runs))
    return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
