"""Gives the store a past: a closed run with the durations that a benchmark's estimates are to come from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from pytest_testlab.model import Provenance, new_run_id
from pytest_testlab.options import resolve
from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal
from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.store.embedded import open_store


def store_history(
    environ: Mapping[str, str], seconds: Mapping[str, float], *, provider: str = "memory", platform: str = "memory"
) -> None:
    """Record a run on a provider in which every test passed, in the seconds given."""
    now = dt.datetime.now(dt.UTC)
    with open_store(resolve({}, {}, environ)) as store:
        run = new_run_id(now)
        folder = RunFolder.create(Path(store.home), run)
        journal = Journal(folder.path, "controller")
        journal.append(events.run_started(_provenance(run, now, provider, platform)))
        planned = [
            events.PlannedTest(test=test, suite="apps", entry=test.split("/")[0], stage="install") for test in seconds
        ]
        journal.append(events.collected(planned, selection="history"), sync=False)
        for test, value in seconds.items():
            ended = events.finished(
                test=test, attempt=1, status="passed", duration_ms=round(value * 1000), slot=0, started_at=now
            )
            journal.append(ended, sync=False)
        journal.append(events.run_finished(state="finished", exit_code=0, finished_at=now))
        journal.close()
        recorder = Recorder(store.url, folder)
        recorder.start()
        if not recorder.close(60):
            raise RuntimeError("the store did not take the history within 60 s")
        folder.mark_closed()
        folder.close()


def _provenance(run: str, now: dt.datetime, provider: str, platform: str) -> Provenance:
    return Provenance(
        run=run,
        mode="cli",
        trigger="benchmark",
        actor="benchmark",
        platform=platform,
        provider=provider,
        image="",
        branch="",
        sha="",
        dirty=False,
        runner_version="0",
        pool=1,
        budget_s=3600.0,
        started_at=now,
    )
