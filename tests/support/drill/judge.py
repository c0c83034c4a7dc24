"""What must hold after a case; each finding is a line in the verdict."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import zstandard
from drill.case import CLOUD, CONTROLLER, REAPER, RECOVERY, WORKER, Case, Verdict
from testlab_local import places
from testlab_local.provider import LocalProvider

from pytest_testlab.options import Settings
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import JournalError, read_segment
from pytest_testlab.store.codes import status_name

Event = dict[str, Any]
Place = tuple[str, str, int]
"""Run, test, attempt."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was on disk after the case and before recovery."""

    case: Case
    code: int
    """The session's exit code."""
    events: list[Event]
    reported: list[tuple[str, str]]
    """Test and status, as xdist handed them to the controller."""
    closed: set[str]
    """Runs whose folders were marked as closed."""

    def of(self, kind: str) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if event["kind"] == kind]


def results(found: Evidence, engine: sa.Engine, verdict: Verdict) -> None:
    """Every finished result is in the store, and none counts twice."""
    stored = _attempts(engine)
    said: dict[Place, list[str]] = {}
    for event in found.of("finished"):
        said.setdefault((event["run"], event["test"], event["attempt"]), []).append(event["status"])
    for place, statuses in said.items():
        sure = [status for status in statuses if status != "error"]
        if len(sure) > 1:
            verdict.doubled.append(f"{place} ended {len(sure)} times in the journal: {statuses}")
        if stored.get(place) not in (sure or statuses):
            verdict.lost.append(f"{place} ended {statuses}, and the store has {stored.get(place)}")
    if found.case.act != "torn tail":  # there the store may know more than what is left of the journal
        runs = {event["run"] for event in found.events}
        invented = [place for place in stored if place[0] in runs and place not in said]
        verdict.doubled += [f"{place} is in the store, and in no journal" for place in invented]
    _bundles(found, engine, verdict)
    _reports(found, engine, verdict)
    _counts(engine, verdict)


def _rows(engine: sa.Engine, statement: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(statement)))


def _attempts(engine: sa.Engine) -> dict[Place, str]:
    rows = _rows(
        engine,
        """SELECT run.name, test.name, attempt, status FROM result_attempt
           JOIN run ON run.id = run_id JOIN test ON test.id = test_id""",
    )
    return {(run, test, attempt): status_name(status) for run, test, attempt, status in rows}


def _bundles(found: Evidence, engine: sa.Engine, verdict: Verdict) -> None:
    rows = _rows(
        engine,
        """SELECT run.name, test.name, attempt FROM bundle
           JOIN run ON run.id = run_id JOIN test ON test.id = test_id""",
    )
    stored = {tuple(row) for row in rows}
    for event in found.of("finished"):
        place = (event["run"], event["test"], event["attempt"])
        if event.get("manifest") and place not in stored:
            verdict.lost.append(f"the bundle of {place}")


def _reports(found: Evidence, engine: sa.Engine, verdict: Verdict) -> None:
    """What xdist has reported is told again by the store, of that test's last attempt."""
    first = next((event["run"] for event in found.of("run_started")), None)
    rows = _rows(
        engine,
        "SELECT run.name, test.name, status FROM result JOIN run ON run.id = run_id JOIN test ON test.id = test_id",
    )
    stored = {(run, test): status_name(status) for run, test, status in rows}
    for test, status in dict(found.reported).items():
        held = stored.get((str(first), test))
        if held is None or (held == "not_run") != (status == "not_run"):
            verdict.lost.append(f"{test} was reported as {status}, and the store has {held}")


def _counts(engine: sa.Engine, verdict: Verdict) -> None:
    """Each planned test has one result, and the counts that pages show add up to them."""
    rows = _rows(
        engine,
        """SELECT name, state, (SELECT count(*) FROM result WHERE run_id = run.id),
                  (SELECT cardinality(tests) FROM run_plan WHERE run_id = run.id),
                  (SELECT coalesce(sum(tests), 0) FROM run_count WHERE run_id = run.id)
           FROM run""",
    )
    for run, state, kept, planned, counted in rows:
        if state == "running":
            verdict.wrong.append(f"{run} is still said to be running")
        elif planned is not None and not kept == planned == counted:
            verdict.doubled.append(f"{run}: {planned} tests planned, {kept} results, {counted} counted")


def state(found: Evidence, engine: sa.Engine, verdict: Verdict) -> None:
    """Each run is closed, as what it was; one that only lost a worker or a target has an outcome for every test."""
    started = list(dict.fromkeys(event["run"] for event in found.of("run_started")))
    rows = {name: (state, say) for name, state, say in _rows(engine, "SELECT name, state, say FROM run")}
    endings = {event["run"]: event["state"] for event in found.of("run_finished")}
    for run in started:
        expected = endings.get(run, "aborted")
        if run not in rows:
            verdict.lost.append(f"the run {run} is not in the store")
        elif rows[run][0] != expected and run not in found.closed:
            verdict.wrong.append(f"{run} is {rows[run][0]}, expected: {expected}")
    if verdict.struck and started:
        verdict.wrong += _as_promised(found, engine, started[0], endings.get(started[0]))


def _as_promised(found: Evidence, engine: sa.Engine, run: str, ending: str | None) -> Iterable[str]:
    case = found.case
    statement = f"SELECT status FROM result JOIN run ON run.id = run_id WHERE run.name = '{run}'"
    counts = Counter(status_name(row[0]) for row in _rows(engine, statement))
    asked = case.act == "SIGINT" or (case.act == "SIGTERM" and case.victim in (CONTROLLER, WORKER))
    if asked:  # a worker that is asked to stop ends the session as well: a service manager asks all of a unit
        if ending == "finished" and run in found.closed:
            return  # it came when all was done and closed, and is Python's own
        if ending not in ("interrupted", "finished") or found.code not in (0, 1, 2):
            yield f"after {case.act} the run is {ending}, exit code {found.code}"
    elif case.victim == CLOUD or case.fault:
        # A cloud may give no proven blank server at all; then no test ran, and the run says so.
        if case.victim == CLOUD and (ending, found.code) not in {("finished", 0), ("finished", 1), ("aborted", 6)}:
            yield f"the run neither went on nor said that it can't: {ending}, exit code {found.code}, {dict(counts)}"
    elif case.victim not in (CONTROLLER, RECOVERY, REAPER) or case.act == "store away":
        if ending != "finished" or found.code not in (0, 1):
            yield f"the run did not go on: {ending}, exit code {found.code}, {dict(counts)}"
        elif counts["not_run"]:
            yield f"tests without an outcome: {dict(counts)}"


def servers(home: Path, verdict: Verdict) -> None:
    """No server is left, nor anything of it on disk."""
    verdict.orphans += [
        f"the server {server.name} is left" for server in LocalProvider(Settings(home=str(home))).owned()
    ]
    base = places.base(home)
    left = [path for path in base.rglob("*") if path.name != ".records"]
    verdict.orphans += [f"{path} is left" for path in left[:5]]


def secrets(secret: str, folder: Path, engine: sa.Engine, verdict: Verdict) -> None:
    """The marker is in no file of the lab's, in nothing that was printed, and nowhere in the store."""
    marks = [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-1], secret.encode().hex().encode()]
    for path in folder.rglob("*"):
        if (
            not path.is_relative_to(folder / "home" / "pg")
            and path.is_file()
            and any(mark in path.read_bytes() for mark in marks)
        ):
            verdict.leaked.append(str(path))
    for run in RunFolder.all(folder / "home"):
        for path in run.segments():
            verdict.leaked += [f"{path}: {where}" for where in _in_journal(path, marks)]
    verdict.leaked += _in_store(engine, marks)


def _in_journal(path: Path, marks: list[bytes]) -> Iterable[str]:
    try:
        for event, blob, _ in read_segment(path):
            for section, text in _unpacked(event.get("manifest") or [], blob):
                if any(mark in text for mark in marks):
                    yield f"section {section} of {event['test']}"
    except JournalError:
        return


def _unpacked(manifest: Iterable[Mapping[str, Any]], blob: bytes) -> Iterable[tuple[str, bytes]]:
    for section in manifest:
        frame = blob[section["offset"] : section["offset"] + section["length"]]
        yield section["name"], zstandard.ZstdDecompressor().decompressobj().decompress(frame) if frame else b""


def _in_store(engine: sa.Engine, marks: list[bytes]) -> Iterable[str]:
    tables = [row[0] for row in _rows(engine, "SELECT relname FROM pg_stat_user_tables")]
    for table in tables:
        for row in _rows(engine, f'SELECT t::text FROM "{table}" AS t'):
            if any(mark.decode() in row[0] for mark in marks):
                yield f"table {table}"
    for manifest, data in _rows(engine, "SELECT manifest, data FROM bundle"):
        held = manifest if isinstance(manifest, list) else json.loads(manifest)
        for section, text in _unpacked(held, bytes(data)):
            if any(mark in text for mark in marks):
                yield f"section {section} in the store"


def settle(home: Path) -> None:
    """Remove the folder that root's targets of this home had; it is empty when all is well."""
    base = places.base(home)
    if os.geteuid() == 0 and base.is_dir():
        for path in (base / ".records", base):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
