"""Tests over all their nights."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pytest_testlab.store.codes import LETTERS, class_name, status_name
from pytest_testlab.store.reads.runs import seconds
from pytest_testlab.store.views import HistoryCell, TestView

LIST_STRIP = 30
"""Nights of each test in a list; its own page shows 60."""


def list_tests(connection: sa.Connection, lane: str | None = None) -> list[TestView]:
    """Every test of a lane, or of all lanes each in the one where it ran last; by name. From caches only."""
    rows = connection.execute(_TESTS, {"lane": lane, "test": None}).all()
    wanted = {number for row in rows for number in row.strip_runs[-LIST_STRIP:]}
    cells = _cells(connection, wanted)
    return [_view(row, _short_strip(row, cells)) for row in rows]


def test(connection: sa.Connection, test: str, lane: str | None = None) -> TestView | None:  # noqa: PT028  a read
    """A test in a lane, by default the one where it ran last, with its 60 last nights; None when unknown there."""
    row = connection.execute(_TESTS, {"lane": lane, "test": test}).one_or_none()
    return _view(row, _history(connection, row)) if row is not None else None


_TESTS = sa.text("""
    SELECT DISTINCT ON (test.name)
           test.name AS test, coalesce(suite.name, '') AS suite, test.entry, test.stage, test.priority, test.owner,
           lane.name AS lane, lane_test.lane_id, lane_test.test_id, lane_test.last_status, last.name AS last_run,
           passed.started_at AS last_pass, streak.started_at AS failing_since, lane_test.strip, lane_test.strip_runs,
           lane_test.est_p50_ms, lane_test.est_p90_ms
    FROM lane_test
    JOIN test ON test.id = lane_test.test_id
    JOIN lane ON lane.id = lane_test.lane_id
    JOIN run AS last ON last.id = lane_test.last_run_id
    LEFT JOIN suite ON suite.id = test.suite_id
    LEFT JOIN run AS passed ON passed.id = lane_test.last_pass_run_id
    LEFT JOIN run AS streak ON streak.id = lane_test.streak_run_id
    WHERE (CAST(:lane AS text) IS NULL OR lane.name = :lane) AND (CAST(:test AS text) IS NULL OR test.name = :test)
    ORDER BY test.name, lane_test.last_run_id DESC
""")


def _view(row: sa.Row[Any], strip: tuple[HistoryCell, ...]) -> TestView:
    return TestView(
        test=row.test,
        suite=row.suite,
        entry=row.entry,
        stage=row.stage,
        priority=row.priority,
        owner=row.owner,
        lane=row.lane,
        last_status=status_name(row.last_status),
        last_run=row.last_run,
        last_pass=row.last_pass,
        strip=strip,
        p50_s=seconds(row.est_p50_ms),
        p90_s=seconds(row.est_p90_ms),
        failing_since=row.failing_since,
    )


class _Cells(dict[tuple[int, str], HistoryCell | None]):
    """Cells of strips by run and letter: there are few, and a list shows each of them thousands of times."""

    def __init__(self, runs: Mapping[int, tuple[str, dt.datetime]]) -> None:
        super().__init__()
        self._runs = runs

    def __missing__(self, key: tuple[int, str]) -> HistoryCell | None:
        number, letter = key
        run = self._runs.get(number)
        self[key] = run and HistoryCell(
            run=run[0],
            started_at=run[1],
            status=status_name(LETTERS.index(letter)),
            failure_class=None,
            duration_s=None,
            fingerprint=None,
            headline="",
        )
        return self[key]


def _cells(connection: sa.Connection, numbers: set[int]) -> _Cells:
    statement = sa.text("SELECT id, name, started_at FROM run WHERE id = ANY(CAST(:ids AS int[]))")
    rows = connection.execute(statement, {"ids": sorted(numbers)}) if numbers else ()
    return _Cells({row[0]: (row[1], row[2]) for row in rows})


def _short_strip(row: sa.Row[Any], cells: _Cells) -> tuple[HistoryCell, ...]:
    keys = zip(row.strip_runs[-LIST_STRIP:], row.strip[-LIST_STRIP:], strict=True)
    return tuple(cell for key in keys if (cell := cells[key]) is not None)


def _history(connection: sa.Connection, row: sa.Row[Any]) -> tuple[HistoryCell, ...]:
    cells = connection.execute(_HISTORY, {"test": row.test_id, "lane": row.lane_id}).all()
    return tuple(
        HistoryCell(
            run=cell.run,
            started_at=cell.started_at,
            status=status_name(cell.status),
            failure_class=class_name(cell.failure_class),
            duration_s=seconds(cell.duration_ms),
            fingerprint=cell.fingerprint.hex() if cell.fingerprint else None,
            headline=cell.headline or "",
        )
        for cell in reversed(cells)
    )


_HISTORY = sa.text("""
    SELECT run.name AS run, run.started_at, result.status, result.failure_class, result.duration_ms,
           headline.fingerprint, split_part(headline.text, chr(10), 1) AS headline
    FROM result
    JOIN run ON run.id = result.run_id
    LEFT JOIN headline ON headline.id = result.headline_id
    WHERE result.test_id = :test AND result.lane_id = :lane
    ORDER BY result.run_id DESC LIMIT 60
""")
