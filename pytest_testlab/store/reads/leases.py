"""Who has which server."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from pytest_testlab.store.views import LeaseView

_LEASES = """
    SELECT key, provider, server, run, slot, holder, trigger, epoch, state, taken_at, heartbeat_at, expires_at,
           state <> 'released' AND expires_at <= now() AS lapsed, made_at, eur_per_hour, address, kept, test
    FROM lease
"""


def find(connection: sa.Connection, key: str) -> LeaseView | None:
    """The lease of a server, by its key; None when nobody ever had it."""
    row = connection.execute(sa.text(_LEASES + "WHERE key = :key"), {"key": key}).one_or_none()
    return None if row is None else _view(row)


def held(connection: sa.Connection) -> list[LeaseView]:
    """The leases that were not given back, the oldest first; those that lapsed say so."""
    rows = connection.execute(sa.text(_LEASES + "WHERE state = 'held' ORDER BY taken_at, key"))
    return [_view(row) for row in rows]


def of_run(connection: sa.Connection, run: str) -> list[LeaseView]:
    """The leases that a run had, also those that it gave back, unless another one has had the server since."""
    return [_view(row) for row in connection.execute(sa.text(_LEASES + "WHERE run = :run ORDER BY key"), {"run": run})]


def alive(connection: sa.Connection, *, silent_s: float = 0.0) -> list[LeaseView]:
    """Servers that a run uses or has kept, the oldest first; of those whose lease lapsed, the ones that did so lately.

    Such a server may be left behind: nobody tells the store when it goes. `silent_s` is how long ago that may be.
    """
    rows = connection.execute(_ALIVE, {"silent": silent_s})
    return [_view(row) for row in rows]


_ALIVE = sa.text(
    _LEASES
    + """
    WHERE state IN ('held', 'kept') AND expires_at > now() - make_interval(secs => :silent) ORDER BY made_at, key
    """
)


def _view(row: sa.Row[tuple[object, ...]]) -> LeaseView:
    values = dict(row._mapping)
    moments = {name: value.astimezone(dt.UTC) for name, value in values.items() if isinstance(value, dt.datetime)}
    return LeaseView(**values | moments)
