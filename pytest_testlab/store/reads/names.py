"""What a user may have meant by a name that the store doesn't know."""

from __future__ import annotations

import difflib

import sqlalchemy as sa

CANDIDATES = 5_000
"""Names that are compared, newest or alphabetically first; comparing more takes longer than a user waits."""


def nearest_runs(connection: sa.Connection, name: str, *, limit: int = 3) -> list[str]:
    """The runs whose names come nearest, or the newest ones when none does."""
    newest = sa.text("SELECT name FROM run ORDER BY id DESC LIMIT :limit")
    known = list(connection.scalars(newest, {"limit": CANDIDATES}))
    return _close(name, known, limit) or known[:limit]


def nearest_tests(connection: sa.Connection, name: str, *, limit: int = 3) -> list[str]:
    """The tests whose names hold `name`, or come nearest to it."""
    statement = sa.text("SELECT name FROM test ORDER BY name LIMIT :limit")
    known = list(connection.scalars(statement, {"limit": CANDIDATES}))
    holding = [test for test in known if name.lower() in test.lower()]
    return holding[:limit] or _close(name, known, limit)


def _close(name: str, known: list[str], limit: int) -> list[str]:
    return difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
