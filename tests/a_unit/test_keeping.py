"""Servers that outlive their run: which, how many, and what tells others of it."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest
from cloud import Cloud, CloudProvider

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import Server, ServerRequest, SshAddress
from pytest_testlab.pool import kept
from pytest_testlab.pool.keeping import Keeping
from pytest_testlab.pool.pool import Pool, Slot, SlotState
from pytest_testlab.pool.upkeep import Upkeep
from pytest_testlab.testing import MemoryProvider

TEST = "alpha/testlab.toml::check"


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def keeping(provider: MemoryProvider, home: Path, mode: str = "failed") -> Keeping:
    return Keeping(provider, mode=mode, seconds=3600, run="r", platform="memory", home=home)


def pool_of(cloud: Cloud, home: Path, *, size: int = 1, mode: str = "failed", most: int = 9) -> tuple[Pool, list[str]]:
    class Limited(CloudProvider):
        def create(self, request: ServerRequest) -> Server:
            if sum(kind == "server" for kind, _ in self.cloud.there) >= most:
                raise InfraError("the limit of servers is reached")
            return super().create(request)

    provider, said = Limited(cloud), list[str]()

    def hear(slot: Slot, at: dt.datetime, say: str) -> None:
        said.append(say)

    pool = Pool(
        provider,
        run="r",
        size=size,
        image="",
        changed=lambda slot, at: None,
        said=hear,
        upkeep=Upkeep(provider, "r"),
        keeping=keeping(provider, home, mode),
    )
    pool.start(size)
    return pool, said


def fail(pool: Pool, slot: Slot) -> str:
    """A test fails on a slot's server, and another unit is to follow there; returns the server's name."""
    name = pool.wait_ready(slot, 60).name
    pool.busy(slot)
    pool.failed(slot, TEST)
    pool.blank(slot)
    return name


def why(cloud: Cloud) -> dict[str, str]:
    return {
        name: resource.labels.get(labels.KEPT, "") for (kind, name), resource in cloud.there.items() if kind == "server"
    }


def test_another_server_takes_the_place_of_one_that_is_kept(cloud: Cloud, tmp_path: Path) -> None:
    """It has a name of its own, and ends with the run; the kept one has all its parts, a label and its key's folder."""
    pool, _ = pool_of(cloud, tmp_path)
    (slot,) = pool.slots
    name = fail(pool, slot)
    other = pool.wait_ready(slot, 60)
    assert other.name != name
    assert (other.epoch, other.proof["replaces"]) == (1, f"{name}, which is kept")
    assert why(cloud) == {name: "failed", other.name: ""}
    assert [found.test for found in kept.every(tmp_path)] == [TEST]
    assert pool.close() == []
    assert set(cloud.there) == {("server", name), ("ssh-key", name)}
    assert pool.keeping is not None
    ((about, until, line),) = pool.keeping.told()
    assert (about.name, line) == (name, None)
    assert labels.expires_at(cloud.there["server", name].labels) == until.replace(microsecond=0)


def test_a_server_is_kept_as_soon_as_its_test_has_failed(cloud: Cloud, tmp_path: Path) -> None:
    """Whatever becomes of the run after that: nobody is left to do it then."""
    pool, _ = pool_of(cloud, tmp_path)
    (slot,) = pool.slots
    name = pool.wait_ready(slot, 60).name
    pool.failed(slot, TEST)
    deadline = time.monotonic() + 60
    while why(cloud) != {name: "failed"}:
        assert time.monotonic() < deadline, why(cloud)
        time.sleep(0.01)
    assert pool.close() == []
    assert slot.state is SlotState.KEPT


def test_two_are_taken_out_at_most(cloud: Cloud, tmp_path: Path) -> None:
    """The third is made blank and used again, which the transcript says; nothing comes after the last, so it stays."""
    pool, said = pool_of(cloud, tmp_path)
    (slot,) = pool.slots
    names = [fail(pool, slot) for _ in range(3)]
    pool.wait_ready(slot, 60)
    assert [found.name for found in kept.every(tmp_path)] == sorted(names[:2])
    assert any(f"{names[2]} is not kept, as others are already" in say for say in said)
    pool.failed(slot, TEST)
    assert pool.close() == []
    assert why(cloud) == dict.fromkeys(sorted(names), "failed")


def test_where_no_other_can_be_had_it_is_not_kept(cloud: Cloud, tmp_path: Path) -> None:
    """Its tests are what the run is there for; who asked for it is told at the end, and no key is left."""
    pool, _ = pool_of(cloud, tmp_path, most=1)
    (slot,) = pool.slots
    name = fail(pool, slot)
    assert pool.wait_ready(slot, 60).name == name
    assert why(cloud) == {name: "no"}
    (error,) = pool.close()
    assert "as no other can be had" in error
    assert "the limit of servers is reached" in error
    assert cloud.there == {}
    assert list(kept.every(tmp_path)) == []


def test_always_keeps_what_stands_at_the_end(cloud: Cloud, tmp_path: Path) -> None:
    """Whether or not a test failed on it."""
    pool, _ = pool_of(cloud, tmp_path, size=2, mode="always")
    names = {pool.wait_ready(slot, 60).name for slot in pool.slots}
    assert pool.close() == []
    assert why(cloud) == dict.fromkeys(names, "always")


def test_what_cannot_outlive_its_run_is_refused(tmp_path: Path) -> None:
    """In one line, before anything is made."""
    with pytest.raises(UsageError, match="what the provider memory gives can't outlive its run; leave it out"):
        keeping(MemoryProvider(), tmp_path)


def test_the_line_leads_through_a_jump_host(tmp_path: Path) -> None:
    """Both keys lie beside each other, and both hosts are pinned."""
    jump = SshAddress(host="192.0.2.1", port=22, user="hop", private_key="hop's", host_key="ssh-ed25519 AAAA hop")
    ssh = SshAddress(host="10.0.0.2", port=2222, user="root", private_key="own", host_key="ssh-ed25519 BBBB", jump=jump)
    server = Server(name="s", provider="cloud", ssh=ssh)
    now = dt.datetime.now(dt.UTC)
    about = kept.KeptServer(server=server, platform="memory", run="r", why="failed", test=TEST, kept_at=now)
    kept.save(tmp_path, about)
    line = kept.ssh_line(tmp_path, about) or ""
    assert "ProxyCommand=ssh -F none" in line
    assert "-W '\"'\"'[10.0.0.2]:2222'\"'\"' hop@192.0.2.1" in line
    assert line.endswith(" root@10.0.0.2")
    assert (
        tmp_path / "kept/s/known_hosts"
    ).read_text() == "[10.0.0.2]:2222 ssh-ed25519 BBBB\n192.0.2.1 ssh-ed25519 AAAA\n"
    found = kept.load(tmp_path, "s")
    assert found is not None
    assert found.server.ssh is not None
    assert (found.server.ssh.private_key, found.server.ssh.jump and found.server.ssh.jump.private_key) == (
        "own\n",
        "hop's\n",
    )
    kept.forget(tmp_path, "s")
    kept.forget(tmp_path, "s")
    assert kept.load(tmp_path, "s") is None
