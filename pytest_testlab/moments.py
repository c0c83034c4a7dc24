"""What time it is in a run, by a clock that can't be set: the machine's own may jump by an hour in the middle of it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass


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
