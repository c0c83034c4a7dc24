"""Golden snapshots, on a cloud in memory."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping

import pytest
from cloud import Cloud, FreezingCloud

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Resource, Server, ServerRequest
from pytest_testlab.pool.golden import PAYS_S, CanFreeze, Golden, Known
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.testing import MemoryPlatform, MemoryProvider

LONG = PAYS_S + 1


class Rig:
    """A pool over a cloud, and what it said; the tests stand for the workers that install."""

    def __init__(
        self,
        cloud: Cloud | None = None,
        *,
        size: int = 1,
        run: str = "r",
        nightly: bool = False,
        always: bool = False,
        provider: FreezingCloud | None = None,
        hold_s: float = 30.0,
        install_s: float | None = None,
        version: str = "1",
        image: str = "debian-13",
    ) -> None:
        self.cloud = cloud or Cloud()
        self.said: list[str] = []
        self.provider = provider or FreezingCloud(self.cloud)
        self.golden = Golden(
            self.provider,
            Versioned(version),
            run=run,
            always=always,
            trusts=not nightly,
            hold_s=hold_s,
            install_s=lambda image: install_s,
        )
        self.pool = Pool(
            self.provider,
            run=run,
            size=size,
            image=image,
            changed=lambda slot, at: None,
            said=lambda slot, at, say: self.said.append(say),
            golden=self.golden,
        )
        self.pool.start(size)

    def ready(self, index: int = 0) -> Server:
        return self.pool.wait_ready(self.pool.slots[index], 60)

    def installed(self, index: int = 0, seconds: float = LONG) -> bool:
        """The platform was installed on a slot; freezes it if that is wanted, and says whether."""
        slot = self.pool.slots[index]
        self.ready(index)
        slot.install_s = seconds
        wanted = self.pool.wants_snapshot(slot)
        if wanted:
            self.pool.freeze(slot)
            self.ready(index)
        return wanted

    def blank(self, index: int = 0) -> Server:
        slot = self.pool.slots[index]
        self.pool.blank(slot)
        return self.ready(index)

    @property
    def snapshots(self) -> list[Resource]:
        return [it for it in self.cloud.there.values() if it.kind == "snapshot"]


class Versioned(MemoryPlatform):
    """A platform of some version."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self._version = version

    def inputs(self) -> Mapping[str, str]:
        return {"version": self._version}


def earlier(cloud: Cloud, **more: str) -> Resource:
    """What an earlier run left there."""
    rig = Rig(cloud, run="earlier", **more)  # type: ignore[arg-type]  # versions only
    assert rig.installed()
    assert rig.pool.close() == []
    return rig.snapshots[-1]  # in the order in which they were made


def test_who_can() -> None:
    """Providers and platforms need do no more than their protocols say."""
    assert isinstance(FreezingCloud(Cloud()), CanFreeze)
    assert isinstance(MemoryPlatform(), Known)
    assert not isinstance(MemoryProvider(), CanFreeze)


def test_the_first_target_makes_it_and_the_next_run_starts_from_it() -> None:
    """It is labelled as whole, expires in a week, and stands in the proof of whatever was made from it."""
    cloud = Cloud()
    made = earlier(cloud)
    assert labels.is_disposable(made.labels)
    assert {labels.DIGEST, labels.FAMILY} < made.labels.keys()
    left = (labels.expires_at(made.labels) or dt.datetime.now(dt.UTC)) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=6) < left <= dt.timedelta(days=7)
    rig = Rig(cloud, size=2)
    for index in (0, 1):
        server = rig.ready(index)
        assert server.snapshot == made.id
        assert server.proof["golden snapshot"] == f"{made.id}, digest {made.labels[labels.DIGEST]}"
        assert not rig.installed(index)
    assert cloud.made == [None, made.id, made.id]
    blanked = rig.blank()
    assert (blanked.snapshot, cloud.blanked) == (made.id, [made.id])
    assert "golden snapshot" in blanked.proof


def test_a_blanking_leads_to_the_snapshot_that_was_made_meanwhile() -> None:
    """A server that was made bare is replaced by one that starts from it, under a new epoch."""
    rig = Rig(size=2)
    rig.ready(1)
    assert rig.installed()
    server = rig.blank(1)
    assert (server.snapshot, server.epoch) == ("snapshot-0", 1)
    assert not rig.installed(1)
    assert rig.cloud.frozen == ["memory-r-0"]


def test_a_quick_install_is_not_worth_it() -> None:
    """Unless it is asked for."""
    rig = Rig()
    assert not rig.installed(seconds=PAYS_S - 1)
    assert not rig.installed(seconds=LONG)
    assert Rig(always=True).installed(seconds=0.1)


@pytest.mark.parametrize("change", ["platform", "image", "stale", "expired", "unfinished", "theirs"])
def test_what_is_not_started_from(change: str) -> None:
    """Another version of platform or image, what is too old, what was never finished, and what isn't the lab's."""
    cloud = Cloud()
    made = earlier(cloud)
    week = dt.timedelta(days=8)
    if change == "image":
        cloud.release = "2"
    written = dict(made.labels)
    if change == "expired":
        written[labels.EXPIRES] = labels.moment(dt.datetime.now(dt.UTC) - week)
    if change == "unfinished":
        del written[labels.DIGEST]
    if change == "theirs":
        del written[labels.DISPOSABLE]
    born = dt.datetime.now(dt.UTC) - week if change == "stale" else made.created_at
    cloud.there["snapshot", made.id] = Resource(
        kind="snapshot", id=made.id, name=made.id, provider="icy", labels=written, created_at=born
    )
    rig = Rig(cloud, version="2" if change == "platform" else "1")
    assert rig.ready().snapshot is None


def test_the_last_two_are_kept() -> None:
    """Of a family, the newest; those of other images or platforms stay, and so does what can't be removed."""
    cloud = Cloud()
    other = earlier(cloud, image="debian-12")
    for version in "1234":
        earlier(cloud, version=version)
    kept = sorted(it.name for it in cloud.there.values() if it.kind == "snapshot")
    assert kept == [other.name, "snapshot-3", "snapshot-4"]
    cloud.stubborn.add("snapshot-3")
    rig = Rig(cloud, version="5")
    assert rig.installed()
    assert rig.said[-1] == "the old snapshot snapshot-3 stays until it expires: it is locked"


def test_a_night_makes_its_own() -> None:
    """The first target starts bare, whatever there is; the others wait for what the night itself made."""
    cloud = Cloud()
    yesterday = earlier(cloud)
    rig = Rig(cloud, size=3, nightly=True)
    first = next(slot for slot in rig.pool.slots if _is_ready(rig, slot))
    assert first.server is not None
    assert first.server.snapshot is None
    waiting = [slot for slot in rig.pool.slots if slot is not first]
    assert [slot.state for slot in waiting] == [SlotState.PROVISIONING] * 2
    assert rig.installed(first.index)
    assert [rig.ready(slot.index).snapshot for slot in waiting] == ["snapshot-1"] * 2
    assert yesterday.id == "snapshot-0"


def _is_ready(rig: Rig, slot: Slot) -> bool:
    try:
        rig.pool.wait_ready(slot, 0.5)
    except InfraError:
        return False
    return True


def test_a_night_is_not_lost_for_want_of_a_snapshot() -> None:
    """Those that wait start bare when it can't be made, and its own target is made blank."""

    class Broken(FreezingCloud):
        def snapshot(self, server: Server, labels: Mapping[str, str]) -> str:
            raise InfraError("the disk is busy")

    cloud = Cloud()
    rig = Rig(cloud, size=2, nightly=True, provider=Broken(cloud))
    first = next(slot for slot in rig.pool.slots if _is_ready(rig, slot))
    assert rig.installed(first.index)
    assert [rig.ready(slot.index).snapshot for slot in rig.pool.slots] == [None, None]
    assert cloud.blanked == [None]
    assert any("no golden snapshot: the disk is busy" in say for say in rig.said)


def test_nobody_waits_for_ever() -> None:
    """Nor where the install was quick in the nights before."""
    for rig in (Rig(size=2, nightly=True, hold_s=0.2), Rig(size=2, nightly=True, install_s=1.0)):
        assert [rig.ready(slot.index).snapshot for slot in rig.pool.slots] == [None, None]


def test_another_target_installs_when_the_first_is_lost() -> None:
    """One of those that wait starts bare in its place; the third one waits for that."""
    rig = Rig(size=3, nightly=True)
    first = next(slot for slot in rig.pool.slots if _is_ready(rig, slot))
    rig.pool.lose(first, "no line")
    second = next(slot for slot in rig.pool.slots if slot is not first and _is_ready(rig, slot))
    assert rig.installed(second.index)
    third = next(slot for slot in rig.pool.slots if slot not in (first, second))
    assert rig.ready(third.index).snapshot == "snapshot-0"


def test_a_run_that_ends_waits_for_nobody() -> None:
    """What still waits for a snapshot then was never made, and is no loss."""
    rig = Rig(size=2, nightly=True)
    next(slot for slot in rig.pool.slots if _is_ready(rig, slot))
    assert rig.pool.close() == []
    assert [slot.state for slot in rig.pool.slots] == [SlotState.GONE] * 2
    assert rig.cloud.made == [None]


def test_a_snapshot_that_is_gone_by_then() -> None:
    """Between its listing and the server's creation, or before a blanking: it starts bare, and says so."""
    cloud = Cloud()
    made = earlier(cloud)

    class Racing(FreezingCloud):
        def create(self, request: ServerRequest) -> Server:
            cloud.there.pop(("snapshot", made.id), None)
            return super().create(request)

    rig = Rig(cloud, provider=Racing(cloud))
    assert rig.ready().snapshot is None
    assert any(f"can't start from the golden snapshot {made.id}, and starts bare" in say for say in rig.said)


def test_two_runs_make_the_same_at_once() -> None:
    """Both do, each starts from its own, and the next one from the newer."""
    cloud = Cloud()
    both = [Rig(cloud, run=run) for run in ("a", "b")]
    for rig in both:
        rig.ready()
    threads = [threading.Thread(target=rig.installed) for rig in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(both[0].snapshots) == 2
    assert {rig.blank().snapshot for rig in both} == {"snapshot-0", "snapshot-1"}
    assert Rig(cloud).ready().snapshot == "snapshot-1"


def test_what_a_killed_run_left_is_never_started_from() -> None:
    """Before its labels are whole it expires within the hour, and has no digest."""

    class Killed(FreezingCloud):
        def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
            raise SystemExit

    cloud = Cloud()
    rig = Rig(cloud, provider=Killed(cloud))
    rig.ready()
    slot = rig.pool.slots[0]
    slot.install_s = LONG
    assert rig.pool.wants_snapshot(slot)
    with pytest.raises(SystemExit):
        rig.golden.make(rig.ready(), "debian-13")
    (left,) = rig.snapshots
    expires = labels.expires_at(left.labels)
    assert expires is not None
    assert expires < dt.datetime.now(dt.UTC) + dt.timedelta(hours=1, minutes=1)
    assert Rig(cloud).ready().snapshot is None


def test_a_provider_that_can_not_say_what_it_makes() -> None:
    """Costs the run its snapshot, and nothing else."""

    class Silent(FreezingCloud):
        def bare(self, request: ServerRequest) -> Mapping[str, str]:
            raise InfraError("503")

    cloud = Cloud()
    rig = Rig(cloud, provider=Silent(cloud), nightly=True, size=2)
    assert [rig.ready(index).snapshot for index in (0, 1)] == [None, None]
    assert not rig.installed()
