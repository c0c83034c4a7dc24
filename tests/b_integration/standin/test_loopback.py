"""Servers that are folders of this machine: cloud-init's keys, real SSH, real data, no root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import hcloud
import pytest
from hcloud.images import Image
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer
from standin import Fault, Kind, LoopbackHosts, StandIn

from pytest_testlab.target.loop import wait_for

SMALL, DEBIAN = ServerType(name="cx23"), Image(name="debian-12")
SUPPORT = Path(__file__).parents[2] / "support"
WITHIN_S = 60.0


@dataclass(kw_only=True)
class Lab:
    """Who orders servers with keys of their own, and goes there."""

    standin: StandIn
    client: hcloud.Client
    key: asyncssh.SSHKey

    def data(self, host_key: asyncssh.SSHKey) -> str:
        """cloud-init's data with a host key, and the lab's own to come in by."""
        config = {
            "ssh_deletekeys": True,
            "ssh_keys": {
                "ed25519_private": host_key.export_private_key().decode(),
                "ed25519_public": host_key.export_public_key().decode(),
            },
            "ssh_authorized_keys": [self.key.export_public_key().decode()],
        }
        return f"#cloud-config\n{json.dumps(config)}"

    def create(self, name: str, host_key: asyncssh.SSHKey, image: Image = DEBIAN) -> BoundServer:
        """Make one and wait until it runs."""
        made = self.client.servers.create(name, SMALL, image, user_data=self.data(host_key))
        for action in [made.action, *made.next_actions]:
            action.wait_until_finished()
        return made.server

    def run(self, server: BoundServer, host_key: asyncssh.SSHKey, command: str, user: str = "root") -> str:
        """What a command on a server says; the host must show the key. Tried until sshd is there."""
        work = self._run(server.public_net.ipv4.ip, host_key, command, user)
        return wait_for(work, 2 * WITHIN_S)  # not on this thread: a browser of other tests has a loop there

    async def _run(self, address: str, host_key: asyncssh.SSHKey, command: str, user: str) -> str:
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                async with asyncssh.connect(
                    address,
                    self.standin.ssh_port,
                    username=user,
                    client_keys=[self.key],
                    known_hosts=([host_key.convert_to_public()], [], []),
                    config=None,
                    agent_path=None,
                ) as line:
                    return str((await line.run(command, check=True)).stdout).strip()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def hosts_standin() -> Iterator[StandIn]:
    with StandIn(LoopbackHosts(), speed=100) as standin:
        yield standin


@pytest.fixture
def lab(hosts_standin: StandIn) -> Iterator[Lab]:
    """On a stand-in that is empty again afterwards."""
    standin = hosts_standin
    client = hcloud.Client(standin.token, api_endpoint=standin.endpoint, poll_interval=0.02, timeout=(3, 10))
    yield Lab(standin=standin, client=client, key=new_key())
    standin.behave()
    for server in client.servers.get_all():
        server.delete().wait_until_finished()
    for image in client.images.get_all(type="snapshot"):
        image.delete()
    deadline = time.monotonic() + WITHIN_S
    while any(standin.left().values()):
        assert time.monotonic() < deadline, standin.left()
        time.sleep(0.02)
    assert standin.api.mismatches == []


def new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def test_a_host_has_the_key_it_was_given_and_lets_in_who_it_was_told(lab: Lab) -> None:
    """From the first connection on; nobody else comes in, and cloud-init can be waited for."""
    host_key = new_key()
    server = lab.create("one", host_key)
    assert lab.run(server, host_key, "cloud-init status --wait") == "status: done"
    with pytest.raises(asyncssh.PermissionDenied):
        lab.run(server, host_key, "true", user="admin")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        lab.run(server, new_key(), "true")
    lab.key = new_key()
    with pytest.raises(asyncssh.PermissionDenied):
        lab.run(server, host_key, "true")


def test_a_key_of_the_api_lets_in_too(lab: Lab) -> None:
    """The one named in the create, by its id."""
    host_key, own = new_key(), lab.key
    key = lab.client.ssh_keys.create("mine", own.export_public_key().decode())
    data = lab.data(host_key).replace(own.export_public_key().decode().strip(), "")
    made = lab.client.servers.create("one", SMALL, DEBIAN, ssh_keys=[key], user_data=data)
    assert made.root_password is None
    assert lab.run(made.server, host_key, "echo in") == "in"
    key.delete()


def test_a_rebuild_keeps_number_and_address_and_nothing_else(lab: Lab) -> None:
    """A new disk, and a new host key from the new data; what ran is gone."""
    first, second = new_key(), new_key()
    server = lab.create("one", first)
    pid = lab.run(server, first, "touch used; sleep 1000 >/dev/null 2>&1 </dev/null & echo $!")
    action = lab.client.servers.rebuild(server, Image(name="debian-13"), user_data=lab.data(second)).action
    action.wait_until_finished()
    again = lab.client.servers.get_by_id(server.id)
    assert again.public_net.ipv4.ip == server.public_net.ipv4.ip
    assert again.image is not None
    assert again.image.name == "debian-13"
    assert lab.run(again, second, "ls") == ""
    assert not Path(f"/proc/{pid}").exists()


def test_power_and_snapshots(lab: Lab) -> None:
    """A disk outlives the power; a snapshot outlives its server, and another begins with it under its own key."""
    first, second = new_key(), new_key()
    server = lab.create("one", first)
    lab.run(server, first, "echo data >kept")
    server.power_off().wait_until_finished()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.public_net.ipv4.ip, lab.standin.ssh_port), 5)
    server.power_on().wait_until_finished()
    assert lab.run(server, first, "cat kept") == "data"
    shot = lab.client.servers.create_image(server, labels={"digest": "abc"})
    assert shot.image.status == "creating"
    shot.action.wait_until_finished()
    server.delete().wait_until_finished()
    [image] = lab.client.images.get_all(type="snapshot", label_selector="digest=abc")
    assert lab.run(lab.create("two", second, image), second, "cat kept") == "data"


def test_an_sshd_that_comes_late_or_with_another_key(lab: Lab) -> None:
    """Late: refused until then. Another key: whoever pins his own is not let near it, until the right one is there."""
    late, other = new_key(), new_key()
    lab.standin.misbehave(Fault(kind=Kind.LATE_SSH, name="late", seconds=40))
    lab.standin.misbehave(Fault(kind=Kind.OTHER_KEY, name="other", seconds=80))
    began = time.monotonic()
    servers = [lab.create("late", late), lab.create("other", other)]
    assert lab.run(servers[0], late, "echo in") == "in"
    assert time.monotonic() - began > 40 / lab.standin.clock.speed
    seen = 0
    while True:
        try:
            assert lab.run(servers[1], other, "echo in") == "in"
        except asyncssh.HostKeyNotVerifiable:
            seen += 1
            time.sleep(0.02)
        else:
            break
    assert seen


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_by_hand_it_says_how_to_reach_it_and_leaves_nothing(how: signal.Signals) -> None:
    """`make standin` prints lines for a shell; its hosts and their folders go with it, however it ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "standin", "--speed", "1000"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(process.kill)
        assert process.stdout is not None
        assert process.stderr is not None
        told = dict(process.stdout.readline().strip().split("=", 1) for _ in range(3))
        client = hcloud.Client(told["HCLOUD_TOKEN"], api_endpoint=told["HCLOUD_ENDPOINT"], timeout=5, poll_interval=0.1)
        made = client.servers.create("one", SMALL, DEBIAN)
        for action in [made.action, *made.next_actions]:
            action.wait_until_finished()
        before = set(Path("/tmp").glob(f"tl-standin-*/server-{made.server.id}"))
        assert before
        process.send_signal(how)
        said = process.stderr.read()
    if how is signal.SIGINT:
        assert "requests; left: {'servers': ['one']" in said
        assert process.returncode == 0
    deadline = time.monotonic() + WITHIN_S
    # Another stand-in's servers may have the same numbers; they go too, some time.
    while all(folder.exists() for folder in before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
