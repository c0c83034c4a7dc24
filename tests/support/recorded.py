"""Records nights into a store through the real journal, a word a test."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_testlab.model import CollectedSection, Provenance
from pytest_testlab.recording import events
from pytest_testlab.recording.drain import Drain
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal
from pytest_testlab.store.embedded import StoreHandle

FIRST = dt.datetime(2026, 11, 1, 2, 0, tzinfo=dt.UTC)


def provenance(run: str, night: int = 0, *, branch: str = "main", mode: str = "nightly") -> Provenance:
    """A run on the given night."""
    return Provenance(
        run=run, mode=mode, trigger="scheduled-nightly", actor="lab", platform="procfile", provider="local",
        image="", branch=branch, sha="abc", dirty=False, runner_version="0.1", pool=2, budget_s=60.0,
        started_at=FIRST + dt.timedelta(days=night),
    )  # fmt: skip


def planned(test: str) -> events.PlannedTest:
    """A test as a plan has it, by the shape of its name."""
    return events.PlannedTest(test=test, suite="apps", entry=test.split("::")[0], stage=test.split("::")[-1])


def outcome(test: str, came: str, **more: Any) -> dict[str, Any]:
    """A `finished` event from "passed", or "failed app-crash the headline"."""
    status, _, rest = came.partition(" ")
    failure_class, _, headline = rest.partition(" ")
    values = {"attempt": 1, "duration_ms": 1500, "slot": 0, "target": "t0", **more}
    if status in {"skipped", "shed", "blocked"}:
        values["reason"] = rest or None
        return events.finished(test=test, status=status, **values)
    lines = [headline] if headline else []
    rule = f"{failure_class}/rule" if failure_class else None
    return events.finished(
        test=test, status=status, failure_class=failure_class or None, rule=rule, headline=lines, **values
    )


def bundle(text: bytes = b"log", name: str = "app") -> tuple[list[dict[str, Any]], bytes]:
    """A packed bundle of one section."""
    return events.pack_bundle([CollectedSection(name=name, source="app.log", text=text, size=len(text))])


@dataclass
class Recorded:
    """Records runs, one a night, into a store."""

    store: StoreHandle
    home: Path
    count: int = field(default=0)
    """Nights so far; may be set, to record one out of its turn."""

    def run(
        self,
        outcomes: Mapping[str, str | None],
        *,
        run: str | None = None,
        state: str | None = "finished",
        selection: str = "all",
        branch: str = "main",
        mode: str = "nightly",
        plan: Sequence[str] | None = None,
    ) -> str:
        """A run with these outcomes; None = planned only. With state None it goes on."""
        name = run or f"night{self.count}"
        folder = RunFolder.create(self.home, name)
        journal = Journal(folder.path, "controller")
        started = provenance(name, self.count, branch=branch, mode=mode)
        journal.append(events.run_started(started), sync=False)
        journal.append(events.collected([planned(test) for test in plan or outcomes], selection=selection), sync=False)
        for test, came in outcomes.items():
            if came is not None:
                journal.append(outcome(test, came, started_at=started.started_at), sync=False)
        if state is not None:
            ended = started.started_at + dt.timedelta(minutes=9)
            journal.append(events.run_finished(state=state, exit_code=1, finished_at=ended), sync=False)
        journal.close()
        drain = Drain(self.store.engine, folder)
        while drain.events() or drain.bundles():
            pass
        assert drain.problems == []
        folder.close()
        self.count += 1
        return name
