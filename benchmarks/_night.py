"""Writes the journal of a run as its processes do: a controller, and workers that append outcomes and bundles."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import sys
import time
from pathlib import Path

from pytest_testlab.model import Provenance
from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal

SECTIONS = {
    "build": 7_000,
    "deploy": 900,
    "app": 8_000,
    "nginx-error": 300,
    "nginx-access": 4_000,
    "proxy-probe": 300,
    "journald": 4_000,
    "resources": 1_100,
    "dns": 300,
}
"""Section → bytes of its frame: 26 KB, what zstd makes of the 82 KB of a usual bundle."""
HEADLINES = 200
"""Different ones; failures have few causes."""


def test_name(number: int) -> str:
    """The node id of a test."""
    return f"apps/app-{number // 2:05}/testlab.toml::{('install', 'check')[number % 2]}"


def begin(home: Path, run: str, tests: int, pool: int) -> tuple[RunFolder, Journal]:
    """A run that has begun and has its plan; its controller's segment is open."""
    folder = RunFolder.create(home, run)
    journal = Journal(folder.path, "controller")
    now = dt.datetime.now(dt.UTC)
    journal.append(events.run_started(_provenance(run, now, pool)))
    planned = [
        events.PlannedTest(
            test=test_name(number), suite="apps", entry=f"app-{number // 2:05}", stage=test_name(number)[-7:]
        )
        for number in range(tests)
    ]
    journal.append(events.collected(planned, selection="bench"))
    return folder, journal


def end(journal: Journal) -> None:
    """The run's last event."""
    journal.append(events.run_finished(state="finished", exit_code=0, finished_at=dt.datetime.now(dt.UTC)))
    journal.close()


def write(folder: Path, slot: int, numbers: range, per_s: float, log: Path | None) -> None:
    """Append the outcomes of tests; at a steady pace where `per_s` is one, and then each put on disk as workers do.

    `log` gets, for each, its test and the moment before it was appended.
    """
    journal = Journal(folder, f"gw{slot}")
    chance = random.Random(slot)
    said: list[str] = []
    began = time.time()
    for count, number in enumerate(numbers):
        if per_s:
            time.sleep(max(0.0, began + count / per_s - time.time()))
        event, blob = outcome(number, slot, chance)
        said.append(f"{number} {time.time():.6f}\n")
        journal.append(event, blob, sync=per_s > 0)
    journal.close()
    if log is not None:
        log.write_text("".join(said))


def outcome(number: int, slot: int, chance: random.Random) -> tuple[events.Event, bytes]:
    """What came of a test: one in ten failed; every one has a bundle."""
    failed = number % 10 == 0
    manifest: events.Manifest = []
    at = 0
    for name, length in SECTIONS.items():
        place = {"offset": at, "length": length}
        about = {"name": name, "source": f"/srv/logs/{name}.log", "size": length * 3, "kept": length * 3}
        manifest.append({**about, "absent": None, **place})
        at += length
    event = events.finished(
        test=test_name(number),
        attempt=1,
        status="failed" if failed else "passed",
        failure_class="app-crash" if failed else None,
        rule="app-crash/exited" if failed else None,
        headline=[f"app-{number % HEADLINES} ended with exit code 1", "process state=exited"] if failed else (),
        duration_ms=number * 7919 % 300_000,
        phases={"upload": 0.2, "build": 21.5, "deploy": 1.0, "ready": 2.5},
        slot=slot,
        target=f"bench-{slot}",
        image="debian-12",
        started_at=dt.datetime.now(dt.UTC),
        manifest=manifest,
    )
    return event, chance.randbytes(at)


def _provenance(run: str, now: dt.datetime, pool: int) -> Provenance:
    return Provenance(
        run=run, mode="cli", trigger="benchmark", actor="benchmark", platform="memory", provider="memory", image="",
        branch="", sha="", dirty=False, runner_version="0", pool=pool, budget_s=3600.0, started_at=now,
    )  # fmt: skip


def main() -> None:
    """One worker of many: `SLOT` of `--pool`, every so manyth test is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("slot", type=int)
    parser.add_argument("--pool", type=int, required=True)
    parser.add_argument("--tests", type=int, required=True)
    parser.add_argument("--per-s", type=float, default=0.0)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    sys.stdin.read(1)
    os.umask(0o077)
    write(args.folder, args.slot, range(args.slot, args.tests, args.pool), args.per_s, args.log)


if __name__ == "__main__":
    main()
