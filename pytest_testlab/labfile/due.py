"""When a schedule is due: five cron fields, read as in Debian's cron, on a time zone's own clocks.

A time that the clocks skip in spring comes as soon as they have; one that they show twice in autumn comes the first
time. Schedules by the hour (a `*` in minutes or hours) follow real time instead. Nothing here looks at a clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from zoneinfo import ZoneInfo

from pytest_testlab.errors import UsageError

_MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A moment at which a night is to begin."""

    at: dt.datetime
    """In the schedule's time zone."""
    note: str = ""
    """What is odd about it, on a day on which clocks are changed."""


def check_cron(cron: str) -> None:
    """Raise `ValueError`, with what is allowed, unless these are five cron fields that will ever be due."""
    cronsim = _cronsim()
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"has {len(fields)} fields; allowed: minute hour day-of-month month day-of-week")
    try:
        next(cronsim.CronSim(cron, dt.datetime(2026, 1, 1)))  # noqa: DTZ001  any day will do
    except cronsim.CronSimError as error:
        raise ValueError(
            f"{str(error).lower()}; allowed: e.g. 30 2 * * * for 02:30 each day, or 0 3 * * MON-FRI"
        ) from None
    except StopIteration:
        raise ValueError("is never due: there is no such day") from None


def due_times(cron: str, zone: str, after: dt.datetime) -> Iterator[Due]:
    """The moments after `after` (aware), without end but for a cron that is due no more; each strictly later."""
    if after.tzinfo is None:
        raise ValueError("a moment without a time zone")
    for at in _cronsim().CronSim(cron, after.astimezone(ZoneInfo(zone))):
        if at.astimezone(dt.UTC) > after:  # asked in the second of two equal hours, it begins again with the first
            yield Due(at=at, note=_note(cron, at))


def _note(cron: str, at: dt.datetime) -> str:
    wall = at.replace(tzinfo=None, fold=0)
    if next(iter(_cronsim().CronSim(cron, wall - _MINUTE))) != wall:
        return f"the clocks skip {_skipped(cron, at):%H:%M} on this day; it begins as soon as they have"
    first, second = at.replace(fold=0), at.replace(fold=1)
    if first.utcoffset() != second.utcoffset():
        return f"the clocks show {wall:%H:%M} twice on this day; this is the {'second' if at.fold else 'first'}"
    return ""


def _skipped(cron: str, at: dt.datetime) -> dt.datetime:
    """The first time on the clocks that was skipped on the way to `at`."""
    before = (at.astimezone(dt.UTC) - _MINUTE).astimezone(at.tzinfo).replace(tzinfo=None)
    skipped: dt.datetime = next(iter(_cronsim().CronSim(cron, before)))
    return skipped


def _cronsim() -> ModuleType:
    try:
        import cronsim
    except ImportError:
        raise UsageError("a [schedule] needs cronsim: pip install 'pytest-testlab[server]'") from None
    return cronsim
