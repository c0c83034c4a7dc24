"""The units that are still to be given out, in order: a queue for each image that servers are made from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pytest_testlab.planning.units import Unit

GROUP_S = 0.15
"""Very short units are handed out together, up to about this many seconds of work, to save round trips."""


class Queue:
    """The units of one image."""

    def __init__(self, units: Iterable[Unit] = ()) -> None:
        self._units = deque(units)
        self.barred: dict[str, int] = {}
        """Unit → slot on which it met an infrastructure fault: it is tried again on another one."""

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self._units)

    @property
    def first(self) -> Unit | None:
        """The unit before which no other may begin, while it isn't through: it is the first that is pending."""
        unit = self._units[0] if self._units else None
        return unit if unit is not None and unit.first else None

    @property
    def left_s(self) -> float:
        """Seconds of work, as estimated."""
        return sum(unit.estimate_s for unit in self._units)

    def take(self, unit: Unit, most: int) -> list[Unit]:
        """Take a unit out, and with it at most so many in all of those that follow at the head."""
        self._units.remove(unit)
        taken = [unit]
        while self._units and len(taken) < most and not self.barred and not unit.alone and not self._units[0].alone:
            taken.append(self._units.popleft())
        return taken

    def put_back(self, unit: Unit) -> None:
        """Put a unit at the head."""
        self._units.appendleft(unit)

    def clear(self) -> list[Unit]:
        """Take out all of them."""
        units, self._units = list(self._units), deque()
        return units


class Queues(dict[str, Queue]):
    """A queue for each image; the units that know of none stand in that of the image without a name."""

    def __init__(self, units: Iterable[Unit]) -> None:
        found: dict[str, list[Unit]] = {}
        for unit in units:
            found.setdefault(unit.image or "", []).append(unit)
        super().__init__({image: Queue(own) for image, own in found.items()})

    def __missing__(self, image: str) -> Queue:
        self[image] = Queue()
        return self[image]

    @property
    def empty(self) -> bool:
        """Whether nothing is left to give out."""
        return not any(self.values())


def how_many(mean_s: float, pending: int, workers: int) -> int:
    """How many units to hand out at once, of tests that took `mean_s` so far: a fair share, and short in all."""
    fair = pending // (4 * max(1, workers))
    return max(1, min(fair, int(GROUP_S / max(mean_s, 1e-4))))
