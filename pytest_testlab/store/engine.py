"""Makes SQLAlchemy engines for the store; PostgreSQL through psycopg only."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from pytest_testlab.errors import UsageError

CONNECT_TIMEOUT_S = 10


def make_engine(url: str) -> sa.Engine:
    """An engine for a `postgresql://` or `postgresql+psycopg://` URL; connects later, when first used.

    Raises `UsageError`, which never repeats the URL: it may hold a password.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError("the store's URL can't be read; expected postgresql://user@host/database") from None
    if parsed.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise UsageError(f"the store can't be {parsed.drivername}: only postgresql:// is supported")
    return sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "testlab"},
    )


def one_line(error: BaseException) -> str:
    """The first line of what a database error says."""
    say = str(getattr(error, "orig", None) or error).strip()
    return say.splitlines()[0] if say else type(error).__name__
