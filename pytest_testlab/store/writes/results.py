"""Rows of results: attempts, the folded result of each test, and bundles.

Of two words on one attempt the first holds, unless it was an infrastructure error: when a worker dies the lab says so
itself, and what the worker managed to say of the same attempt is better. That its target was another's by then
(`LEASE_LOST`) holds against every other word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from pytest_testlab.model import LEASE_LOST
from pytest_testlab.store.codes import CLASS, ERROR, STATUS
from pytest_testlab.store.engine import copy_in
from pytest_testlab.store.writes.names import Names
from pytest_testlab.store.writes.runs import RunKey

LARGEST_INT = 2**31 - 1
NO_TEST = 0
"""Tests are numbered from 1."""


@dataclass(frozen=True, kw_only=True)
class BundleRow:
    """A bundle as it came from a journal."""

    test: str
    attempt: int
    manifest: Sequence[Mapping[str, Any]]
    data: bytes


def put_attempts(connection: sa.Connection, key: RunKey, events: Iterable[Mapping[str, Any]], names: Names) -> None:
    """Write what `finished` events tell: each attempt, and the last one of each test as its result."""
    attempts: dict[tuple[str, int], Mapping[str, Any]] = {}
    for event in events:
        place = (event["test"], event["attempt"])
        if place not in attempts or _gives_way(attempts[place], event):
            attempts[place] = event
    if not attempts:
        return
    rows = [attempts[place] for place in sorted(attempts)]
    columns = _columns(connection, key, rows, names)
    written = {tuple(place) for place in connection.execute(_PUT_ATTEMPTS, columns)}
    places = zip(columns["tests"], columns["attempts"], strict=True)
    last = {place[0]: index for index, place in enumerate(places) if place in written}
    folded = {name: [columns[name][index] for index in last.values()] for name in _RESULT_COLUMNS}
    connection.execute(_PUT_RESULTS, {**folded, "run": key.run_id, "lane": key.lane_id})


def _gives_way(word: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether another word on the same attempt, that came later, holds in place of this one."""
    if LEASE_LOST in (word.get("rule"), other.get("rule")):
        return word.get("rule") != LEASE_LOST
    return bool(word["status"] == "error")


def _columns(connection: sa.Connection, key: RunKey, rows: Sequence[Mapping[str, Any]], names: Names) -> dict[str, Any]:
    texts = ["\n".join(row.get("headline", ())) for row in rows]
    tests = names.ids(connection, "test", [row["test"] for row in rows])
    rules = names.ids(connection, "rule", {row["rule"] for row in rows if row.get("rule")})
    headlines = names.headlines(connection, {text for text in texts if text})
    return {
        "run": key.run_id,
        "error": ERROR,
        "lost": LEASE_LOST,
        "tests": [tests[row["test"]] for row in rows],
        "attempts": [row["attempt"] for row in rows],
        "statuses": [STATUS[row["status"]] for row in rows],
        "classes": [CLASS[row["failure_class"]] if row.get("failure_class") else None for row in rows],
        "rules": [rules[row["rule"]] if row.get("rule") else None for row in rows],
        "headlines": [headlines[text] if text else None for text in texts],
        "durations": [_bounded(row.get("duration_ms")) for row in rows],
        "redacted": [row.get("redacted", 0) for row in rows],
        "slots": [row.get("slot") for row in rows],
        "retries": [row.get("retry_of") for row in rows],
        "starts": [row.get("started_at") for row in rows],
        "reasons": [row.get("reason") for row in rows],
        "targets": [row.get("target") for row in rows],
        "images": [row.get("image") for row in rows],
        "phases": [json.dumps(row["phases"]) if row.get("phases") else None for row in rows],
    }


def _bounded(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else min(int(milliseconds), LARGEST_INT)


_RESULT_COLUMNS = ("tests", "attempts", "statuses", "classes", "headlines", "durations")
_PUT_ATTEMPTS = sa.text("""
    INSERT INTO result_attempt (run_id, test_id, attempt, status, failure_class, rule_id, headline_id, duration_ms,
                                redacted, slot, retry_of, started_at, reason, target, image, phases)
    SELECT :run, test, attempt, status, class, rule, headline, duration, redacted, slot, retry,
           CAST(start AS timestamptz), reason, target, image, CAST(phases AS jsonb)
    FROM unnest(CAST(:tests AS int[]), CAST(:attempts AS smallint[]), CAST(:statuses AS smallint[]),
                CAST(:classes AS smallint[]), CAST(:rules AS int[]), CAST(:headlines AS int[]),
                CAST(:durations AS int[]), CAST(:redacted AS int[]), CAST(:slots AS smallint[]),
                CAST(:retries AS smallint[]), CAST(:starts AS text[]), CAST(:reasons AS text[]),
                CAST(:targets AS text[]), CAST(:images AS text[]), CAST(:phases AS text[]))
         AS given (test, attempt, status, class, rule, headline, duration, redacted, slot, retry, start, reason,
                   target, image, phases)
    ON CONFLICT (run_id, test_id, attempt) DO UPDATE
    SET status = excluded.status, failure_class = excluded.failure_class, rule_id = excluded.rule_id,
        headline_id = excluded.headline_id, duration_ms = excluded.duration_ms, redacted = excluded.redacted,
        slot = excluded.slot, retry_of = excluded.retry_of, started_at = excluded.started_at,
        reason = excluded.reason, target = excluded.target, image = excluded.image, phases = excluded.phases
    WHERE excluded.rule_id = (SELECT id FROM rule WHERE name = :lost)
          OR (result_attempt.status = :error
              AND result_attempt.rule_id IS DISTINCT FROM (SELECT id FROM rule WHERE name = :lost))
    RETURNING test_id, attempt
""")
_PUT_RESULTS = sa.text("""
    INSERT INTO result (run_id, test_id, lane_id, attempt, status, failure_class, headline_id, duration_ms)
    SELECT :run, test, :lane, attempt, status, class, headline, duration
    FROM unnest(CAST(:tests AS int[]), CAST(:attempts AS smallint[]), CAST(:statuses AS smallint[]),
                CAST(:classes AS smallint[]), CAST(:headlines AS int[]), CAST(:durations AS int[]))
         AS given (test, attempt, status, class, headline, duration)
    ON CONFLICT (run_id, test_id) DO UPDATE
    SET attempt = excluded.attempt, status = excluded.status, failure_class = excluded.failure_class,
        headline_id = excluded.headline_id, duration_ms = excluded.duration_ms
    WHERE excluded.attempt >= result.attempt
""")


def put_bundles(connection: sa.Connection, key: RunKey, bundles: Sequence[BundleRow], names: Names) -> None:
    """Write bundles; one that is there already stays, unless the new one holds more."""
    if not bundles:
        return
    ids = names.ids(connection, "test", [bundle.test for bundle in bundles])
    taken = _bundles_there(connection, key, [ids[bundle.test] for bundle in bundles])
    new: dict[tuple[int, int], BundleRow] = {}
    again: list[BundleRow] = []
    for bundle in bundles:
        place = (ids[bundle.test], bundle.attempt)
        if place in taken or place in new:
            again.append(bundle)
        else:
            new[place] = bundle
    rows = ((key.run_id, *place, Jsonb(bundle.manifest), bundle.data) for place, bundle in new.items())
    copy_in(
        connection, "COPY bundle (run_id, test_id, attempt, manifest, data) FROM STDIN (FORMAT binary)", _TYPES, rows
    )
    if again:
        connection.execute(_PUT_BUNDLE, [_values(key, ids[bundle.test], bundle) for bundle in again])


def _bundles_there(connection: sa.Connection, key: RunKey, tests: Sequence[int]) -> set[tuple[int, int]]:
    statement = sa.text(
        "SELECT test_id, attempt FROM bundle WHERE run_id = :run AND test_id = ANY(CAST(:tests AS int[]))"
    )
    return {(row[0], row[1]) for row in connection.execute(statement, {"run": key.run_id, "tests": list(tests)})}


def _values(key: RunKey, test_id: int, bundle: BundleRow) -> dict[str, Any]:
    about = {"run": key.run_id, "test": test_id, "attempt": bundle.attempt}
    return {**about, "manifest": json.dumps(bundle.manifest), "data": bundle.data}


# COPY takes 26 KB a row twice as fast as INSERT does, and can't say what to do with a row that is there already.
_COPY_BUNDLES = "COPY bundle (run_id, test_id, attempt, manifest, data) FROM STDIN (FORMAT binary)"
_TYPES = ("int4", "int4", "int2", "jsonb", "bytea")
_PUT_BUNDLE = sa.text("""
    INSERT INTO bundle (run_id, test_id, attempt, manifest, data)
    VALUES (:run, :test, :attempt, CAST(:manifest AS jsonb), :data)
    ON CONFLICT (run_id, test_id, attempt) DO UPDATE SET manifest = excluded.manifest, data = excluded.data
    WHERE octet_length(excluded.data) > octet_length(bundle.data)
""")


def put_transcript(connection: sa.Connection, key: RunKey, manifest: Sequence[Mapping[str, Any]], data: bytes) -> None:
    """Write the run's own bundle: that of no test, and so under number 0."""
    about = BundleRow(test="", attempt=0, manifest=manifest, data=data)
    connection.execute(_PUT_BUNDLE, _values(key, NO_TEST, about))


def put_offset(connection: sa.Connection, key: RunKey, segment: str, **offsets: int) -> None:
    """How far a segment has been read: `events_to`, `bundles_to`, or both. In the transaction of what was read."""
    values = {"run": key.run_id, "segment": segment, "events_to": None, "bundles_to": None, **offsets}
    connection.execute(_PUT_OFFSET, values)


_PUT_OFFSET = sa.text("""
    INSERT INTO journal_segment (run_id, segment, events_to, bundles_to)
    VALUES (:run, :segment, coalesce(CAST(:events_to AS bigint), 0), coalesce(CAST(:bundles_to AS bigint), 0))
    ON CONFLICT (run_id, segment) DO UPDATE
    SET events_to = greatest(journal_segment.events_to, excluded.events_to),
        bundles_to = greatest(journal_segment.bundles_to, excluded.bundles_to)
""")


def read_offsets(connection: sa.Connection, key: RunKey) -> dict[str, tuple[int, int]]:
    """Segment → (events_to, bundles_to)."""
    statement = sa.text("SELECT segment, events_to, bundles_to FROM journal_segment WHERE run_id = :run")
    return {row[0]: (row[1], row[2]) for row in connection.execute(statement, {"run": key.run_id})}
