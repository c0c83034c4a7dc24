"""What changed: each test against its own last outcome in the lane.

An outcome is a pass, a failure or a flaky pass; an infrastructure error, a skip or a test that never ran is none, so
that a test which failed, then was skipped, and fails again is still failing. A run on a kept server is held against
nothing: all of it is new, or in a list of its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.codes import FAILED, class_name, status_name
from pytest_testlab.store.reads.runs import LATEST, get_run, run_row
from pytest_testlab.store.views import DiffItem, DiffView

NO_LANE = 0
"""Lanes are numbered from 1."""
OWN_LISTS = {
    "flaky": "flaky",
    "error": "errors",
    "blocked": "blocked",
    "skipped": "skipped",
    "shed": "shed",
    "not_run": "not_run",
}


def diff(connection: sa.Connection, run: str | None = None, *, mode: str | None = None) -> DiffView | None:
    """The diff of a run, or of the latest that planned tests; None when the store doesn't know it, or has no run yet.

    `mode` narrows what the latest is looked for among. A run that ended before it knew its tests changed nothing, and
    is nothing to compare with.
    """
    name = _latest(connection, mode) if run in (None, LATEST) else run
    if name is None and mode is not None:
        return None
    row = run_row(connection, name or LATEST)
    view = get_run(connection, row.run) if row is not None else None
    if row is None or view is None:
        return None
    lists: dict[str, list[DiffItem]] = defaultdict(list)
    still_passing = 0
    alone = view.mode == ON_SERVER
    for result in connection.execute(_DIFF, {"run": row.id, "lane": NO_LANE if alone else row.lane_id}):
        where = _list_of(result)
        if where is None:
            still_passing += 1
        else:
            lists[where].append(_item(result))
    lists["missing"] = [] if alone else _missing(connection, row)
    found = {name: tuple(items) for name, items in lists.items()}
    previous = None if alone else _previous(connection, row)
    return DiffView(run=view, previous=previous, still_passing=still_passing, **found)


def _list_of(result: sa.Row[Any]) -> str | None:
    """The list that a result belongs to; None = still passing."""
    status = status_name(result.status)
    if status in OWN_LISTS:
        return OWN_LISTS[status]
    if result.previous_status is None:
        return "new"
    failed_before = result.previous_status == FAILED
    if status == "failed":
        return "still_failing" if failed_before else "newly_failing"
    return "newly_fixed" if failed_before else None


def _item(result: sa.Row[Any]) -> DiffItem:
    failing = result.status == FAILED
    same = (result.failure_class, result.fingerprint) == (result.previous_class, result.previous_fingerprint)
    return DiffItem(
        test=result.test,
        status=status_name(result.status),
        failure_class=class_name(result.failure_class),
        headline=tuple(result.headline.split("\n")) if result.headline else (),
        since=result.since if failing else None,
        streak=result.streak or 0 if failing else 0,
        changed_class=failing and result.previous_status == FAILED and not same,
        priority=result.priority,
        owner=result.owner,
        reason=result.reason,
        entry=result.entry,
    )


# Statuses as literals, so that the indices serve: 1 passed, 2 failed, 6 flaky. OFFSET 0 keeps the look at the earlier
# failure a look-up for the few that need it: joined, it is taken for a scan of all history.
_DIFF = sa.text("""
    SELECT test.name AS test, test.entry, test.priority, test.owner, result.status, result.failure_class,
           headline.text AS headline,
           headline.fingerprint, tried.reason,
           previous.status AS previous_status, before.failure_class AS previous_class,
           earlier.fingerprint AS previous_fingerprint, streak.runs AS streak, first.started_at AS since
    FROM result
    JOIN test ON test.id = result.test_id
    LEFT JOIN headline ON headline.id = result.headline_id
    LEFT JOIN result_attempt AS tried
         ON tried.run_id = result.run_id AND tried.test_id = result.test_id AND tried.attempt = result.attempt
            AND result.status NOT IN (1, 2)
    LEFT JOIN LATERAL (
        SELECT run_id, status FROM result AS older
        WHERE older.test_id = result.test_id AND older.lane_id = :lane AND older.run_id < :run
              AND older.status IN (1, 2, 6)
        ORDER BY run_id DESC LIMIT 1
    ) AS previous ON true
    LEFT JOIN LATERAL (
        SELECT failure_class, headline_id FROM result AS failure
        WHERE failure.run_id = previous.run_id AND failure.test_id = result.test_id
              AND previous.status = 2 AND result.status = 2
        OFFSET 0
    ) AS before ON true
    LEFT JOIN headline AS earlier ON earlier.id = before.headline_id
    LEFT JOIN LATERAL (
        SELECT count(*) AS runs, min(run_id) AS first_run
        FROM result AS failed
        WHERE result.status = 2
              AND failed.test_id = result.test_id AND failed.lane_id = :lane AND failed.status = 2
              AND failed.run_id <= :run AND failed.run_id > coalesce((
                  SELECT run_id FROM result AS passed
                  WHERE passed.test_id = result.test_id AND passed.lane_id = :lane AND passed.run_id < :run
                        AND passed.status IN (1, 6)
                  ORDER BY run_id DESC LIMIT 1), 0)
    ) AS streak ON true
    LEFT JOIN run AS first ON first.id = streak.first_run
    WHERE result.run_id = :run
    ORDER BY test.priority, test.name
""")


def _latest(connection: sa.Connection, mode: str | None) -> str | None:
    """Of a session on several images the first that planned tests."""
    statement = sa.text("""
        SELECT coalesce(first.name, run.name) AS run FROM run JOIN lane ON lane.id = run.lane_id
        LEFT JOIN LATERAL (
            SELECT name FROM run AS own WHERE own.session = run.session AND planned > 0
            ORDER BY length(name), name LIMIT 1
        ) AS first ON true
        WHERE run.planned > 0 AND lane.mode <> :alone AND lane.mode = coalesce(CAST(:mode AS text), lane.mode)
        ORDER BY run.id DESC LIMIT 1
    """)
    found = connection.scalar(statement, {"alone": ON_SERVER, "mode": mode})
    return None if found is None else str(found)


def _previous(connection: sa.Connection, row: sa.Row[Any]) -> str | None:
    """The run before it in its lane that planned tests."""
    statement = sa.text("""
        SELECT name FROM run WHERE lane_id = :lane AND id < :run AND planned > 0 ORDER BY id DESC LIMIT 1
    """)
    found = connection.scalar(statement, {"lane": row.lane_id, "run": row.id})
    return None if found is None else str(found)


def _missing(connection: sa.Connection, row: sa.Row[Any]) -> list[DiffItem]:
    """Tests of the last complete run of the same selection that this one doesn't plan.

    A run whose plan isn't known yet misses nothing, nor does one that was aborted before it had one.
    """
    statement = sa.text("""
        WITH last_complete AS (
            SELECT id FROM run
            WHERE lane_id = :lane AND id < :run AND state = 'finished' AND selection = :selection
            ORDER BY id DESC LIMIT 1
        )
        SELECT test.name AS test, test.entry, test.priority, test.owner, result.status, result.failure_class
        FROM last_complete
        JOIN run_plan AS was ON was.run_id = last_complete.id
        JOIN run_plan AS is_now ON is_now.run_id = :run
        CROSS JOIN LATERAL (SELECT unnest(was.tests) EXCEPT SELECT unnest(is_now.tests)) AS gone (test_id)
        JOIN test ON test.id = gone.test_id
        LEFT JOIN result ON result.run_id = last_complete.id AND result.test_id = gone.test_id
        ORDER BY test.priority, test.name
    """)
    found = connection.execute(statement, {"lane": row.lane_id, "run": row.id, "selection": row.selection})
    return [
        DiffItem(
            test=test.test,
            status=status_name(test.status or 8),
            failure_class=class_name(test.failure_class),
            headline=(),
            priority=test.priority,
            owner=test.owner,
            entry=test.entry,
        )
        for test in found
    ]
