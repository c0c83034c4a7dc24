"""Has a server made: asks for what is to be had, makes up for lost answers, clears away what didn't start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from testlab_hetzner.actions import ActionFailed, ActionOverdue, Actions
from testlab_hetzner.capacity import Capacity, Offer
from testlab_hetzner.cloud import Refused
from testlab_hetzner.firstboot import KEY
from testlab_hetzner.machines import Machine
from testlab_hetzner.servers import Order, Servers, check_disposable
from testlab_hetzner.times import Times

TRIES = 2
"""Of one create with one type at one location."""
Say = Callable[[str], object]


class Maker:
    """Makes servers for all slots of a process."""

    def __init__(self, servers: Servers, actions: Actions, capacity: Capacity, times: Times) -> None:
        self._servers = servers
        self._actions = actions
        self._capacity = capacity
        self._times = times

    def make(self, order: Order, say: Say) -> Machine:
        """A server whose actions have all ended well; raises `InfraError` that says what was tried."""
        deadline = time.monotonic() + self._times.create
        tried: dict[Offer, int] = {}
        reasons: list[str] = []
        while (offer := self._next(tried)) is not None and time.monotonic() < deadline:
            tried[offer] = tried.get(offer, 0) + 1
            machine, why = self._attempt(order, offer, deadline)
            if machine is not None:
                return machine
            say(f"{order.name}: {why}")
            reasons.append(why)
        raise InfraError(f"{order.name}: no server is to be had: {'; '.join(reasons) or self._capacity.say()}")

    def _next(self, tried: dict[Offer, int]) -> Offer | None:
        return next((offer for offer in self._capacity.open() if tried.get(offer, 0) < TRIES), None)

    def _attempt(self, order: Order, offer: Offer, deadline: float) -> tuple[Machine | None, str]:
        """(a server, or why there is none from this offer)."""
        try:
            machine = self._order(order, offer, deadline)
        except Refused as refused:
            if not _is_of_the_offer(refused):
                raise _told(refused) from None
            self._capacity.refuse(offer, refused.say)
            return None, f"{offer}: {refused.say}"
        try:
            self._actions.wait(order.name, machine.steps, within_s=self._times.start, boots=True)
            return machine, ""
        except (ActionFailed, ActionOverdue) as error:
            return None, f"{offer}: {error}{self._cleared(machine)}"
        except BaseException:
            self._cleared(machine)
            raise

    def _cleared(self, machine: Machine) -> str:
        """Delete what didn't start: it may be off, and costs as much. What is to be said of it if it can't be."""
        try:
            self._servers.remove(machine.name, machine.id)
        except InfraError as error:
            return f"; it can't be deleted now: {error}"
        return ""

    def _order(self, order: Order, offer: Offer, deadline: float) -> Machine:
        while True:
            try:
                return self._servers.order(order, offer)
            except Refused as refused:
                if refused.code != "uniqueness_error" or time.monotonic() >= deadline:
                    raise
            adopted = self._adopt(order)
            if adopted is not None:
                return adopted
            time.sleep(self._times.pause)

    def _adopt(self, order: Order) -> Machine | None:
        """The server that has the name already, if it is this slot's; None when it is about to go."""
        found = self._servers.named(order.name)
        if found is None or found.status == "deleting":
            return None
        check_disposable(found)
        for label in (labels.RUN, labels.SLOT):
            if found.labels.get(label) != order.labels.get(label):
                raise InfraError(f"{order.name} is taken by a server of another {label}: {found.labels.get(label)}")
        if found.labels.get(KEY) == order.labels[KEY]:
            # Made by this very call, whose answer was lost: it boots with what it was told.
            steps = reversed(self._servers.steps(found))
            return replace(found, steps=[step for step in steps if step.status != "success"])
        return replace(found, steps=[self._servers.rebuild(found, order.image, order.snapshot, order.user_data)])


def _is_of_the_offer(refused: Refused) -> bool:
    """Whether another type or place may do."""
    if refused.code in ("resource_unavailable", "placement_error", "unsupported_error"):
        return True
    return refused.code in ("invalid_input", "not_found") and any(
        word in refused.say.lower() for word in ("server type", "server_type", "location")
    )


def _told(refused: Refused) -> InfraError:
    if refused.code == "resource_limit_exceeded":
        return InfraError(f"{refused}: the project has as many as it may; use a smaller pool, or have the limit raised")
    return refused
