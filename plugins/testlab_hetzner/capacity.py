"""Which types of server to ask for where, in the order that was wished for; remembers what was refused, for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A type of server at a location."""

    type: str
    location: str

    def __str__(self) -> str:
        return f"{self.type} in {self.location}"


class Capacity:
    """What all slots of a process know of what is to be had."""

    def __init__(
        self,
        types: Iterable[str],
        locations: Iterable[str],
        memory_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Every type is tried at each location before the next type is."""
        self.offers = tuple(Offer(type=type_, location=place) for type_, place in product(types, locations))
        self._memory_s = memory_s
        self._now = now
        self._refused: dict[Offer, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def refuse(self, offer: Offer, why: str) -> None:
        """Remember that it was not to be had."""
        with self._lock:
            self._refused[offer] = (self._now(), why)

    def standing(self, offer: Offer) -> str:
        """Why it isn't asked for at the moment; "" when it may be."""
        with self._lock:
            at, why = self._refused.get(offer, (0.0, ""))
            passed = self._now() - at
            if not why or passed >= self._memory_s:
                return ""
            return f"{offer}: {why}, {passed:.0f} s ago"

    def open(self) -> list[Offer]:
        """What may be asked for, in the order wished for."""
        return [offer for offer in self.offers if not self.standing(offer)]

    def say(self) -> str:
        """Why nothing is to be had."""
        return "; ".join(filter(None, map(self.standing, self.offers)))
