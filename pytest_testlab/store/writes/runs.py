"""Rows of a run itself: its provenance, plan, targets and end."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pytest_testlab.store.codes import NOT_RUN
from pytest_testlab.store.locks import Lock
from pytest_testlab.store.writes.caches import refresh
from pytest_testlab.store.writes.names import Names

EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """The numbers of a run in the store."""

    run_id: int
    lane_id: int


def find_run(connection: sa.Connection, name: str) -> RunKey | None:
    """The numbers of a run; None when it isn't in the store yet."""
    row = connection.execute(sa.text("SELECT id, lane_id FROM run WHERE name = :name"), {"name": name}).one_or_none()
    return None if row is None else RunKey(run_id=row.id, lane_id=row.lane_id)


def put_run(connection: sa.Connection, event: Mapping[str, Any]) -> RunKey:
    """The numbers of the run that a `run_started` event tells of; made on its first replay."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": Lock.NUMBERING})
    found = find_run(connection, event["run"])
    if found is not None:
        return found
    key = RunKey(run_id=_free_id(connection, event["started_at"]), lane_id=_lane(connection, event))
    values = {"session": None, **event, "id": key.run_id, "lane_id": key.lane_id}
    values["sources"], values["arguments"] = json.dumps(event["sources"]), json.dumps(event["arguments"])
    connection.execute(_PUT_RUN, values)
    return key


_PUT_RUN = sa.text("""
    INSERT INTO run (id, name, lane_id, trigger, actor, sha, dirty, runner_version, sources, arguments, pool, budget_s,
                     started_at, session)
    VALUES (:id, :run, :lane_id, :trigger, :actor, :sha, :dirty, :runner_version, CAST(:sources AS jsonb),
            CAST(:arguments AS jsonb), :pool, :budget_s, :started_at, :session)
""")


def _free_id(connection: sa.Connection, started_at: str) -> int:
    wanted = int((dt.datetime.fromisoformat(started_at) - EPOCH).total_seconds())
    statement = sa.text("SELECT id FROM run WHERE id BETWEEN :low AND :low + 1000")
    taken = set(connection.scalars(statement, {"low": wanted}))
    return next(number for number in range(wanted, wanted + 1002) if number not in taken)


def _lane(connection: sa.Connection, event: Mapping[str, Any]) -> int:
    find = sa.text("SELECT id FROM lane WHERE name = :lane")
    found = connection.scalar(find, event)
    if found is None:
        connection.execute(
            sa.text("""
                INSERT INTO lane (name, mode, branch, platform, provider, image)
                VALUES (:lane, :mode, :branch, :platform, :provider, :image) ON CONFLICT DO NOTHING
            """),
            dict(event),
        )
        found = connection.scalar(find, event)
    return int(found or 0)


def put_plan(connection: sa.Connection, key: RunKey, event: Mapping[str, Any], names: Names) -> None:
    """What a `collected` event plans, in its order; what it says of each test is what holds from now on."""
    tests: Sequence[Mapping[str, Any]] = event["tests"]
    suites = names.ids(connection, "suite", {test["suite"] for test in tests})
    if tests:
        connection.execute(_PUT_TESTS, _test_columns(tests, suites))
    ids = names.ids(connection, "test", [test["test"] for test in tests])
    plan = [ids[test["test"]] for test in tests]
    connection.execute(
        sa.text("""
            INSERT INTO run_plan (run_id, tests) VALUES (:run, CAST(:tests AS int[]))
            ON CONFLICT (run_id) DO UPDATE SET tests = excluded.tests
        """),
        {"run": key.run_id, "tests": plan},
    )
    connection.execute(
        sa.text("""
            UPDATE run SET planned = :planned, selection = :selection, projected_s = :projected_s, cost_eur = :cost_eur
            WHERE id = :run
        """),
        {"run": key.run_id, "planned": len(plan), **{name: event.get(name) for name in _PLAN_NUMBERS}},
    )


_PLAN_NUMBERS = ("selection", "projected_s", "cost_eur")
_PUT_TESTS = sa.text("""
    INSERT INTO test (name, suite_id, entry, stage, priority, owner, tags, file)
    SELECT name, suite_id, entry, stage, priority, owner, CAST(tags AS jsonb), file
    FROM unnest(CAST(:names AS text[]), CAST(:suites AS int[]), CAST(:entries AS text[]), CAST(:stages AS text[]),
                CAST(:priorities AS text[]), CAST(:owners AS text[]), CAST(:tags AS text[]), CAST(:files AS text[]))
         AS given (name, suite_id, entry, stage, priority, owner, tags, file)
    ORDER BY name
    ON CONFLICT (name) DO UPDATE
    SET suite_id = excluded.suite_id, entry = excluded.entry, stage = excluded.stage, priority = excluded.priority,
        owner = excluded.owner, tags = excluded.tags, file = excluded.file
    WHERE (test.suite_id, test.entry, test.stage, test.priority, test.owner, test.tags, test.file)
          IS DISTINCT FROM
          (excluded.suite_id, excluded.entry, excluded.stage, excluded.priority, excluded.owner, excluded.tags,
           excluded.file)
""")


def _test_columns(tests: Sequence[Mapping[str, Any]], suites: Mapping[str, int]) -> dict[str, list[Any]]:
    once = list({test["test"]: test for test in tests}.values())
    return {
        "names": [test["test"] for test in once],
        "suites": [suites[test["suite"]] for test in once],
        "entries": [test["entry"] for test in once],
        "stages": [test["stage"] for test in once],
        "priorities": [test["priority"] for test in once],
        "owners": [test["owner"] for test in once],
        "tags": [json.dumps(list(test["tags"])) for test in once],
        "files": [test["file"] for test in once],
    }


def put_targets(connection: sa.Connection, key: RunKey, events: Iterable[Mapping[str, Any]]) -> None:
    """What became of targets; an older word never replaces a newer one."""
    rows = [{**event, "run": key.run_id, "proof": json.dumps(event["proof"])} for event in _newest(events)]
    if rows:
        connection.execute(_PUT_TARGET, rows)


_PUT_TARGET = sa.text("""
    INSERT INTO run_target (run_id, slot, name, state, say, at, proof)
    VALUES (:run, :slot, :name, :state, :say, CAST(:at AS timestamptz), CAST(:proof AS jsonb))
    ON CONFLICT (run_id, slot) DO UPDATE
    SET name = excluded.name, state = excluded.state, say = excluded.say, at = excluded.at,
        proof = CASE WHEN excluded.proof = '{}' THEN run_target.proof ELSE excluded.proof END
    WHERE run_target.at IS NULL OR excluded.at >= run_target.at
""")


def put_starts(connection: sa.Connection, key: RunKey, events: Iterable[Mapping[str, Any]], names: Names) -> None:
    """What runs on each target now; an older start never replaces a newer one."""
    newest = _newest(events)
    ids = names.ids(connection, "test", [event["test"] for event in newest])
    rows = [{**event, "run": key.run_id, "test_id": ids[event["test"]]} for event in newest]
    if rows:
        connection.execute(_PUT_START, rows)


_PUT_START = sa.text("""
    INSERT INTO run_target (run_id, slot, name, test_id, test_attempt, test_at)
    VALUES (:run, :slot, :target, :test_id, :attempt, CAST(:at AS timestamptz))
    ON CONFLICT (run_id, slot) DO UPDATE
    SET test_id = excluded.test_id, test_attempt = excluded.test_attempt, test_at = excluded.test_at
    WHERE run_target.test_at IS NULL OR excluded.test_at >= run_target.test_at
""")


def _newest(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last word on each slot. ISO moments of one offset compare as text."""
    last: dict[int, Mapping[str, Any]] = {}
    for event in events:
        if event["slot"] not in last or event["at"] >= last[event["slot"]]["at"]:
            last[event["slot"]] = event
    return list(last.values())


def close_run(connection: sa.Connection, key: RunKey, event: Mapping[str, Any]) -> None:
    """Close a run: whatever was planned and has no result never ran; the caches learn of it. The first close counts."""
    connection.execute(_NEVER_RAN, {"run": key.run_id, "lane": key.lane_id, "status": NOT_RUN})
    values = {name: event.get(name) for name in ("state", "exit_code", "say", "finished_at", "cost_eur")}
    phases = json.dumps(event.get("phases", {}))
    connection.execute(_CLOSE, {**values, "run": key.run_id, "phases": phases})
    refresh(connection, key.run_id, key.lane_id)


_NEVER_RAN = sa.text("""
    INSERT INTO result (run_id, test_id, lane_id, status, attempt)
    SELECT :run, test_id, :lane, :status, 0
    FROM (SELECT DISTINCT unnest(tests) AS test_id FROM run_plan WHERE run_id = :run) AS planned
    ON CONFLICT DO NOTHING
""")
_CLOSE = sa.text("""
    UPDATE run
    SET state = :state, exit_code = :exit_code, say = :say, finished_at = CAST(:finished_at AS timestamptz),
        phases = CAST(:phases AS jsonb), cost_eur = CAST(:cost_eur AS double precision)
    WHERE id = :run AND state = 'running'
""")
