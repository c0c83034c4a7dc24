"""The pool: slots are ready only with a server in them, and a provider that fails costs its slot only."""

from __future__ import annotations

import datetime as dt
import threading

import pytest

from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.testing import MemoryProvider


class Flaky(MemoryProvider):
    """Refuses the slots that it is told to, and never blanks."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self.refused = refused

    def create(self, request: ServerRequest) -> Server:
        if request.slot in self.refused:
            raise InfraError(f"no capacity for slot {request.slot}")
        return super().create(request)

    def blank(self, server: Server) -> Server:
        raise NotBlankError(f"{server.name} still has files of ours")


def pool_of(provider: MemoryProvider, size: int = 2) -> tuple[Pool, list[tuple[int, SlotState]]]:
    moves: list[tuple[int, SlotState]] = []
    lock = threading.Lock()

    def changed(slot: Slot, at: dt.datetime) -> None:
        assert at.tzinfo is not None
        with lock:
            moves.append((slot.index, slot.state))

    return Pool(provider, run="r", size=size, image="", changed=changed), moves


def test_slots_become_ready_and_go() -> None:
    """Each slot gets a server of its own, and all are given back."""
    provider = MemoryProvider()
    pool, moves = pool_of(provider)
    pool.start(len(pool.slots))
    names = {pool.wait_ready(slot, 5).name for slot in pool.slots}
    assert len(names) == 2
    assert pool.close() == []
    assert list(provider.owned()) == []
    assert [state for index, state in moves if index == 0] == [
        SlotState.PROVISIONING,
        SlotState.READY,
        SlotState.GONE,
    ]


def test_a_refused_slot_is_lost_with_its_reason() -> None:
    """The reason of the provider is what the run is told; the other slot is ready all the same."""
    pool, _ = pool_of(Flaky(1))
    pool.start(len(pool.slots))
    pool.wait_ready(pool.slots[0], 5)
    with pytest.raises(InfraError, match="no capacity for slot 1"):
        pool.wait_ready(pool.slots[1], 5)
    assert pool.close() == []


def test_what_cannot_be_blanked_is_replaced() -> None:
    """A used server is never handed over as blank: it is destroyed, and a new one stands in, under a new epoch."""
    provider = Flaky()
    pool, _ = pool_of(provider, 1)
    pool.start(len(pool.slots))
    before = pool.wait_ready(pool.slots[0], 5).epoch
    pool.blank(pool.slots[0])
    server = pool.wait_ready(pool.slots[0], 5)
    assert server.epoch == before + 1
    assert "still has files of ours" in server.proof["replaces"]
    pool.close()
    assert list(provider.owned()) == []


def test_what_can_neither_be_blanked_nor_replaced_is_lost() -> None:
    """The slot is out of the run, and what is left of it is destroyed in the end."""
    provider = Flaky()
    pool, _ = pool_of(provider, 1)
    pool.start(len(pool.slots))
    pool.wait_ready(pool.slots[0], 5)
    provider.refused = (0,)
    pool.blank(pool.slots[0])
    with pytest.raises(InfraError, match="no capacity"):
        pool.wait_ready(pool.slots[0], 5)
    pool.close()
    assert list(provider.owned()) == []


def test_evidence_is_looked_at_before_a_server_is_wiped() -> None:
    """Once, by blanking or by destroying, whichever comes first."""
    seen: list[int] = []
    pool, _ = pool_of(MemoryProvider(), 1)
    pool.start(len(pool.slots))
    pool.wait_ready(pool.slots[0], 5)
    pool.slots[0].before_wiping = lambda server: seen.append(server.epoch)
    pool.blank(pool.slots[0])
    pool.wait_ready(pool.slots[0], 5)
    pool.close()
    assert seen == [0]


def test_a_blanking_is_a_new_epoch() -> None:
    """What was handed out before no longer counts."""
    pool, _ = pool_of(MemoryProvider(), 1)
    pool.start(len(pool.slots))
    before = pool.wait_ready(pool.slots[0], 5).epoch
    pool.blank(pool.slots[0])
    assert pool.wait_ready(pool.slots[0], 5).epoch == before + 1
    pool.close()


def test_no_more_servers_than_units() -> None:
    """A slot that would never get a unit costs nothing."""
    provider = MemoryProvider()
    pool, _ = pool_of(provider, 4)
    pool.start(1)
    pool.wait_ready(pool.slots[0], 5)
    assert len(list(provider.owned())) == 1
    assert [slot.state for slot in pool.slots[1:]] == [SlotState.GONE] * 3
    pool.close()


def test_a_server_that_comes_too_late_does_not_stay() -> None:
    """Closing waits only so long, says so, and what is made afterwards is destroyed by whoever made it."""
    go_on = threading.Event()

    class Slow(MemoryProvider):
        def create(self, request: ServerRequest) -> Server:
            go_on.wait(10)
            return super().create(request)

    provider = Slow()
    pool, _ = pool_of(provider, 1)
    pool.start(1)
    assert pool.close(timeout_s=0.05) == ["1 servers were not gone within 0.05 s"]
    go_on.set()
    with pytest.raises(InfraError, match="gone"):
        pool.wait_ready(pool.slots[0], 5)
    assert pool.slots[0].server is not None
    assert list(provider.owned()) == []


def test_a_provider_that_never_answers_costs_its_slot() -> None:
    """What hangs is given up after its time, and the reason says so."""
    release = threading.Event()

    class Hanging(MemoryProvider):
        def create(self, request: ServerRequest) -> Server:
            release.wait(10)
            return super().create(request)

    pool, _ = pool_of(Hanging(), 1)
    pool.start(1)
    pool.lose_stuck(60)
    assert pool.slots[0].state is SlotState.PROVISIONING
    pool.lose_stuck(0)
    with pytest.raises(InfraError, match="was not ready within 0 s"):
        pool.wait_ready(pool.slots[0], 5)
    release.set()
    pool.close()
