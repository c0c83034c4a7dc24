"""Runs, their targets and their results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.codes import class_name, status_name
from pytest_testlab.store.views import ResultView, RunView, TargetView

LATEST = "latest"
_RUNS = """
    SELECT run.id, run.name AS run, lane.name AS lane, lane.mode, lane.branch, lane.platform, lane.provider, lane.image,
           run.trigger, run.actor, run.sha, run.dirty, run.runner_version, run.pool, run.budget_s, run.projected_s,
           run.planned, run.started_at, run.finished_at, run.state, run.say, run.exit_code, run.phases, run.cost_eur,
           run.sources, run.selection, run.session, run.lane_id
    FROM run JOIN lane ON lane.id = run.lane_id
"""
_GET = sa.text(_RUNS + "WHERE run.name = :run")
_LATEST = sa.text(_RUNS + "WHERE lane.mode <> :alone ORDER BY run.id DESC LIMIT 1")
_BESIDE = sa.text(_RUNS + "WHERE run.session = :session ORDER BY length(run.name), run.name")
_LIST = sa.text(
    _RUNS
    + """
    WHERE (CAST(:lane AS text) IS NULL OR lane.name = :lane) AND (CAST(:mode AS text) IS NULL OR lane.mode = :mode)
    ORDER BY run.id DESC LIMIT :limit
"""
)


def list_runs(
    connection: sa.Connection, *, limit: int = 50, lane: str | None = None, mode: str | None = None
) -> list[RunView]:
    """Runs, newest first; of one lane (by name) or one mode where asked."""
    values = {"lane": lane, "mode": mode, "limit": limit}
    return _views(connection, connection.execute(_LIST, values).all())


def get_run(connection: sa.Connection, run: str) -> RunView | None:
    """A run by its name, or the one that started last for `latest`; None when the store doesn't know it.

    A run on a kept server is the latest only where there is no other: it is told of where it is named.
    Of a session on several images that is the run of the first one.
    """
    row = run_row(connection, run)
    return _views(connection, [row])[0] if row is not None else None


def beside(connection: sa.Connection, run: RunView) -> list[RunView]:
    """All runs of its session, in the order of their images, itself included; itself alone where it has but one."""
    if run.session is None:
        return [run]
    return _views(connection, connection.execute(_BESIDE, {"session": run.session}).all())


def run_row(connection: sa.Connection, run: str) -> sa.Row[Any] | None:
    """A run with its numbers, for other reads; None when the store doesn't know it."""
    if run == LATEST:
        row = connection.execute(_LATEST, {"alone": ON_SERVER}).one_or_none()
        if row is None:
            row = connection.execute(_LIST, {"lane": None, "mode": None, "limit": 1}).one_or_none()
        if row is None or row.session in (None, row.run):
            return row
        return connection.execute(_GET, {"run": row.session}).one_or_none() or row
    return connection.execute(_GET, {"run": run}).one_or_none()


def _views(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[RunView]:
    counts = _counts(connection, rows)
    return [view_of(row, counts.get(row.id, {})) for row in rows]


def view_of(row: sa.Row[Any], counts: Mapping[str, int]) -> RunView:
    """A run's row and its counts as a view."""
    values = {name: value for name, value in row._mapping.items() if name not in {"id", "selection", "lane_id"}}
    return RunView(**values, counts=counts)


def _counts(connection: sa.Connection, rows: Iterable[sa.Row[Any]]) -> dict[int, dict[str, int]]:
    """From the cache for closed runs; counted for those that go on."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for statement, running in ((_COUNT_CLOSED, False), (_COUNT_RUNNING, True)):
        ids = [row.id for row in rows if (row.state == "running") is running]
        for run_id, status, tests in connection.execute(statement, {"runs": ids}) if ids else ():
            found[run_id][status_name(status)] = tests
    return found


_COUNT_CLOSED = sa.text("""
    SELECT run_id, status, CAST(sum(tests) AS int) FROM run_count
    WHERE run_id = ANY(CAST(:runs AS int[])) GROUP BY 1, 2 ORDER BY 2
""")
_COUNT_RUNNING = sa.text("""
    SELECT run_id, status, count(*) FROM result WHERE run_id = ANY(CAST(:runs AS int[])) GROUP BY 1, 2 ORDER BY 2
""")


def results(connection: sa.Connection, run: str) -> list[ResultView]:
    """The last attempt at each test of a run, in the order of its plan; empty for an unknown run.

    A test without a result is `waiting` or `running` while the run goes on, and `not_run` once it is closed.
    """
    row = run_row(connection, run)
    return select_results(connection, row) if row is not None else []


def on_images(connection: sa.Connection, run: RunView, test: str) -> dict[str, ResultView]:
    """Image → what came of a test on it, in all runs of a session; empty where that has but one."""
    found = {}
    for other in beside(connection, run) if run.session is not None else ():
        row = run_row(connection, other.run)
        if row is not None and (results := select_results(connection, row, test)):
            found[other.image] = results[0]
    return found


def marks(connection: sa.Connection, run: str) -> dict[int, tuple[int, ...]]:
    """Test (its number) → what changes when its row of `results` does; far cheaper to read than they are."""
    row = run_row(connection, run)
    if row is None:
        return {}
    found = {mark[0]: tuple(mark[1:]) for mark in connection.execute(_MARKS, {"run": row.id})}
    for slot, test_id, attempt in connection.execute(_MARKS_RUNNING, {"run": row.id}):
        found[test_id] = (*found.get(test_id, ()), slot, attempt)
    return found


_MARKS = sa.text("""
    SELECT test_id, status, attempt, coalesce(duration_ms, 0), coalesce(headline_id, 0) FROM result WHERE run_id = :run
""")
_MARKS_RUNNING = sa.text("""
    SELECT slot, test_id, coalesce(test_attempt, 0) FROM run_target
    WHERE run_id = :run AND test_id IS NOT NULL ORDER BY slot
""")


def results_of(connection: sa.Connection, run: str, numbers: Iterable[int]) -> list[ResultView]:
    """Those of `results` whose tests have these numbers."""
    row = run_row(connection, run)
    return select_results(connection, row, numbers=list(numbers)) if row is not None else []


def select_results(
    connection: sa.Connection, run: sa.Row[Any], test: str | None = None, numbers: Sequence[int] | None = None
) -> list[ResultView]:
    """The results of a run's row, or of one of its tests, or of those with these numbers."""
    if numbers is None:
        rows = connection.execute(_RESULTS, {"run": run.id, "test": test})
    else:
        rows = connection.execute(_RESULTS_OF, {"run": run.id, "test": test, "numbers": numbers})
    return [_result(run, row) for row in rows]


_LISTED = """
    WITH planned AS (
        SELECT test_id, min(place) AS place
        FROM run_plan CROSS JOIN LATERAL unnest(tests) WITH ORDINALITY AS plan (test_id, place)
        WHERE run_id = :run GROUP BY test_id
    ), listed AS (
        SELECT coalesce(planned.test_id, result.test_id) AS test_id, place, status, failure_class, attempt, duration_ms,
               headline_id
        FROM planned FULL JOIN (SELECT * FROM result WHERE run_id = :run) AS result
             ON result.test_id = planned.test_id
    )
"""
_LISTED_OF = """
    WITH listed AS (
        SELECT asked.test_id, CAST(NULL AS int) AS place, status, failure_class, attempt, duration_ms, headline_id
        FROM unnest(CAST(:numbers AS int[])) AS asked (test_id)
        LEFT JOIN result ON result.run_id = :run AND result.test_id = asked.test_id
    )
"""
_SHOWN = """
    SELECT test.name AS test, coalesce(suite.name, '') AS suite, test.entry, test.stage, test.priority, test.owner,
           listed.status, listed.failure_class, coalesce(listed.attempt, 0) AS attempt, listed.duration_ms,
           headline.text AS headline, rule.name AS rule, tried.slot, tried.target, tried.started_at, tried.reason,
           onto.slot AS running_slot, onto.name AS running_target, onto.test_at AS running_at,
           onto.test_attempt AS running_attempt
    FROM listed
    JOIN test ON test.id = listed.test_id
    LEFT JOIN suite ON suite.id = test.suite_id
    LEFT JOIN result_attempt AS tried
         ON tried.run_id = :run AND tried.test_id = listed.test_id AND tried.attempt = listed.attempt
    LEFT JOIN headline ON headline.id = listed.headline_id
    LEFT JOIN rule ON rule.id = tried.rule_id
    LEFT JOIN LATERAL (
        SELECT slot, name, test_at, test_attempt FROM run_target
        WHERE run_id = :run AND run_target.test_id = listed.test_id AND test_attempt > coalesce(listed.attempt, 0)
        ORDER BY test_attempt DESC LIMIT 1
    ) AS onto ON true
    WHERE CAST(:test AS text) IS NULL OR test.name = :test
    ORDER BY listed.place NULLS LAST, test.name
"""
_RESULTS = sa.text(_LISTED + _SHOWN)
_RESULTS_OF = sa.text(_LISTED_OF + _SHOWN)


def _result(run: sa.Row[Any], row: sa.Row[Any]) -> ResultView:
    running = run.state == "running" and row.running_slot is not None
    bare = running or row.status is None
    return ResultView(
        run=run.run,
        test=row.test,
        suite=row.suite,
        entry=row.entry,
        stage=row.stage,
        priority=row.priority,
        owner=row.owner,
        status=_status(run, row, running=running),
        failure_class=None if bare else class_name(row.failure_class),
        rule=None if bare else row.rule,
        headline=tuple(row.headline.split("\n")) if row.headline and not bare else (),
        attempt=row.running_attempt if running else row.attempt,
        slot=row.running_slot if running else row.slot,
        target=row.running_target if running else row.target,
        started_at=row.running_at if running else row.started_at,
        duration_s=None if bare else seconds(row.duration_ms),
        reason=None if bare else row.reason,
    )


def _status(run: sa.Row[Any], row: sa.Row[Any], *, running: bool) -> str:
    if running:
        return "running"
    if row.status is not None:
        return status_name(row.status)
    return "waiting" if run.state == "running" else "not_run"


def seconds(milliseconds: int | None) -> float | None:
    """Milliseconds in the store are seconds everywhere else."""
    return None if milliseconds is None else milliseconds / 1000


def targets(connection: sa.Connection, run: str) -> list[TargetView]:
    """The targets of a run as last heard of, by slot; empty for an unknown run."""
    row = run_row(connection, run)
    if row is None:
        return []
    statement = sa.text("""
        SELECT run_target.slot, run_target.name, run_target.state, run_target.say, run_target.proof,
               coalesce(greatest(run_target.at, run_target.test_at), run.started_at) AS at,
               CASE WHEN run.state = 'running' AND coalesce(result.attempt, 0) < run_target.test_attempt
                    THEN test.name END AS test
        FROM run_target
        JOIN run ON run.id = run_target.run_id
        LEFT JOIN test ON test.id = run_target.test_id
        LEFT JOIN result ON result.run_id = run_target.run_id AND result.test_id = run_target.test_id
        WHERE run_target.run_id = :run ORDER BY run_target.slot
    """)
    return [TargetView(**target._mapping) for target in connection.execute(statement, {"run": row.id})]
