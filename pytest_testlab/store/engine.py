"""Makes SQLAlchemy engines for the store; PostgreSQL through psycopg only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from pytest_testlab.errors import UsageError

CONNECT_TIMEOUT_S = 10
_SESSION = {
    "client_encoding": "utf8",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Text is text, whatever the database was made with. A server whose machine is gone is noticed within half a minute."""


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
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "testlab", **_SESSION},
    )


def password_of(url: str | None) -> str | None:
    """The password in a URL, to be masked wherever it turns up."""
    try:
        return sa.make_url(url).password if url else None
    except (ArgumentError, ValueError):
        return None


def identity(engine: sa.Engine) -> str:
    """What tells this database from every other, by whatever name it is reached; "" where it won't say."""
    try:
        with engine.connect() as connection:
            return str(
                connection.scalar(
                    sa.text("""
                        SELECT system_identifier || '/' || pg_database.oid FROM pg_control_system(), pg_database
                        WHERE datname = current_database()
                    """)
                )
            )
    except DBAPIError:
        return ""


def copy_in(
    connection: sa.Connection, statement: str, types: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    """Send rows by a binary COPY, in the connection's transaction. Raises as its `execute` does."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error


def one_line(error: BaseException) -> str:
    """The first line of what a database error says."""
    say = str(getattr(error, "orig", None) or error).strip()
    return say.splitlines()[0] if say else type(error).__name__
