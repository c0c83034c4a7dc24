"""Brings a store's schema up to what this program knows, and refuses one that is newer."""

from __future__ import annotations

import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import UsageError
from pytest_testlab.store.engine import one_line
from pytest_testlab.store.locks import Lock

HEAD = "0005"
"""The newest revision; revisions are four digits, so that they compare as text."""
MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE_S = 5.0
_NOT_YET = ("starting up", "shutting down", "too many clients", "connection slots")
"""What PostgreSQL says in English of a connection that it may take soon; libpq gives no code for these."""
_WAY_OUT = (
    "start it, or name another with --testlab-db or TESTLAB_DATABASE_URL; without either the embedded one is used"
)


class NewerSchema(UsageError):
    """The store was brought to a schema that this program doesn't know."""


def _newer(found: str) -> NewerSchema:
    return NewerSchema(
        f"the store's schema is {found}, newer than this program's {HEAD}: upgrade pytest-testlab, or use another store"
    )


def version(connection: sa.Connection) -> str | None:
    """The revision of a store's schema; None when it has none yet."""
    found = connection.scalar(sa.text("SELECT to_regclass('alembic_version')"))
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if found else None


def check(engine: sa.Engine) -> str | None:
    """The revision of a store's schema; raises `UsageError` when it is newer than this program, or out of reach.

    A server that answers and has no time for us yet is asked again for a while.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with engine.connect() as connection:
                found = version(connection)
            break
        except DBAPIError as error:
            say = one_line(error)
            if not any(words in say for words in _NOT_YET) or time.monotonic() > deadline:
                raise UsageError(f"the store can't be reached: {say}; {_WAY_OUT}") from error
            time.sleep(0.2)
    if found is not None and found > HEAD:
        raise _newer(found)
    return found


def keep_schema(connection: sa.Connection) -> None:
    """Hold off upgrades until this transaction ends; raises `NewerSchema` when one has been since the store was opened.

    A run goes on for hours, and a newer program may come to its store meanwhile.
    """
    connection.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": Lock.MIGRATING})
    found = version(connection)
    if found is not None and found > HEAD:
        raise _newer(found)


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema to `HEAD`; sessions that do so at once take turns.

    Raises `UsageError` when the schema is newer than this program, or the database refuses.
    """
    if check(engine) == HEAD:
        return
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": Lock.MIGRATING})
            if version(connection) != HEAD:
                _run_alembic(connection)
    except DBAPIError as error:
        raise UsageError(f"the store's schema can't be upgraded to {HEAD}: {one_line(error)}") from error


def _run_alembic(connection: sa.Connection) -> None:
    # Imported here: it costs more than a whole warm start, and is needed once in a store's life.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
