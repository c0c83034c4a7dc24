"""A night in a cloud that stands in for Hetzner's: its own golden snapshot serves its other targets."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator

import pytest
from sessions import LabSession
from standin import LoopbackHosts, StandIn, offer
from testlab_hetzner import firstboot

from pytest_testlab import labels
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import runs

SPEED = 50.0
COUNTING = f"""
    from testlab_hetzner import provider, times

    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    provider.Times = lambda: times.Times().faster({SPEED})  # as fast as the cloud

    class Counting(MemoryPlatform):
        name = "counting"

        def inputs(self):
            return {{"counting": "7"}}

        def install(self, target, observe):
            with open("installed", "a") as file:
                file.write(f"{{target.server.snapshot or 'bare'}} ")
            return {{"counting": "7"}}

    @hookimpl
    def testlab_platforms():
        return {{"counting": lambda settings: Counting()}}
"""
FINE = """
    [run]
    command = "true"

    [[checks]]
    http = "/"
    contains = "memory"
"""
FAMILY = {"provider": "hetzner", "image": "debian-12", "platform": "counting"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with StandIn(LoopbackHosts(), speed=SPEED, seed=3) as standin:
        for name, value in standin.environ.items():
            monkeypatch.setenv(name, value)
        yield standin
        assert standin.api.mismatches == []


def digest(of: dict[str, object]) -> str:
    """As the guide has it: of all that went into a snapshot, in the order of its names."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:32]


def made_before(cloud: StandIn, days: int, whole: str) -> str:
    """A golden snapshot of an earlier night; returns its id."""
    now = dt.datetime.now(dt.UTC)
    at = now - dt.timedelta(days=days)
    written = labels.labels_of(run=f"of-day-{days}", expires_at=now + dt.timedelta(days=3))
    image = offer.image(
        cloud.cloud.new_id(),
        type="snapshot",
        status="available",
        description="of an earlier night",
        created=at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        created_from={"id": 1, "name": "gone"},
        os_flavor="debian",
        os_version="12",
        image_size=1.2,
        disk_size=40.0,
        labels={**written, labels.DIGEST: whole, labels.FAMILY: digest({**FAMILY})},
    )
    cloud.cloud.images[image["id"]] = image
    return str(image["id"])


def test_a_night_makes_its_own_snapshot_and_keeps_the_last_two(
    lab: LabSession, store: StoreHandle, cloud: StandIn
) -> None:
    """It starts from none of other nights', though that of yesterday is of the very same inputs; two targets start
    from its own, which is labelled with the digest of these, and the oldest goes."""
    whole = digest(
        {**FAMILY, "bare": {"image": "debian-12", "first-boot": firstboot.digest()}, "inputs": {"counting": "7"}}
    )
    made_before(cloud, 2, whole)
    yesterdays = made_before(cloud, 1, whole)
    lab.conftest(COUNTING)
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name, FINE)
    night = ("--testlab-mode", "nightly", "--testlab-platform", "counting", "--testlab-golden", "always")
    done = lab.run(*night, "--testlab-image", "debian-12", pool=3, provider="hetzner")
    assert done.ret == 0
    own, *rest = sorted(cloud.left()["snapshots"], key=lambda snapshot: snapshot == yesterdays)
    assert rest == [yesterdays], "the last two are kept"
    told = cloud.cloud.images[int(own)]["labels"]
    assert (told[labels.DIGEST], told[labels.FAMILY]) == (whole, digest({**FAMILY}))
    installs = (lab.pytester.path / "installed").read_text().split()
    assert installs[0] == "bare"
    assert set(installs[1:]) <= {own, "bare"}
    assert installs.count(own) >= 2
    with store.engine.connect() as connection:
        proofs = [dict(target.proof) for target in runs.targets(connection, "latest")]
    assert sum(proof.get("golden snapshot") == f"{own}, digest {whole}" for proof in proofs) >= 2
    assert lab.latest().lane.endswith("/counting/hetzner/debian-12")
    left = {name for names in cloud.left().values() for name in names}
    assert {name.removeprefix("snapshot-") for name in left} == {own, yesterdays}, "and of all else nothing is left"
