"""What time it is in a run, by a clock that can't be set: the machine's own may jump by an hour in the middle of it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass


def shown(at: dt.datetime, *, seconds: bool = False) -> str:
    """A moment for people, by this machine's clock with the zone named: `2026-11-21 02:31 CET`.

    Wherever a date is written for a person it is written so. What other programs read is ISO 8601 with its offset.
    """
    local = at.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S} {zone(local)}" if seconds else f"{local:%Y-%m-%d %H:%M} {zone(local)}"


def zone(at: dt.datetime) -> str:
    """What the zone of an aware moment is called just then: `CET`, `CEST`, `UTC-03`."""
    name = at.tzname() or ""
    return f"UTC{name}" if name[:1] in "+-" else name


@dataclass(frozen=True)
class Moments:
    """Asks the machine's wall clock once; from then on moments are as far apart as the time in between."""

    base: float
    """Seconds: wall clock less monotonic clock, which all processes of a machine share."""

    @classmethod
    def begin(cls) -> Moments:
        """Of a run that begins now; its workers are told the base."""
        return cls(time.time() - time.monotonic())

    def now(self) -> dt.datetime:
        """The moment, in UTC."""
        return dt.datetime.fromtimestamp(self.base + time.monotonic(), dt.UTC)
