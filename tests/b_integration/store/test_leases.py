"""Leases in a real PostgreSQL: one holder at a time, by the database's clock; whoever was fenced is told."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from relay import Relay

from pytest_testlab.errors import InfraError, Taken
from pytest_testlab.pool.leases import Lease, Leases
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import leases as reads
from pytest_testlab.store.views import LeaseView
from pytest_testlab.store.writes import leases as writes
from pytest_testlab.store.writes.leases import Claimant

FIRST = Claimant(
    key="ssh/k", provider="ssh", server="web-1", run="first", slot=0, holder="first h:1", trigger="cli:alice"
)
SECOND = replace(FIRST, run="second", holder="second h:2", trigger="cli:bob")


def until(is_so: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def found(store: StoreHandle, key: str = "ssh/k") -> LeaseView:
    with store.engine.connect() as connection:
        view = reads.find(connection, key)
    assert view is not None
    return view


def age(store: StoreHandle, seconds: float) -> None:
    """Let time pass for the leases, as the database has it."""
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE lease SET expires_at = expires_at - make_interval(secs => :seconds)"), {"seconds": seconds}
        )


class Run:
    """The leases of a run, and what it was told that it lost."""

    def __init__(self, url: str, name: str, ttl_s: float = 180.0) -> None:
        self.lost: list[tuple[Lease, str]] = []
        self.leases = Leases(
            url, run=name, trigger=f"cli:{name}", ttl_s=ttl_s, fenced=lambda *told: self.lost.append(told)
        )


@pytest.fixture
def start(store: StoreHandle) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(name: str, ttl_s: float = 180.0, url: str | None = None) -> Run:
        runs.append(Run(url or store.url, name, ttl_s))
        return runs[-1]

    yield begin
    for run in runs:
        run.leases.close()


# --- the statements ---------------------------------------------------------------------------------------------------


def test_two_runs_cannot_hold_one_server(store: StoreHandle) -> None:
    """The second gets nothing, until the first gives it back, or its time is up; each change is a new epoch."""
    with store.engine.begin() as connection:
        first = writes.take(connection, FIRST, 60)
        assert first is not None
        assert writes.take(connection, SECOND, 60) is None
        assert writes.release(connection, FIRST, first.epoch)
        second = writes.take(connection, SECOND, 60)
        assert second is not None
        assert second.epoch > first.epoch
        assert writes.take(connection, FIRST, 60) is None
    age(store, 61)
    assert found(store).lapsed
    with store.engine.begin() as connection:
        third = writes.take(connection, FIRST, 60)
        assert third is not None
        assert third.epoch > second.epoch


def test_of_many_that_come_at_once_one_gets_it(store: StoreHandle) -> None:
    """Each on a connection of its own."""
    together = threading.Barrier(8)

    def come(number: int) -> bool:
        who = replace(FIRST, run=f"r{number}", holder=f"r{number} h:1")
        with store.engine.begin() as connection:
            together.wait(60)
            return writes.take(connection, who, 60) is not None

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(come, range(8))) == 1


@pytest.mark.parametrize("other", [SECOND, None])
def test_only_the_holder_under_its_epoch_counts(store: StoreHandle, other: Claimant | None) -> None:
    """Another holder, or the same one with the epoch of before a blanking, changes nothing."""
    with store.engine.begin() as connection:
        first = writes.take(connection, FIRST, 60)
        assert first is not None
        blanked = writes.renew(connection, FIRST, first.epoch, 60, steps=1)
        assert blanked is not None
        assert blanked.epoch == first.epoch + 1
        who, epoch = (other, blanked.epoch) if other else (FIRST, first.epoch)
        assert writes.renew(connection, who, epoch, 60) is None
        assert not writes.release(connection, who, epoch)
        assert writes.renew(connection, FIRST, blanked.epoch, 60) is not None


def test_moments_are_the_databases(store: StoreHandle) -> None:
    """Whatever this machine's clock says."""
    with store.engine.begin() as connection:
        granted = writes.take(connection, FIRST, 60)
        now = connection.scalar(sa.text("SELECT now()"))
    assert granted is not None
    assert now is not None
    assert granted.expires_at == now + dt.timedelta(seconds=60)
    assert found(store).taken_at == now


def test_a_lease_can_be_ended_against_its_holders_will(store: StoreHandle) -> None:
    """Its holder's next word is refused."""
    with store.engine.begin() as connection:
        first = writes.take(connection, FIRST, 60)
        assert first is not None
        assert writes.take_away(connection, FIRST.key)
        assert not writes.take_away(connection, FIRST.key)
        assert writes.renew(connection, FIRST, first.epoch, 60) is None
        assert reads.held(connection) == []


def test_what_ended_long_ago_is_forgotten(store: StoreHandle, start: Callable[..., Run]) -> None:
    """By the first run that holds a server after that; what is kept, or held by whoever it may be, stays."""
    with store.engine.begin() as connection:
        for name in ("released", "lapsed", "kept", "lately"):
            who = replace(FIRST, key=f"cloud/{name}", server=name)
            granted = writes.take(connection, who, 60)
            assert granted is not None
            if name == "kept":
                end = dt.datetime.now(dt.UTC) + dt.timedelta(days=2 * writes.KEPT_DAYS)
                assert writes.keep(connection, who, granted.epoch, end, "failed", "a::check")
            if name == "released":
                assert writes.release(connection, who, granted.epoch)
    age(store, (writes.KEPT_DAYS + 1) * 86_400)
    with store.engine.begin() as connection:
        assert writes.take(connection, replace(FIRST, key="cloud/lately"), 60) is not None

    def keys() -> set[str]:
        with store.engine.connect() as connection:
            return set(connection.scalars(sa.text("SELECT key FROM lease")))

    assert len(keys()) == 4
    start("later").leases.hold("cloud", "mine", slot=0)
    until(lambda: keys() == {"cloud/kept", "cloud/lately", "cloud/mine"})


# --- the leases of a run ----------------------------------------------------------------------------------------------


def test_a_claim_says_who_has_the_server(store: StoreHandle, start: Callable[..., Run]) -> None:
    """And until when; given back, it is the next one's at once."""
    first = start("first").leases.claim("ssh", "k", slot=0)
    with pytest.raises(Taken, match=r"is in use by run first, cli:first, until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \w+"):
        start("second").leases.claim("ssh", "k", slot=0)
    first.release()
    second = start("third").leases.claim("ssh", "k", slot=0)
    assert second.lost == ""
    assert found(store).run == "third"


def test_one_run_claims_a_server_once(start: Callable[..., Run]) -> None:
    """Two of its slots are two holders."""
    run = start("first")
    run.leases.claim("ssh", "k", slot=0)
    with pytest.raises(Taken, match="in use by another target of this run"):
        run.leases.claim("ssh", "k", slot=1)


def test_a_lease_is_held_for_as_long_as_its_run_lives(store: StoreHandle, start: Callable[..., Run]) -> None:
    """Long after the first one would have ended."""
    start("first", ttl_s=1.2).leases.claim("ssh", "k", slot=0)
    taken = found(store).taken_at
    until(lambda: found(store).heartbeat_at > taken + dt.timedelta(seconds=2))
    assert not found(store).lapsed
    assert found(store).epoch == 1


def test_a_blanking_is_a_new_epoch(store: StoreHandle, start: Callable[..., Run]) -> None:
    """Of servers that were there before and of those that were made."""
    run = start("first")
    fixed, made = run.leases.claim("ssh", "k", slot=0), run.leases.hold("cloud", "n", slot=1)
    until(lambda: made.epoch == 1)
    for lease in (fixed, made):
        lease.step()
        lease.step()
    until(lambda: (found(store).epoch, found(store, "cloud/n").epoch) == (3, 3))
    assert run.lost == []


def test_a_fenced_holder_is_told(store: StoreHandle, start: Callable[..., Run]) -> None:
    """Once, with who has it now; and it takes nothing from the new holder any more."""
    run = start("first", ttl_s=1.2)
    lease = run.leases.claim("ssh", "k", slot=0)
    with store.engine.begin() as connection:
        assert writes.take_away(connection, "ssh/k")
        taken = writes.take(connection, SECOND, 60)
    until(lambda: run.lost)
    [(told, why)] = run.lost
    assert told is lease
    assert why.startswith("the lease of k was lost to run second, cli:bob, until 20")
    assert lease.lost == why
    lease.release()
    run.leases.close()
    assert taken is not None
    assert (found(store).run, found(store).epoch, found(store).state) == ("second", taken.epoch, "held")


def test_without_the_store_nothing_fixed_is_claimed(start: Callable[..., Run]) -> None:
    """And what the run makes itself, it may use; it is fenced by its label."""
    run = start("first", url="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(InfraError, match="leases need the store, and servers of an inventory need leases"):
        run.leases.claim("ssh", "k", slot=0)
    lease = run.leases.hold("cloud", "n", slot=0)
    until(lambda: run.leases.away)
    assert (lease.lost, run.lost) == ("", [])


def test_a_store_that_goes_away_ends_what_is_fixed(store: StoreHandle, start: Callable[..., Run]) -> None:
    """Not before its lease ends, and not after: what was made goes on, and is entered again once the store is back."""
    with Relay.to_store(store) as relay:
        run = start("first", ttl_s=3.0, url=relay.url)
        fixed, made = run.leases.claim("ssh", "k", slot=0), run.leases.hold("cloud", "n", slot=1)
        until(lambda: made.epoch == 1)
        relay.cut()
        until(lambda: run.leases.away)
        assert fixed.lost == ""
        until(lambda: fixed.lost)
        assert fixed.lost.startswith("the lease of k ran out: the store has not confirmed it for")
        assert not found(store).lapsed, "its holder stopped before others may begin"
        assert made.lost == ""
        before = found(store, "cloud/n").heartbeat_at
        relay.mend()
        until(lambda: found(store, "cloud/n").heartbeat_at > before)
    assert [lease for lease, _ in run.lost] == [fixed]


def test_closing_gives_back_all_there_is(store: StoreHandle, start: Callable[..., Run]) -> None:
    """And stops its threads."""
    run = start("first")
    run.leases.claim("ssh", "k", slot=0)
    run.leases.hold("cloud", "n", slot=1)
    run.leases.close()
    with store.engine.connect() as connection:
        assert reads.held(connection) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("testlab-leases")]
