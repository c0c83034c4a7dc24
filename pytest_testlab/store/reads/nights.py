"""The nights that were due, and when the next ones are."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from pytest_testlab.store.locks import Lock
from pytest_testlab.store.views import NextView, NightView

OPEN = ("due", "waiting", "starting", "started")
"""States of nights that are not over."""
RUNNING = ("starting", "started")
_NIGHTS = """
    SELECT night.id, night.schedule, night.due_at, night.state, night.reason, night.caught_up, night.run, night.place,
           night.pid, night.started_at, night.ended_at, night.exit_code, run.state AS run_state
    FROM night LEFT JOIN run ON run.name = night.run
"""


def recent(connection: sa.Connection, limit: int, schedule: str | None = None) -> list[NightView]:
    """The last nights that were due, newest first."""
    statement = sa.text(
        _NIGHTS
        + "WHERE CAST(:schedule AS text) IS NULL OR night.schedule = :schedule ORDER BY night.due_at DESC, id DESC"
        + " LIMIT :limit"
    )
    rows = connection.execute(statement, {"limit": limit, "schedule": schedule})
    return [NightView(**row._mapping) for row in rows]


def not_over(connection: sa.Connection) -> list[NightView]:
    """The nights that are due, wait or run, oldest first."""
    statement = sa.text(_NIGHTS + "WHERE night.state = ANY(:states) ORDER BY night.due_at, night.id")
    return [NightView(**row._mapping) for row in connection.execute(statement, {"states": list(OPEN)})]


def upcoming(connection: sa.Connection) -> list[NextView]:
    """When each schedule is due next, the soonest first; in the past where no scheduler is at work."""
    rows = connection.execute(
        sa.text("SELECT id, next_run_time FROM schedule_job WHERE next_run_time IS NOT NULL ORDER BY 2, 1")
    )
    return [NextView(schedule=name, at=dt.datetime.fromtimestamp(at, dt.UTC)) for name, at in rows]


def led(connection: sa.Connection) -> bool:
    """Whether a scheduler is at work: the lock of the one that plays is held, for it goes with its connection."""
    return bool(connection.scalar(_LED, {"key": Lock.LEADING}))


# A lock by one number stands there as two halves, with objsubid 1; ours fits into the lower one.
_LED = sa.text("""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = 0 AND objid = CAST(:key AS bigint)
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")
