"""How the targets of a pool are dealt to several images, so that all of them are through at about the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_testlab.planning.units import Unit, projected_s


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is to be done on one image."""

    seconds: float
    """As estimated."""
    units: int
    """More targets than that would have nothing to do."""


def at_home(units: Iterable[Unit], images: Sequence[str]) -> list[Unit]:
    """The same units, each with an image: those to which it is all the same go where there is least to do."""
    units = list(units)
    seconds = {image: load.seconds for image, load in loads(units, images).items()}
    placed = []
    for unit in units:
        image = unit.image
        if image is None:
            image = min(images, key=lambda image: seconds[image])
            seconds[image] += unit.estimate_s
        placed.append(replace(unit, image=image))
    return placed


def loads(units: Iterable[Unit], images: Sequence[str]) -> dict[str, Load]:
    """Image → what is to be done on it."""
    found = {image: Load(seconds=0.0, units=0) for image in images}
    for unit in units:
        if unit.image is not None:
            load = found[unit.image]
            found[unit.image] = Load(seconds=load.seconds + unit.estimate_s, units=load.units + 1)
    return found


def apportion(todo: Mapping[str, Load], pool: int) -> tuple[str, ...]:
    """The image of each slot, at most `pool` of them: every image has one, as far as there are slots, most work first.

    Each further slot goes where most work is left for each: no other way of dealing them has the longest share shorter.
    A slot that nothing would be left for is none.
    """
    dealt = sorted((image for image in todo if todo[image].units), key=lambda image: -todo[image].seconds)[:pool]
    slots = dict.fromkeys(dealt, 1)
    while sum(slots.values()) < pool:
        open_to_more = [image for image in slots if slots[image] < todo[image].units]
        if not open_to_more:
            break
        slots[max(open_to_more, key=lambda image: todo[image].seconds / slots[image])] += 1
    return tuple(image for image in todo for _ in range(slots.get(image, 0)))


def worth_moving(left_s: float, slots: int, new_server_s: float) -> bool:
    """Whether a target with nothing left to do should go over to an image with `left_s` of work waiting for `slots`.

    Only if those are still at it when the new server is ready; always where nobody else is.
    """
    return not slots or left_s / slots > new_server_s


def projected_on_images_s(units: Sequence[Unit], images: Sequence[str], pool: int) -> float:
    """The makespan, in seconds, if no target changes its image unless it must, and the estimates were true."""
    slots = apportion(loads(units, images), pool)
    if not set(slots) >= {unit.image for unit in units}:
        return projected_s(units, pool)  # fewer slots than images: they are worked off one after the other
    parts = [([unit for unit in units if unit.image == image], slots.count(image)) for image in set(slots)]
    return max((projected_s(own, among) for own, among in parts), default=0.0)
