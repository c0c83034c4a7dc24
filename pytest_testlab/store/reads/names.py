"""What a user may have meant by a name that the store doesn't know."""

from __future__ import annotations

import difflib

import sqlalchemy as sa

from pytest_testlab.model import ON_SERVER

CANDIDATES = 5_000
"""Names that are compared, newest or alphabetically first; comparing more takes longer than a user waits."""


def nearest_runs(connection: sa.Connection, name: str, *, limit: int = 3) -> list[str]:
    """The runs whose names come nearest, or the newest ones when none does."""
    newest = sa.text("SELECT name FROM run ORDER BY id DESC LIMIT :limit")
    known = list(connection.scalars(newest, {"limit": CANDIDATES}))
    return _close(name, known, limit) or known[:limit]


def nearest_tests(connection: sa.Connection, name: str, *, limit: int = 3) -> list[str]:
    """The tests whose names hold `name`, or come nearest to it, or whose entries' names do."""
    statement = sa.text("SELECT name, entry FROM test ORDER BY name LIMIT :limit")
    known = {row.name: row.entry for row in connection.execute(statement, {"limit": CANDIDATES})}
    holding = [test for test in known if name.lower() in test.lower()]
    entries = _close(name.partition("::")[0], sorted(set(known.values())), limit)
    return holding[:limit] or entries or _close(name, list(known), limit)


def latest_tests(connection: sa.Connection, *, limit: int) -> list[str]:
    """Some tests of the newest run that has any."""
    return list(connection.scalars(_LATEST_TESTS, {"limit": limit}))


def _close(name: str, known: list[str], limit: int) -> list[str]:
    return difflib.get_close_matches(name, known, n=limit, cutoff=0.5)


def matching_tests(connection: sa.Connection, text: str, *, limit: int = 1_000) -> list[str]:
    """The tests that a user may mean: the one of this id, else those of `ENTRY` or `ENTRY::STAGE`, else by part."""
    entry, _, stage = text.partition("::")
    for statement in (_BY_ID, _BY_ENTRY, _BY_PART):
        values = {"text": text, "entry": entry, "stage": stage or None, "limit": limit}
        if found := list(connection.scalars(statement, values)):
            return found
    return []


def latest_run_with(connection: sa.Connection, *tests: str) -> str | None:
    """The newest run that has a result of any of these tests; one on a kept server only where there is no other.

    Of a session on several images the first one's on which one of them failed, or the first one's of all.
    """
    found = connection.scalar(_LATEST_RUN, {"tests": list(tests), "alone": ON_SERVER})
    return None if found is None else str(found)


_BY_ID = sa.text("SELECT name FROM test WHERE name = :text")
_BY_ENTRY = sa.text("""
    SELECT name FROM test WHERE entry = :entry AND (CAST(:stage AS text) IS NULL OR stage = :stage)
    ORDER BY name LIMIT :limit
""")
_BY_PART = sa.text("SELECT name FROM test WHERE strpos(lower(name), lower(:text)) > 0 ORDER BY name LIMIT :limit")
_LATEST_TESTS = sa.text("""
    SELECT test.name FROM result JOIN test ON test.id = result.test_id
    WHERE result.run_id = (SELECT max(run_id) FROM result) ORDER BY test.name LIMIT :limit
""")
_LATEST_RUN = sa.text("""
    WITH newest AS (
        SELECT run.id, run.session FROM result JOIN run ON run.id = result.run_id JOIN test ON test.id = result.test_id
        JOIN lane ON lane.id = run.lane_id
        WHERE test.name = ANY(CAST(:tests AS text[])) ORDER BY lane.mode = :alone, run.id DESC LIMIT 1
    )
    SELECT run.name FROM newest
    JOIN run ON run.id = newest.id OR run.session = newest.session
    JOIN result ON result.run_id = run.id JOIN test ON test.id = result.test_id
    WHERE test.name = ANY(CAST(:tests AS text[]))
    ORDER BY result.status IN (2, 3) DESC, length(run.name), run.name LIMIT 1
""")
