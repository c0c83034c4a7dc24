"""What is left of the requests that the API allows, as its answers say; some of it is kept for deletes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from pytest_testlab.errors import InfraError

KEPT = 0.1
"""The share of the whole that only deletes may use."""
HOUR_S = 3600.0


class Quota:
    """A project's quota, refilled a little each second. As long as no answer told of it, everything is allowed."""

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._limit = 0.0
        self._left = 0.0
        self._at = 0.0
        self._rate = 0.0

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take note of an answer's headers; what isn't there or can't be read changes nothing."""
        try:
            limit, left = float(headers["RateLimit-Limit"]), float(headers["RateLimit-Remaining"])
            full_at = float(headers["RateLimit-Reset"])
        except (KeyError, ValueError):
            return
        with self._lock:
            self._at, self._limit, self._left = self._now(), limit, left
            until_full = full_at - self._at
            self._rate = (limit - left) / until_full if until_full > 0 and left < limit else limit / HOUR_S

    def take(self, *, urgent: bool, within_s: float) -> None:
        """Wait until a request may be made, and count it; raises `InfraError` when that takes longer than it may.

        `urgent` ones may use what is kept.
        """
        deadline = self._now() + within_s
        while (wait := self._take(urgent)) > 0:
            if self._now() + wait > deadline:
                raise InfraError(
                    f"the quota of the API is used up: {self._left:.0f} of {self._limit:.0f} requests are left"
                    + ("" if urgent else ", which are kept for deletes")
                )
            self._sleep(wait)

    def _take(self, urgent: bool) -> float:
        """Seconds to wait; 0 = taken."""
        with self._lock:
            if not self._limit:
                return 0.0
            now = self._now()
            self._left = min(self._limit, self._left + self._rate * max(0.0, now - self._at))
            self._at = now
            lacking = 1 + (0 if urgent else self._limit * KEPT) - self._left
            if lacking <= 0:
                self._left -= 1
                return 0.0
            return max(0.01, lacking / self._rate) if self._rate > 0 else HOUR_S
