"""Promises: one machine with two cores drives 64 targets, and hardly notices.

64 targets of the provider `local` on loopback, each with its SSH server, its nginx and the platform `procfile`; ten
tests a target, each a real deploy whose build takes a lognormal while, with a history that is off by a lognormal of
sigma 0.3.

`scale-controller`: processor time of pytest's main process a second, from the first target's being ready to the last
test's end, in cores. `scale-worker`: the proportional set size of the largest worker. `scale-makespan`: from the first
target's being ready, over the bound that knows when each target was and what each test takes: its build, and what else
a test takes where one target has the machine for itself, measured first. What they take longer because 64 targets share
two cores counts against us. With four tests a target and estimates that are off, a perfect list schedule is at 1.09 of
the bound (simulated); with ten at 1.03.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from _common import Row, environment, finish
from _history import store_history
from _makespan import CLOCK, bound_from, read_clocks

READY = """

from pytest_testlab.catalog.lab import Lab

_use = Lab.use

def use(self, *args, **kwargs):
    versions = _use(self, *args, **kwargs)
    if not READY:
        READY.append(True)
        times[:0] = [(time.time(), time.time())]
    return versions

READY = []
Lab.use = use
"""
"""Here a worker is ready once its target is: then it could begin its first test."""
ENTRY = """[app]
name = "{name}"
timeout = "10m"

[build]
commands = ["sleep {seconds:.3f}"]

[run]
static = "site"
"""
SESSION_WITHIN_S = 2400.0


@dataclass
class Watched:
    """What was seen of a session's processes from outside."""

    controller_s: dict[float, float] = field(default_factory=dict)
    """Moment → processor seconds that the main process had used."""
    largest: dict[int, float] = field(default_factory=dict)
    """Worker's pid → its largest proportional set size, MiB."""

    def cores(self, start: float, end: float) -> float:
        """Of the main process, in the mean between two moments."""
        inside = sorted(at for at in self.controller_s if start <= at <= end)
        first, last = inside[0], inside[-1]
        return (self.controller_s[last] - self.controller_s[first]) / (last - first)


def write(folder: Path, seconds: Sequence[float]) -> dict[str, float]:
    """A static site a duration; returns test → seconds."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    for number, value in enumerate(seconds):
        site = folder / f"site-{number:04}"
        (site / "site").mkdir(parents=True)
        (site / "site" / "index.html").write_text(f"<h1>site {number}</h1>\n")
        (site / "testlab.toml").write_text(ENTRY.format(name=site.name, seconds=value))
    return {f"site-{number:04}/testlab.toml::install": value for number, value in enumerate(seconds)}


def watch(session: subprocess.Popen[bytes]) -> Watched:
    """Look at the processes of a session until it is over."""
    watched = Watched()
    controller = psutil.Process(session.pid)
    deadline = time.monotonic() + SESSION_WITHIN_S
    looks = 0
    while session.poll() is None:
        if time.monotonic() > deadline:
            session.terminate()
            sys.exit(f"the session did not end within {SESSION_WITHIN_S:g} s")
        with_children = looks % 20 == 0
        looks += 1
        try:
            used = controller.cpu_times()
            watched.controller_s[time.time()] = used.user + used.system
            for worker in _workers(controller) if with_children else ():
                size = worker.memory_full_info().pss / 2**20
                watched.largest[worker.pid] = max(size, watched.largest.get(worker.pid, 0.0))
        except psutil.Error:
            continue  # it is just ending
        time.sleep(0.5)
    return watched


def _workers(controller: psutil.Process) -> list[psutil.Process]:
    """The workers as execnet starts them; a target's guard is another kind of child."""
    return [child for child in controller.children() if "sys.stdin.readline" in " ".join(child.cmdline())]


def alone(folder: Path, tests: int = 8) -> float:
    """Seconds that a test takes beyond its build, the mean on one target."""
    folder.mkdir()
    clocks, session = start(folder, 1, [0.01] * tests)
    watch(session)
    ended(session, folder)
    return read_clocks(clocks).makespan_s / tests - 0.01


def start(folder: Path, targets: int, seconds: Sequence[float]) -> tuple[Path, subprocess.Popen[bytes]]:
    """Begin a session; returns the folder of its clocks, and its main process."""
    chance = random.Random(f"{targets} {len(seconds)}")
    environ = environment(folder / "home")
    durations = write(folder / "catalog", seconds)
    (folder / "bench_clock.py").write_text(CLOCK + READY)
    store_history(
        environ,
        {test: value * chance.lognormvariate(0, 0.3) for test, value in durations.items()},
        provider="local",
        platform="procfile",
    )
    clocks = folder / "clocks"
    clocks.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "bench_clock", "-p", "no:cacheprovider", "-m", "install"]
    command += ["--testlab-pool", str(targets), "--testlab-provider", "local"]
    env = {**environ, "BENCH_CLOCK": str(clocks), "PYTHONPATH": str(folder)}
    with (folder / "session.log").open("wb") as log:
        return clocks, subprocess.Popen(command, cwd=folder / "catalog", env=env, stdout=log, stderr=log)


def ended(session: subprocess.Popen[bytes], folder: Path) -> None:
    """Exit with what a session said that failed."""
    if session.returncode != 0:
        said = (folder / "session.log").read_text(errors="replace")
        sys.exit(f"the session failed with {session.returncode}:\n{said[-3000:]}")


def play(targets: int, tests: int, mean_s: float, folder: Path) -> list[Row]:
    """One session, and what it cost."""
    chance = random.Random(f"{targets} {tests}")
    raw = [chance.lognormvariate(0, 0.5) for _ in range(tests)]
    seconds = [value * mean_s / statistics.mean(raw) for value in raw]
    beyond = alone(folder / "alone")
    clocks, session = start(folder, targets, seconds)
    watched = watch(session)
    ended(session, folder)
    clocked = read_clocks(clocks)
    ends = max(file.stat().st_mtime for file in clocks.iterdir())
    used = watched.cores(ends - clocked.makespan_s, ends)
    most = max(watched.largest.values())
    extra = {"targets": targets, "tests": tests, "mean_s": mean_s, "cores": os.cpu_count()}
    middle = statistics.median(watched.largest.values())
    limit = bound_from(clocked.ready, [value + beyond for value in seconds])
    spans = {"makespan_s": round(clocked.makespan_s, 1), "bound_s": round(limit, 1), "beyond_s": round(beyond, 2)}
    ready = {"last_ready_s": round(max(clocked.ready), 1)}
    return [
        Row(promise="scale-controller", ratio=used / 0.6, bound=1.0, extra={"of_a_core": round(used, 3), **extra}),
        Row(
            promise="scale-worker",
            ratio=most / 70,
            bound=1.0,
            extra={"largest_mib": round(most, 1), "median_mib": round(middle, 1), "workers": len(watched.largest)},
        ),
        Row(promise="scale-makespan", ratio=clocked.makespan_s / limit, bound=1.05, extra={**spans, **ready}),
    ]


def main() -> int:
    """Play one night of 64 targets and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--targets", type=int, default=64)
    parser.add_argument("--tests", type=int, default=640)
    parser.add_argument("--mean", type=float, default=60.0, metavar="S", help="seconds of a build, in the mean")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tl-scale-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        return finish(play(args.targets, args.tests, args.mean, Path(folder)), as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
