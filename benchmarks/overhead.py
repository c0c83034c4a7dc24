"""Promises: a session of the lab costs at most 1.25 × plain pytest-xdist, and the idle plugin nothing measurable.

`overhead-session`: 1,500 trivial entries of two tests on 4 memory targets, journal and store on, against `pytest -n 4`
on 1,500 files of two trivial functions in the same number of folders; whole sessions, taken alternately.
`overhead-idle`: an unrelated suite with the plugin installed but not asked for, against the same suite with it blocked.
Its unit is processor time, because a promise of 2 % drowns in the noise of the clock.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import Row, environment, finish, progress

ENTRY = """[app]
name = "{name}"

[run]
command = "true"

[[checks]]
command = "true"
"""
FILE = "def test_install():\n    pass\n\n\ndef test_check():\n    pass\n"


def write(folder: Path, count: int) -> tuple[Path, Path]:
    """The catalog and the plain suite."""
    catalog, plain = folder / "catalog", folder / "plain"
    for base in (catalog, plain):
        base.mkdir()
        (base / "pytest.ini").write_text("[pytest]\n")
    for index in range(count):
        name = f"e{index:05}"
        for base in (catalog, plain):
            (base / name).mkdir()
        (catalog / name / "testlab.toml").write_text(ENTRY.format(name=name))
        (plain / name / f"test_{name}.py").write_text(FILE)
    return catalog, plain


def session(folder: Path, environ: dict[str, str], *arguments: str) -> tuple[float, float]:
    """Run one session to its success; returns its seconds by the clock and of the processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False)
    clock = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"the session failed with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def session_row(folder: Path, environ: dict[str, str], entries: int, rounds: int) -> Row:
    """The lab beside plain xdist."""
    catalog, plain = write(folder, entries)
    ours, theirs = [], []
    for number in range(rounds):
        progress("overhead-session", number, rounds)
        theirs.append(session(plain, environ, "-p", "no:testlab", "-n", "4")[0])
        ours.append(session(catalog, environ, "--testlab-pool", "4", "--testlab-provider", "memory")[0])
    mine, peer = statistics.median(ours), statistics.median(theirs)
    return Row(
        promise="overhead-session",
        ratio=mine / peer,
        bound=1.25,
        extra={"testlab_s": round(mine, 2), "xdist_s": round(peer, 2), "tests": 2 * entries},
    )


def idle_row(folder: Path, environ: dict[str, str], rounds: int) -> Row:
    """The idle plugin beside none."""
    folder.mkdir()
    _, plain = write(folder, 300)
    with_it, without = [], []
    for number in range(rounds):
        progress("overhead-idle", number, rounds)
        pair = [(without, ("-p", "no:testlab")), (with_it, ())]
        for figures, arguments in pair if number % 2 else reversed(pair):
            figures.append(session(plain, environ, "-p", "no:xdist", *arguments)[1])
    mine, peer = statistics.median(with_it), statistics.median(without)
    extra = {"installed_s": round(mine, 3), "blocked_s": round(peer, 3), "rounds": rounds}
    return Row(promise="overhead-idle", ratio=mine / peer, bound=1.02, extra=extra)


def main() -> int:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tl-bench-") as folder:
        Path(folder).chmod(0o755)
        environ = environment(Path(folder, "home"))
        rows = [
            session_row(Path(folder), environ, args.entries, args.rounds),
            idle_row(Path(folder) / "idle", environ, 7 * args.rounds),
        ]
    return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
