"""What a run's servers cost: each for every hour begun, from its creation until it is gone."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass

from pytest_testlab.money import HOUR_S, billed


@dataclass(kw_only=True)
class _Bill:
    eur_per_hour: float
    since: dt.datetime
    until: dt.datetime | None = None
    by_the_hour: bool = True
    image: str = ""

    def total(self, now: dt.datetime) -> float:
        until = self.until or now
        if self.by_the_hour:
            return billed(self.eur_per_hour, self.since, until) or 0.0
        return self.eur_per_hour * max(0.0, (until - self.since).total_seconds()) / HOUR_S


class Costs:
    """The bills of one run; safe to use from several threads. What has no price is on none of them."""

    def __init__(self) -> None:
        self._bills: list[_Bill] = []
        self._open: dict[str, _Bill] = {}
        self._lock = threading.Lock()

    def begin(
        self, name: str, eur_per_hour: float | None, at: dt.datetime, *, by_the_hour: bool = True, image: str = ""
    ) -> None:
        """Something begins to cost, unless it does already. Not `by_the_hour`: by the second, as snapshots do.

        `image` says for which of a run's images it is.
        """
        with self._lock:
            if eur_per_hour is not None and name not in self._open:
                bill = _Bill(eur_per_hour=eur_per_hour, since=at, by_the_hour=by_the_hour, image=image)
                self._open[name] = bill
                self._bills.append(bill)

    def end(self, name: str, at: dt.datetime) -> None:
        """It is gone; what was never begun, or is ended already, costs no more for that."""
        with self._lock:
            bill = self._open.pop(name, None)
            if bill is not None:
                bill.until = at

    def total(self, now: dt.datetime, image: str | None = None) -> float | None:
        """Euro until now for one image, or for all, what still stands included; None where nobody charged anything."""
        with self._lock:
            bills = [bill for bill in self._bills if image in (None, bill.image)]
            return sum(bill.total(now) for bill in bills) if bills else None
