"""Leases of servers. Each step is one statement, by the database's clock, and says from where it leads.

A lease is its holder's under one epoch: whoever comes with another holder or an older epoch changes nothing, and is
told.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

import sqlalchemy as sa


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who wants a server, and which."""

    key: str
    """`provider/` and the server's name, or what else is the machine's own."""
    provider: str
    server: str
    run: str
    slot: int
    holder: str
    """Run, host and process; no two that live at once have the same."""
    trigger: str
    eur_per_hour: float | None = None
    address: str = ""
    """Where the server is, as ssh wants it, without a key."""


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A lease as it stands now."""

    epoch: int
    expires_at: dt.datetime


def take(connection: sa.Connection, who: Claimant, seconds: float) -> Granted | None:
    """Take a server that is free, or whose lease lapsed, under a new epoch; None when somebody else has it."""
    return _granted(connection, _TAKE, {**asdict(who), "seconds": seconds})


_TAKE = sa.text("""
    INSERT INTO lease (key, provider, server, run, slot, holder, trigger, epoch, state, taken_at, heartbeat_at,
                       expires_at, eur_per_hour, address)
    VALUES (:key, :provider, :server, :run, :slot, :holder, :trigger, 1, 'held', now(), now(),
            now() + make_interval(secs => :seconds), CAST(:eur_per_hour AS double precision), :address)
    ON CONFLICT (key) DO UPDATE
    SET provider = excluded.provider, server = excluded.server, run = excluded.run, slot = excluded.slot,
        holder = excluded.holder, trigger = excluded.trigger, epoch = lease.epoch + 1, state = 'held',
        taken_at = excluded.taken_at, heartbeat_at = excluded.heartbeat_at, expires_at = excluded.expires_at,
        eur_per_hour = coalesce(excluded.eur_per_hour, lease.eur_per_hour),
        address = coalesce(nullif(excluded.address, ''), lease.address)
    WHERE lease.state <> 'held' OR lease.expires_at <= now() OR lease.holder = excluded.holder
    RETURNING epoch, expires_at
""")


def renew(connection: sa.Connection, who: Claimant, epoch: int, seconds: float, *, steps: int = 0) -> Granted | None:
    """Hold a server for longer, and count its epoch up by `steps`; None when it is the holder's no more.

    A lease that lapsed and that nobody took meanwhile is the holder's still.
    """
    return _granted(connection, _RENEW, {**asdict(who), "epoch": epoch, "seconds": seconds, "steps": steps})


_RENEW = sa.text("""
    UPDATE lease
    SET epoch = epoch + :steps, server = :server, heartbeat_at = now(),
        expires_at = now() + make_interval(secs => :seconds)
    WHERE key = :key AND holder = :holder AND epoch = :epoch AND state = 'held'
    RETURNING epoch, expires_at
""")


def release(connection: sa.Connection, who: Claimant, epoch: int) -> bool:
    """Give a server back, under a new epoch; False when it was the holder's no more."""
    return connection.scalar(_RELEASE, {**asdict(who), "epoch": epoch}) is not None


_RELEASE = sa.text("""
    UPDATE lease SET epoch = epoch + 1, state = 'released', heartbeat_at = now(), expires_at = now()
    WHERE key = :key AND holder = :holder AND epoch = :epoch AND state = 'held'
    RETURNING key
""")


def keep(connection: sa.Connection, who: Claimant, epoch: int, until: dt.datetime, why: str, test: str) -> bool:
    """Let go of a server that goes on to stand until a moment; False when it was the holder's no more."""
    values = {**asdict(who), "epoch": epoch, "until": until, "why": why, "test": test}
    return connection.scalar(_KEEP, values) is not None


_KEEP = sa.text("""
    UPDATE lease
    SET epoch = epoch + 1, state = 'kept', heartbeat_at = now(), expires_at = :until, kept = :why, test = :test
    WHERE key = :key AND holder = :holder AND epoch = :epoch AND state = 'held'
    RETURNING key
""")


def extend(connection: sa.Connection, key: str, until: dt.datetime) -> bool:
    """Have a kept server stand until another moment; False when it isn't kept, or somebody uses it now."""
    return connection.scalar(_EXTEND, {"key": key, "until": until}) is not None


_EXTEND = sa.text("UPDATE lease SET expires_at = :until WHERE key = :key AND state = 'kept' RETURNING key")


def take_away(connection: sa.Connection, key: str) -> bool:
    """End a lease against its holder's will, under a new epoch; the holder is told. False when nobody has it."""
    return connection.scalar(_TAKE_AWAY, {"key": key}) is not None


_TAKE_AWAY = sa.text("""
    UPDATE lease SET epoch = epoch + 1, state = 'released', expires_at = now()
    WHERE key = :key AND state = 'held'
    RETURNING key
""")


KEPT_DAYS = 90
"""How long the store remembers who had a server. Of servers that a run made itself nobody asks any more by then."""


def prune(connection: sa.Connection) -> int:
    """Forget leases that ended, or lapsed, so long ago; returns how many.

    Whoever held one under its last epoch can do nothing with it: a later lease of the same server has another holder.
    """
    return int(connection.execute(_PRUNE, {"days": KEPT_DAYS}).rowcount)


_PRUNE = sa.text("DELETE FROM lease WHERE expires_at < now() - make_interval(days => :days)")


def _granted(connection: sa.Connection, statement: sa.TextClause, values: dict[str, object]) -> Granted | None:
    row = connection.execute(statement, values).one_or_none()
    return None if row is None else Granted(epoch=row.epoch, expires_at=row.expires_at.astimezone(dt.UTC))
