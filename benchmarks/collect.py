"""Promises: 5,000 entries are collected, validated, in half the time of as many Python files, in little more memory.

`collect-time`: `pytest --co -q` over 5,000 entries, each in a folder of its own and as full as entries are, against the
same over 5,000 files of two trivial functions in as many folders. Whole processes, taken alternately.
`collect-memory`: what the collecting process has resident after its collection, beyond plain pytest's. A worker
collects what this process does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import Row, alternate, finish, median

TIME_BOUND = 0.5
MEMORY_MB = 60
ENTRY = """\
[app]
name = "{name}"
priority = "P1"
tags = ["calendar", "web"]
owner = "groupware"
timeout = "10m"
requires = ["python3>=3.11"]

[build]
commands = ["python3 -m venv venv", "venv/bin/pip install {name}==3.5.4"]

[run]
command = "venv/bin/python -m {name} --listen 127.0.0.1:$PORT"
ready = {{ http = "/", within = "30s" }}

[env]
LOG_LEVEL = "info"
KEY = {{ generate = 24 }}

[[checks]]
name = "an event comes back"
script = "check.py"

[[checks]]
http = "/web/"
status = 200
contains = "Welcome"
"""
FILE = "def test_install():\n    pass\n\n\ndef test_check():\n    pass\n"
RESIDENT = """
import os, pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    with open(os.environ["BENCH_OUT"], "w") as out:
        out.write(f"{len(session.items)} {pages * os.sysconf('SC_PAGE_SIZE')}")
"""


def write(folder: Path, count: int) -> tuple[Path, Path]:
    """The catalog and the plain suite."""
    catalog, plain = folder / "catalog", folder / "plain"
    for index in range(count):
        name = f"e{index:05}"
        for base in (catalog, plain):
            (base / name).mkdir(parents=True)
        (catalog / name / "testlab.toml").write_text(ENTRY.format(name=name))
        (catalog / name / "check.py").write_text("raise SystemExit(0)\n")
        (plain / name / f"test_{name}.py").write_text(FILE)
    for base in (catalog, plain):
        (base / "pytest.ini").write_text("[pytest]\n")
    (folder / "resident.py").write_text(RESIDENT)
    return catalog, plain


def collect(folder: Path, tests: int, *arguments: str) -> tuple[float, float]:
    """Collect a folder in a process of its own; returns its seconds, and the MB resident after the collection."""
    out = folder.parent / "out"
    out.unlink(missing_ok=True)
    environ = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # other people's plugins would add one constant to both
        "PYTHONPATH": str(folder.parent),
        "BENCH_OUT": str(out),
        "TESTLAB_HOME": str(folder.parent / "home"),
    }
    base = [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-p", "resident"]
    start = time.perf_counter()
    done = subprocess.run(
        [*base, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"collecting failed with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    count, resident = map(int, out.read_text().split())
    if count != tests:
        sys.exit(f"{count} tests were collected in {folder}, and not {tests}")
    return seconds, resident / 1e6


def rows(folder: Path, entries: int, rounds: int) -> list[Row]:
    """Measure both promises in the same sessions."""
    catalog, plain = write(folder, entries)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    alternate(
        rounds,
        lambda: theirs.append(collect(plain, 2 * entries)),
        lambda: ours.append(collect(catalog, 2 * entries, "-p", "testlab", "--testlab-provider", "memory")),
        what="collect",
    )
    our_s, our_mb = median(s for s, _ in ours), median(mb for _, mb in ours)
    their_s, their_mb = median(s for s, _ in theirs), median(mb for _, mb in theirs)
    return [
        Row(
            promise="collect-time",
            ratio=our_s / their_s,
            bound=TIME_BOUND,
            extra={"testlab_s": round(our_s, 2), "pytest_s": round(their_s, 2), "entries": entries},
        ),
        Row(
            promise="collect-memory",
            ratio=(our_mb - their_mb) / MEMORY_MB,
            bound=1.0,
            extra={"testlab_mb": round(our_mb, 1), "pytest_mb": round(their_mb, 1), "promised_mb": MEMORY_MB},
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tl-bench-") as folder:
        return finish(rows(Path(folder), args.entries, args.rounds), as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
