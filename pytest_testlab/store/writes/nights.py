"""What a scheduler takes down of the nights that were due; each step is a statement that says from where it leads."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from pytest_testlab.store.locks import Lock


def note_due(
    connection: sa.Connection, schedule: str, due_at: dt.datetime, *, state: str, reason: str, caught_up: bool
) -> bool:
    """Take a night down as `due` or `missed`; False when somebody has done so already."""
    statement = sa.text("""
        INSERT INTO night (schedule, due_at, state, reason, caught_up)
        VALUES (:schedule, :due_at, :state, :reason, :caught_up) ON CONFLICT (schedule, due_at) DO NOTHING RETURNING id
    """)
    values = {"schedule": schedule, "due_at": due_at, "state": state, "reason": reason, "caught_up": caught_up}
    return connection.scalar(statement, values) is not None


def put_off(connection: sa.Connection, night: int, *, state: str, reason: str) -> bool:
    """Let a night that has not begun wait, or end it; False when it has begun meanwhile."""
    statement = sa.text("""
        UPDATE night SET state = :state, reason = :reason WHERE id = :night AND state IN ('due', 'waiting') RETURNING id
    """)
    return connection.scalar(statement, {"night": night, "state": state, "reason": reason}) is not None


def claim(connection: sa.Connection, night: int, *, run: str, place: str, at: dt.datetime) -> bool:
    """Make a night ours to start; False when it has begun meanwhile, or another one has."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": Lock.BEGINNING})
    statement = sa.text("""
        UPDATE night SET state = 'starting', reason = '', run = :run, place = :place, started_at = :at
        WHERE id = :night AND state IN ('due', 'waiting')
              AND NOT EXISTS (SELECT FROM night AS other WHERE other.state IN ('starting', 'started'))
        RETURNING id
    """)
    return connection.scalar(statement, {"night": night, "run": run, "place": place, "at": at}) is not None


def started(connection: sa.Connection, night: int, pid: int | None) -> None:
    """Its session runs."""
    statement = sa.text("""
        UPDATE night SET state = 'started', pid = coalesce(CAST(:pid AS int), pid)
        WHERE id = :night AND state IN ('starting', 'started')
    """)
    connection.execute(statement, {"night": night, "pid": pid})


def unclaim(connection: sa.Connection, night: int, run: str | None) -> bool:
    """Give a night back whose starter died before it had started the session of `run`."""
    statement = sa.text("""
        UPDATE night SET state = 'due', run = NULL, place = NULL, pid = NULL, started_at = NULL
        WHERE id = :night AND state = 'starting' AND run = :run RETURNING id
    """)
    return connection.scalar(statement, {"night": night, "run": run}) is not None


def end(
    connection: sa.Connection,
    night: int,
    *,
    run: str | None,
    state: str,
    reason: str,
    exit_code: int | None,
    at: dt.datetime,
) -> bool:
    """A night's session, of `run`, is over; False when somebody has noted that already."""
    statement = sa.text("""
        UPDATE night SET state = :state, reason = :reason, exit_code = :exit_code, ended_at = :at
        WHERE id = :night AND state IN ('starting', 'started') AND run = :run RETURNING id
    """)
    values = {"night": night, "run": run, "state": state, "reason": reason, "exit_code": exit_code, "at": at}
    return connection.scalar(statement, values) is not None
