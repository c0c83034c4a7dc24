"""The reaper removes what has expired, by its labels alone, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping

import pytest
from cloud import Cloud, CloudProvider, ago

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Resource
from pytest_testlab.pool import reaper
from pytest_testlab.pool.reaper import Reaped, reap, renew, sweep, sweep_own
from pytest_testlab.testing import MemoryProvider


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "PAUSE_S", 0.02)


def reaped(cloud: Cloud, **how: float) -> Reaped:
    return reap({"cloud": CloudProvider(cloud)}, **how)  # type: ignore[arg-type]


def names(resources: Iterable[Resource]) -> set[str]:
    return {resource.name for resource in resources}


def why(done: Reaped) -> dict[str, str]:
    return {kept.resource.name: kept.why for kept in done.kept}


def test_what_is_past_expiry_and_grace_goes(cloud: Cloud) -> None:
    """Servers, snapshots, addresses and keys; what is to expire, or has just done so, stays, and is told with why."""
    for kind in ("server", "snapshot", "primary-ip", "ssh-key", "network"):
        cloud.put(f"old-{kind}", kind=kind, expired_s=601)
    cloud.put("young", expired_s=-60)
    cloud.put("just-expired", expired_s=599)
    done = reaped(cloud)
    assert names(done.deleted) == {"old-server", "old-snapshot", "old-primary-ip", "old-ssh-key", "old-network"}
    assert cloud.names == {"young", "just-expired"}
    assert why(done)["young"].startswith("expires at 20")
    assert why(done)["just-expired"].endswith(", and has 10 min of grace")
    assert done.errors == ()


def test_what_isnt_the_labs_is_never_touched(cloud: Cloud) -> None:
    """Not without its label, not without `disposable`, not where no expiry can be read."""
    cloud.put("theirs", expired_s=9999, **{labels.MANAGED_BY: "terraform"})
    cloud.put("saved", expired_s=9999, **{labels.DISPOSABLE: "no"})
    cloud.put("timeless")
    cloud.put("odd", expires="soon")
    done = reaped(cloud)
    assert cloud.removed == []
    assert why(done) == {
        "saved": "it isn't labelled disposable=true",
        "timeless": "nothing that can be read says when it expires: no label",
        "odd": "nothing that can be read says when it expires: soon",
    }


def test_a_dry_run_touches_nothing(cloud: Cloud) -> None:
    """It says what would go."""
    cloud.put("old", expired_s=9999)
    assert names(reaped(cloud, dry_run=True).deleted) == {"old"}
    assert cloud.removed == []


def test_an_error_on_one_stops_no_other(cloud: Cloud) -> None:
    """It is told by name, the rest goes, and only what is gone counts as deleted."""
    for number in range(12):
        cloud.put(f"old-{number}", expired_s=9999)
    cloud.stubborn = {"old-3", "old-7"}
    done = reaped(cloud)
    assert cloud.names == {"old-3", "old-7"}
    assert len(done.deleted) == 10
    assert sorted(done.errors) == [
        "cloud: server old-3 can't be removed: it is locked",
        "cloud: server old-7 can't be removed: it is locked",
    ]


def test_a_kind_that_cant_be_listed_stops_no_other(cloud: Cloud) -> None:
    """What came before the error is reaped; the error is told."""
    cloud.put("old", expired_s=9999)
    cloud.put("old-key", kind="ssh-key", expired_s=9999)
    cloud.unlisted = "ssh-key"
    done = reaped(cloud)
    assert names(done.deleted) == {"old"}
    assert done.errors == ("cloud: it can't be listed: ssh-keys can't be listed: 503",)


def test_a_cloud_that_is_away_is_one_error(cloud: Cloud) -> None:
    """And other providers are asked all the same."""
    cloud.put("old", expired_s=9999)
    cloud.away = "503 Service Unavailable"
    other = Cloud()
    other.put("theirs", expired_s=9999)
    done = reap({"cloud": CloudProvider(cloud), "other": CloudProvider(other)})
    assert done.errors == ("cloud: it can't be listed: 503 Service Unavailable",)
    assert names(done.deleted) == {"theirs"}


def test_what_a_plugin_raises_is_told_with_its_place(cloud: Cloud) -> None:
    """Whatever it asked for: a list, a removal, another label; the rest goes on."""

    class Buggy(CloudProvider):
        def remove(self, resource: Resource) -> None:
            raise KeyError(resource.name)

        def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
            raise KeyError(resource.name)

    cloud.put("old", expired_s=9999)
    here = r"tests/a_unit/test_reaper\.py:\d+, in"
    [error] = reap({"cloud": Buggy(cloud)}).errors
    assert re.fullmatch(
        rf"cloud: server old can't be removed: the provider failed: KeyError: 'old' \({here} remove\)", error
    )
    [error] = renew(Buggy(cloud), "r", ago(0))
    assert re.search(
        rf"server old can't be put off: the provider failed: KeyError: 'old' \({here} write_labels\)$", error
    )


def test_a_delete_that_lies_is_found(cloud: Cloud) -> None:
    """What is listed on is no success; what goes after a while is."""
    cloud.put("slow", expired_s=9999)
    cloud.liars = {"slow": 2}
    assert names(reaped(cloud).deleted) == {"slow"}
    cloud.put("immortal", expired_s=9999)
    cloud.liars = {"immortal": 10_000}
    done = reaped(cloud)
    assert done.deleted == ()
    assert done.errors == ("cloud: server immortal is still listed",)


def test_servers_go_before_what_hangs_on_them(cloud: Cloud) -> None:
    """An address can't be removed while its server has it, nor a network while it has any of both."""
    for kind in ("network", "primary-ip", "ssh-key", "server"):
        cloud.put(kind, kind=kind, expired_s=9999)
    reaped(cloud)
    assert cloud.removed[0] == "server"
    assert cloud.removed[-1] == "network"


def test_the_last_two_golden_snapshots_of_a_family_stay(cloud: Cloud) -> None:
    """However long ago they expired; older ones go, and so do those that were never finished."""
    for number in range(4):
        for family in ("a", "b"):
            more = {labels.DIGEST: f"d{number}", labels.FAMILY: family}
            cloud.put(f"{family}-{number}", kind="snapshot", age_s=100 - number, expired_s=9999, **more)
    cloud.put("unfinished", kind="snapshot", expired_s=9999, **{labels.FAMILY: "a"})
    done = reaped(cloud)
    assert cloud.names == {"a-2", "a-3", "b-2", "b-3"}
    assert why(done)["a-2"] == "one of the last 2 golden snapshots of a"


def test_a_provider_that_never_answers_holds_up_no_other(cloud: Cloud) -> None:
    """It is told as an error when the time is up."""
    release = threading.Event()

    class Hanging(CloudProvider):
        def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
            release.wait(60)
            return ()

    cloud.put("old", expired_s=9999)
    began = time.monotonic()  # the other one must be through by then, also on a machine that stalls for a while
    done = reap({"a": Hanging(Cloud()), "b": CloudProvider(cloud)}, within_s=4)
    release.set()
    assert time.monotonic() - began < 30
    assert done.errors == ("a: it did not answer within 4 s",)
    assert names(done.deleted) == {"old"}


def test_providers_with_nothing_to_reap_are_named() -> None:
    """`memory` leaves nothing behind."""
    done = reap({"memory": MemoryProvider()})
    assert set(done.skipped) == {"memory"}
    assert (done.deleted, done.errors) == ((), ())


def test_a_sweep_takes_all_of_a_run(cloud: Cloud) -> None:
    """Expired or not, until a list is empty twice; but no other run's, no kept server and no golden snapshot."""
    cloud.put("mine", expired_s=-3600)
    cloud.put("my-key", kind="ssh-key", expired_s=-3600)
    cloud.put("half-a-snapshot", kind="snapshot", expired_s=-3600)
    cloud.put("theirs", expired_s=-3600, **{labels.RUN: "other"})
    cloud.put("kept", expired_s=-3600, **{labels.KEPT: "failed"})
    cloud.put("golden", kind="snapshot", expired_s=-3600, **{labels.DIGEST: "d"})
    cloud.liars = {"mine": 3}
    done = sweep(CloudProvider(cloud), "r")
    assert names(done.deleted) == {"mine", "my-key", "half-a-snapshot"}
    assert cloud.names == {"theirs", "kept", "golden"}
    assert cloud.lists >= 5


def test_an_empty_list_is_believed_when_it_came_twice(cloud: Cloud) -> None:
    """At the end of a run; the reaper, who comes again, asks once where nothing has expired."""
    assert sweep(CloudProvider(cloud), "r") == Reaped()
    assert cloud.lists == 2
    reaped(cloud)
    assert cloud.lists == 3


def test_the_end_of_a_run_looks_only_for_what_the_run_may_have_made(cloud: Cloud) -> None:
    """Twice, where its provider knows; what it can't say for sure, and what any other sweep does, is a look at all."""

    class Dear(CloudProvider):
        kinds: Collection[str] = ("server",)

        def settle(self, run: str) -> Collection[str]:
            if not self.kinds:
                raise InfraError("503")
            cloud.there.pop(("ssh-key", f"key of {run}"))
            return self.kinds

    provider = Dear(cloud)
    cloud.put("key of r", kind="ssh-key", expired_s=-3600)
    cloud.put("whose-answer-was-lost", expired_s=-3600)
    assert names(sweep_own(provider, "r").deleted) == {"whose-answer-was-lost"}
    assert (cloud.names, cloud.looked_for) == (set(), [{"server"}] * 3)
    provider.kinds = ()
    cloud.put("key of r", kind="ssh-key", expired_s=-3600)
    assert names(sweep_own(provider, "r").deleted) == {"key of r"}
    assert cloud.looked_for[3:] == [set()] * 3
    assert sweep(provider, "r") == Reaped()
    assert cloud.looked_for[6:] == [set()] * 2


def test_a_sweep_ends_in_time(cloud: Cloud) -> None:
    """What can't be removed is named when the time is up."""
    cloud.put("mine", expired_s=-3600)
    cloud.stubborn = {"mine"}
    done = sweep(CloudProvider(cloud), "r", within_s=0.3)
    assert done.errors == ("cloud: server mine can't be removed: it is locked",)
    assert done.deleted == ()


def test_renewing_puts_off_what_the_run_has(cloud: Cloud) -> None:
    """Found by its label, each by itself; what is kept has its own expiry, and labels beside it stay."""
    cloud.put("mine", expired_s=-60, slot="3")
    cloud.put("theirs", expired_s=-60, **{labels.RUN: "other"})
    cloud.put("kept", expired_s=-60, **{labels.KEPT: "failed"})
    later = ago(-7200)
    assert renew(CloudProvider(cloud), "r", later) == []
    mine = cloud.there["server", "mine"]
    assert labels.expires_at(mine.labels) == later.replace(microsecond=0)
    assert mine.labels["slot"] == "3"
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    for name in ("theirs", "kept"):
        expires = labels.expires_at(cloud.there["server", name].labels)
        assert expires is not None
        assert expires < soon


def test_renewing_tells_what_went_wrong(cloud: Cloud) -> None:
    """An outage is no exception."""
    cloud.away = "503"
    assert renew(CloudProvider(cloud), "r", ago(0)) == ["cloud: it can't be listed: 503"]
