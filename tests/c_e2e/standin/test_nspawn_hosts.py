"""The stand-in with whole Debians behind its API: real cloud-init, real sshd, and nothing left on the machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import asyncssh
import hcloud
import hostyard
import pytest
from hcloud.images import Image
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer
from standin import StandIn
from standin.nspawn import NAME, PARENT, NspawnHosts

from pytest_testlab.model import Server, SshAddress
from pytest_testlab.target.ssh import SshTarget

SPEED = 25.0
SSH_WITHIN_S = 60.0
GONE_WITHIN_S = 30.0
WAIT = "cloud-init status --wait >/dev/null"


@pytest.fixture
def standin() -> Iterator[StandIn]:
    if os.geteuid() != 0:
        pytest.skip("needs root: its servers are hosts of nspawn")
    if lacking := hostyard.lacking():
        pytest.fail(f"the images {', '.join(lacking)} are still to be made: make images, or make e2e, which does it")
    before = hostyard.others()
    with StandIn(NspawnHosts(), speed=SPEED) as standin:
        yield standin
        assert standin.api.mismatches == []
    assert not list(PARENT.glob(f"{NAME}{os.getpid()}-*"))
    assert hostyard.others() <= before


def key_pair() -> tuple[str, str]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key.export_private_key().decode(), key.export_public_key().decode().strip()


def user_data(host: tuple[str, str], **more: object) -> str:
    keys = {"ed25519_private": host[0], "ed25519_public": host[1]}
    return f"#cloud-config\n{json.dumps({'ssh_deletekeys': True, 'ssh_keys': keys, **more})}"


def run(server: BoundServer, key: tuple[str, str], host: tuple[str, str], script: str) -> list[str]:
    """What a script on a server says, line by line; the host must show its key from the first connection on."""
    address = SshAddress(host=server.public_net.ipv4.ip, port=22, user="root", private_key=key[0], host_key=host[1])
    target = SshTarget(Server(name=server.name, provider="hetzner", ssh=address), connect_within_s=SSH_WITHIN_S)
    try:
        result = target.run(script, timeout_s=120)
    finally:
        target.close()
    assert result.exit_code == 0, result
    return result.text.splitlines()


def test_a_server_is_a_debian_that_did_what_it_was_told(standin: StandIn) -> None:
    """Created with a pinned key and data for cloud-init, rebuilt to another release, frozen, deleted: nothing stays."""
    client = hcloud.Client(standin.token, api_endpoint=standin.endpoint, poll_interval=1.0, timeout=(3, 30))
    key, first, second, third = (key_pair() for _ in range(4))
    mine = client.ssh_keys.create("mine", key[1])
    data = user_data(first, write_files=[{"path": "/etc/told", "content": "by cloud-init"}])
    made = client.servers.create(
        "web-1", ServerType(name="cx23"), Image(name="debian-12"), ssh_keys=[mine], user_data=data
    )
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    look = f"{WAIT}; cloud-init status; . /etc/os-release; echo $VERSION_ID; hostname; cat /proc/1/comm"
    boot = "cat /proc/sys/kernel/random/boot_id /etc/machine-id"
    assert run(made.server, key, first, f"{look}; cat /etc/told") == [
        "status: done",
        "12",
        "web-1",
        "systemd",
        "by cloud-init",
    ]
    before = run(made.server, key, first, f"{boot}; touch /root/used")
    client.servers.rebuild(
        made.server, Image(name="debian-13"), user_data=user_data(second)
    ).action.wait_until_finished()
    server = client.servers.get_by_id(made.server.id)
    assert server.public_net.ipv4.ip == made.server.public_net.ipv4.ip
    assert run(server, key, second, look) == ["status: done", "13", "web-1", "systemd"]
    after = run(server, key, second, f"{boot}; [ ! -e /root/used ] && [ ! -e /etc/told ] && touch /root/golden")
    assert not set(before) & set(after)
    client.servers.create_image(server).action.wait_until_finished()
    [snapshot] = client.images.get_all(type="snapshot")
    clone = client.servers.create(
        "web-2", ServerType(name="cx23"), snapshot, ssh_keys=[mine], user_data=user_data(third)
    )
    for action in [clone.action, *clone.next_actions]:
        action.wait_until_finished()
    cloned = run(clone.server, key, third, f"{WAIT}; {boot}; ls /root/golden")
    assert cloned[2] == "/root/golden"
    assert not set(cloned) & set(after)
    for one in (server, clone.server):
        one.delete().wait_until_finished()
    snapshot.delete()
    mine.delete()
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := {kind: names for kind, names in standin.left().items() if names}:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
