"""What a reaper sees of the cloud, what a snapshot is, and how servers without a public address are reached."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path

import hcloud
import pytest
from hetzner import Make, a_request
from inventories import sshds
from openssh import Sshd
from standin import Fault, Kind, StandIn, locked

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Resource
from pytest_testlab.pool.reaper import Reaped, reap, sweep_own

YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


@pytest.fixture
def client(cloud: StandIn) -> hcloud.Client:
    return hcloud.Client(cloud.token, api_endpoint=cloud.endpoint, timeout=(3, 10))


def test_everything_of_the_labs_is_listed_priced_and_reaped(cloud: StandIn, make: Make, client: hcloud.Client) -> None:
    """Servers, snapshots, addresses and keys; what hasn't expired stays, and what is another's isn't even listed."""
    provider = make()
    server = provider.create(a_request())
    own = labels.labels_of(run="r", expires_at=YESTERDAY)
    snapshot = provider.snapshot(server, own)
    location = client.locations.get_by_name("fsn1")
    assert location is not None
    for name, told in (("ours", own), ("theirs", {"managed-by": "terraform"})):
        client.primary_ips.create(type="ipv4", name=name, location=location, auto_delete=False, labels=told)
    found = {resource.kind: resource for resource in provider.resources()}
    assert set(found) == {"server", "snapshot", "primary-ip", "ssh-key"}
    assert found["server"].eur_per_hour == server.eur_per_hour is not None
    assert found["snapshot"].id == snapshot
    for kind, price in (("snapshot", 0.00002), ("primary-ip", 0.0005)):
        eur = found[kind].eur_per_hour
        assert eur is not None
        assert price < eur < 100 * price
    assert found["ssh-key"].eur_per_hour is None
    reaped = reap({"hetzner": provider})
    assert reaped.errors == ()
    assert sorted(resource.kind for resource in reaped.deleted) == ["primary-ip", "snapshot"]
    for kind in ("server", "ssh-key"):
        provider.write_labels(found[kind], {labels.EXPIRES: labels.moment(YESTERDAY)})
    cloud.misbehave(locked(method="DELETE", path="^/servers/"))
    cloud.misbehave(Fault(kind=Kind.LYING_DELETE))
    reaped = reap({"hetzner": provider})
    assert reaped.errors == ()
    assert sorted(resource.kind for resource in reaped.deleted) == ["server", "ssh-key"]
    left = {kind: names for kind, names in cloud.left().items() if names}
    assert left == {"primary_ips": ["theirs"]}
    theirs = client.primary_ips.get_by_name("theirs")
    assert theirs is not None
    client.primary_ips.delete(theirs)


def test_a_run_that_goes_well_asks_for_little_at_its_end(cloud: StandIn, make: Make) -> None:
    """Its key goes by one request, servers are listed twice, and what it can't have made isn't asked for."""
    provider, request = make(), a_request()
    provider.destroy(provider.create(request))
    before = cloud.counts()
    assert sweep_own(provider, request.run) == Reaped()
    assert cloud.counts() - before == {"DELETE /ssh_keys/{id}": 1, "GET /servers": 2}
    assert cloud.left()["ssh_keys"] == []


def test_a_key_that_cannot_be_removed_at_once_is_looked_for(cloud: StandIn, make: Make) -> None:
    """The sweep goes on until it is gone."""
    provider, request = make(call=0.2), a_request()
    provider.destroy(provider.create(request))
    cloud.misbehave(Fault(kind=Kind.REFUSE, method="DELETE", path="^/ssh_keys", times=12))
    reaped = sweep_own(provider, request.run)
    assert ([resource.kind for resource in reaped.deleted], reaped.errors) == (["ssh-key"], ())
    assert cloud.left()["ssh_keys"] == []


def test_one_kind_that_cannot_be_listed_does_not_hide_the_others(cloud: StandIn, make: Make) -> None:
    """The error comes after the last of them, and says which kind it is."""
    provider = make(call=0.5)
    server = provider.create(a_request())
    cloud.misbehave(Fault(kind=Kind.REFUSE, method="GET", path="^/images", times=None))
    seen: list[Resource] = []
    with pytest.raises(InfraError, match=r"^snapshot: listing the lab's snapshots: the API refused"):
        seen.extend(provider.resources())
    assert [resource.kind for resource in seen] == ["server", "ssh-key"]
    cloud.behave()
    provider.destroy(server)


def test_labels_are_written_beside_the_others(cloud: StandIn, make: Make) -> None:
    """And not on what is gone."""
    provider = make()
    server = provider.create(a_request())
    resource = next(iter(provider.resources()))
    provider.write_labels(resource, {labels.KEPT: "failed"})
    assert next(iter(provider.resources())).labels == {**resource.labels, labels.KEPT: "failed"}
    provider.destroy(server)
    with pytest.raises(InfraError, match=rf"^server {server.name} is gone$"):
        provider.write_labels(resource, {labels.KEPT: "failed"})


def test_a_snapshot_is_a_disk_to_start_from(cloud: StandIn, make: Make) -> None:
    """Its own server goes on; others begin with what was on it; an answer that is lost costs nothing."""
    provider = make()
    server = provider.create(a_request())
    with contextlib.closing(provider.connect(server)) as target:
        target.run('mkdir -p "$HOME/testlab" && echo golden >"$HOME/testlab/platform"', timeout_s=30)
    cloud.misbehave(Fault(kind=Kind.DROP, method="POST", path="create_image$"))
    own = labels.labels_of(run="r", expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    snapshot = provider.snapshot(server, own)
    assert cloud.left()["snapshots"] == [snapshot]
    with contextlib.closing(provider.connect(server)) as target:
        assert target.run('cat "$HOME/testlab/platform"', timeout_s=30).stdout == b"golden\n"
    other = provider.create(a_request(snapshot=snapshot))
    assert other.snapshot == snapshot
    assert other.proof["folder"] == f"as in snapshot {snapshot}"
    with contextlib.closing(provider.connect(other)) as target:
        target.run('echo used >"$HOME/testlab/platform"; touch "$HOME/more"', timeout_s=30)
    again = provider.blank(other)
    with contextlib.closing(provider.connect(again)) as target:
        assert target.run('cat "$HOME/testlab/platform"; ls "$HOME"', timeout_s=30).stdout == b"golden\ntestlab\n"
    for one in (server, other):
        provider.destroy(one)
    provider.remove(Resource(kind="snapshot", id=snapshot, name="it", provider="hetzner"))
    assert cloud.left()["snapshots"] == []


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    with sshds(1) as servers:
        yield servers[0]


def test_a_server_in_a_private_network_is_reached_through_the_jump_host(
    cloud: StandIn, make: Make, client: hcloud.Client, bastion: Sshd, tmp_path: Path
) -> None:
    """It has no public IPv4 address, and costs none."""
    address = bastion.address
    (tmp_path / "jump-host-key").write_text(address.private_key)
    (tmp_path / "jump-host-known-hosts").write_text(f"[{address.host}]:{address.port} {address.host_key}\n")
    net = client.request(
        "POST",
        "/networks",
        json={
            "name": "inside",
            "ip_range": "127.20.0.0/16",
            "subnets": [{"ip_range": "127.20.7.0/24", "type": "cloud"}],
        },
    )["network"]
    provider = make(
        {
            "network": "inside",
            "jump_host": f"{address.user}@{address.host}:{address.port}",
            "secrets_dir": str(tmp_path),
        }
    )
    server = provider.create(a_request())
    assert server.ssh is not None
    assert server.ssh.host.startswith("127.20.7.")
    assert server.ssh.jump == provider._wishes.jump is not None
    assert cloud.cloud.servers[int(server.facts["id"])].data["public_net"]["ipv4"] is None
    public = provider._prices.server("cx23", "fsn1", ipv4=True)
    assert public is not None
    assert server.eur_per_hour is not None
    assert server.eur_per_hour < public
    provider.destroy(server)
    cloud.cloud.networks.pop(net["id"])


def test_the_token_shows_nowhere(
    cloud: StandIn, make: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in what is logged down to the last line, said, raised or printed; not in its servers either."""
    caplog.set_level(logging.DEBUG)
    provider, said = make(call=0.5), list[str]()
    server = provider.create(a_request(say=said.append))
    said += [repr(server), repr(provider), repr(vars(provider))]
    for fault in (
        Fault(kind=Kind.REFUSE, status=401, code="unauthorized", message=f"no such token: {cloud.token}", times=None),
        Fault(kind=Kind.CLOSED, seconds=600),
    ):
        cloud.misbehave(fault)
        with pytest.raises(InfraError) as raised:
            provider.create(a_request(say=said.append))
        error: BaseException | None = raised.value
        while error is not None:
            said += [repr(error), str(error)]
            error = error.__cause__ or error.__context__
        said.append(provider.console(server) or "")
        cloud.behave()
    provider.destroy(server)
    out, err = capfd.readouterr()
    assert "no such token: ***" in "".join(said)
    assert cloud.token not in "".join([*said, caplog.text, out, err])
