"""The pool: slots are ready only with a server in them, and a provider that fails costs its slot only."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cloud import Cloud, CloudProvider

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.pool import reaper
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.pool.upkeep import Upkeep
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


def pool_of(provider: MemoryProvider, size: int = 2, **how: Any) -> tuple[Pool, list[tuple[int, SlotState]]]:
    moves: list[tuple[int, SlotState]] = []
    lock = threading.Lock()

    def changed(slot: Slot, at: dt.datetime) -> None:
        assert at.tzinfo is not None
        with lock:
            moves.append((slot.index, slot.state))

    return Pool(provider, run="r", size=size, image="", changed=changed, **how), moves


def test_slots_become_ready_and_go() -> None:
    """Each slot gets a server of its own, and all are given back."""
    provider = MemoryProvider()
    pool, moves = pool_of(provider)
    pool.start(len(pool.slots))
    names = {pool.wait_ready(slot, 60).name for slot in pool.slots}
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
    pool.wait_ready(pool.slots[0], 60)
    with pytest.raises(InfraError, match="no capacity for slot 1"):
        pool.wait_ready(pool.slots[1], 60)
    assert pool.close() == []


def test_what_cannot_be_blanked_is_replaced() -> None:
    """A used server is never handed over as blank: it is destroyed, and a new one stands in, under a new epoch."""
    provider = Flaky()
    pool, _ = pool_of(provider, 1)
    pool.start(len(pool.slots))
    before = pool.wait_ready(pool.slots[0], 60).epoch
    pool.blank(pool.slots[0])
    server = pool.wait_ready(pool.slots[0], 60)
    assert server.epoch == before + 1
    assert "still has files of ours" in server.proof["replaces"]
    pool.close()
    assert list(provider.owned()) == []


def test_what_can_neither_be_blanked_nor_replaced_is_lost() -> None:
    """The slot is out of the run, and what is left of it is destroyed in the end."""
    provider = Flaky()
    pool, _ = pool_of(provider, 1)
    pool.start(len(pool.slots))
    pool.wait_ready(pool.slots[0], 60)
    provider.refused = (0,)
    pool.blank(pool.slots[0])
    with pytest.raises(InfraError, match="no capacity"):
        pool.wait_ready(pool.slots[0], 60)
    pool.close()
    assert list(provider.owned()) == []


def test_evidence_is_looked_at_before_a_server_is_wiped() -> None:
    """Once, by blanking or by destroying, whichever comes first."""
    seen: list[int] = []
    pool, _ = pool_of(MemoryProvider(), 1)
    pool.start(len(pool.slots))
    pool.wait_ready(pool.slots[0], 60)
    pool.slots[0].before_wiping = lambda server: seen.append(server.epoch)
    pool.blank(pool.slots[0])
    pool.wait_ready(pool.slots[0], 60)
    pool.close()
    assert seen == [0]


def test_a_blanking_is_a_new_epoch() -> None:
    """What was handed out before no longer counts."""
    pool, _ = pool_of(MemoryProvider(), 1)
    pool.start(len(pool.slots))
    before = pool.wait_ready(pool.slots[0], 60).epoch
    pool.blank(pool.slots[0])
    assert pool.wait_ready(pool.slots[0], 60).epoch == before + 1
    pool.close()


def test_no_more_servers_than_units() -> None:
    """A slot that would never get a unit costs nothing."""
    provider = MemoryProvider()
    pool, _ = pool_of(provider, 4)
    pool.start(1)
    pool.wait_ready(pool.slots[0], 60)
    assert len(list(provider.owned())) == 1
    assert [slot.state for slot in pool.slots[1:]] == [SlotState.GONE] * 3
    pool.close()


def test_a_server_that_comes_too_late_does_not_stay() -> None:
    """Closing waits only so long, says so, and what is made afterwards is destroyed by whoever made it."""
    go_on = threading.Event()

    class Slow(MemoryProvider):
        def create(self, request: ServerRequest) -> Server:
            go_on.wait(60)
            return super().create(request)

    provider = Slow()
    pool, _ = pool_of(provider, 1)
    pool.start(1)
    assert pool.close(timeout_s=0.05) == ["1 servers were not gone within 0.05 s"]
    go_on.set()
    with pytest.raises(InfraError, match="gone"):
        pool.wait_ready(pool.slots[0], 60)
    assert pool.slots[0].server is not None
    assert list(provider.owned()) == []


def test_a_provider_that_never_answers_costs_its_slot() -> None:
    """What hangs is given up after its time, and the reason says so."""
    release = threading.Event()

    class Hanging(MemoryProvider):
        def create(self, request: ServerRequest) -> Server:
            release.wait(60)
            return super().create(request)

    pool, _ = pool_of(Hanging(), 1)
    pool.start(1)
    pool.lose_stuck(60)
    assert pool.slots[0].state is SlotState.PROVISIONING
    pool.lose_stuck(0)
    with pytest.raises(InfraError, match="was not ready within 0 s"):
        pool.wait_ready(pool.slots[0], 60)
    release.set()
    pool.close()


# --- what outlives a run ----------------------------------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr(reaper, "PAUSE_S", 0.02)
    return Cloud()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_made_before_that_is_taken_down(cloud: Cloud) -> None:
    """The intent names what will be made and when it expires; where it can't be kept, nothing is made."""
    provider = CloudProvider(cloud)
    intents: list[ServerRequest] = []

    def intends(request: ServerRequest, at: dt.datetime) -> None:
        assert cloud.names == set()
        if intents:
            raise InfraError("the disk is full")
        intents.append(request)

    pool, _ = pool_of(provider, 1, intends=intends, upkeep=Upkeep(provider, "r"))
    pool.start(1)
    pool.wait_ready(pool.slots[0], 60)
    [request] = intents
    assert request.name == "testlab-r-0"
    assert request.expires_at is not None
    assert labels.expires_at(request.labels) == request.expires_at.replace(microsecond=0)
    assert pool.close() == []
    other, _ = pool_of(provider, 1, intends=intends)
    other.start(1)
    with pytest.raises(InfraError, match="the disk is full"):
        other.wait_ready(other.slots[0], 60)
    assert cloud.names == set()


def test_closing_removes_whatever_carries_the_runs_label(cloud: Cloud) -> None:
    """Keys too, and a server that the cloud made though its answer was lost; other runs' things stay."""
    provider = CloudProvider(cloud)
    pool, _ = pool_of(provider, 1, upkeep=Upkeep(provider, "r"))
    pool.start(1)
    pool.wait_ready(pool.slots[0], 60)
    cloud.put("whose-answer-was-lost", expired_s=-3600)
    cloud.put("theirs", expired_s=-3600, **{labels.RUN: "other"})
    assert pool.close() == []
    assert cloud.names == {"theirs"}


def test_what_cannot_be_removed_is_named_at_the_end(cloud: Cloud) -> None:
    """Within the time for it."""
    provider = CloudProvider(cloud)
    pool, _ = pool_of(provider, 1, upkeep=Upkeep(provider, "r"))
    pool.start(1)
    name = pool.wait_ready(pool.slots[0], 60).name
    cloud.stubborn = {name}
    assert pool.close(1.5) == [f"the reaper: cloud: ssh-key {name} can't be removed: it is locked"]


def test_a_start_removes_what_dead_runs_left(cloud: Cloud) -> None:
    """That of runs known to be dead at once, other runs' once it has expired; and it says so."""
    cloud.put("of-a-dead-run", expired_s=-3600, **{labels.RUN: "dead"})
    cloud.put("expired", expired_s=3600, **{labels.RUN: "another"})
    cloud.put("of-a-live-run", expired_s=-3600, **{labels.RUN: "live"})
    said: list[str] = []
    provider = CloudProvider(cloud)
    pool, _ = pool_of(provider, 1, upkeep=Upkeep(provider, "r", dead=["dead"], told=said.append))
    pool.start(1)
    server = pool.wait_ready(pool.slots[0], 60)
    until(lambda: len(said) == 2)
    assert said == [
        "removed the server of-a-dead-run: a killed run had left it",
        "removed the server expired: it had expired",
    ]
    assert cloud.names == {"of-a-live-run", server.name}
    pool.close()


def test_a_run_that_lives_keeps_its_servers_from_expiring(cloud: Cloud) -> None:
    """Whatever carries its label."""
    provider = CloudProvider(cloud)
    pool, _ = pool_of(provider, 1, upkeep=Upkeep(provider, "r", lifetime_s=3.0))
    pool.start(1)
    name = pool.wait_ready(pool.slots[0], 60).name

    def expiry(kind: str) -> dt.datetime:
        at = labels.expires_at(cloud.there[kind, name].labels)
        assert at is not None
        return at

    first = expiry("server")
    until(lambda: min(expiry("server"), expiry("ssh-key")) > first + dt.timedelta(seconds=3))
    assert pool.close() == []


def test_an_outage_stops_no_run_and_lets_nothing_lapse_in_silence(cloud: Cloud) -> None:
    """It is said when the first renewal fails, when the expiry has passed, and when it is put off again."""
    said: list[str] = []
    provider = CloudProvider(cloud)
    pool, _ = pool_of(provider, 1, upkeep=Upkeep(provider, "r", lifetime_s=2.0, told=said.append))
    pool.start(1)
    pool.wait_ready(pool.slots[0], 60)
    until(lambda: cloud.lists > 0)  # the reaper's own look at the start is through
    cloud.away = "503"
    until(lambda: len(said) == 2)
    assert "can't be put off: cloud: it can't be listed: 503" in said[0]
    assert said[1].startswith("servers of this run have expired at ")
    assert pool.slots[0].state is SlotState.READY
    cloud.away = ""
    until(lambda: len(said) == 3)
    assert said[2] == "the expiry of this run's servers is put off again"
    assert pool.close() == said[:2]
