"""Through a jump host: the line to a server, its front door, and the names that script checks use; on real sshds."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncssh
import pytest
from inventories import sshds
from openssh import Sshd

from pytest_testlab.distribution.wire import server_from_wire, server_to_wire
from pytest_testlab.errors import InfraError, NoAnswer
from pytest_testlab.model import FrontDoor, Server, SshAddress
from pytest_testlab.target import ways
from pytest_testlab.target.http import FrontDoorClient
from pytest_testlab.target.loop import wait_for
from pytest_testlab.target.names import NamesProxy
from pytest_testlab.target.ssh import SshTarget

HOST = "app-0123456789ab.testlab.internal"


class _App(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"asked for {self.headers['Host']}".encode() * (100_000 if self.path == "/large" else 1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Sshd]]:
    """A jump host, and a server behind it."""
    with sshds(2) as servers:
        yield servers


@pytest.fixture
def jump(servers: list[Sshd]) -> SshAddress:
    return servers[0].address


@pytest.fixture
def behind(servers: list[Sshd], jump: SshAddress) -> Server:
    """As a worker gets it from the controller."""
    ssh = replace(servers[1].address, jump=jump)
    server = Server(name="behind", provider="ssh", ssh=ssh, facts={"root": str(servers[1].folder)})
    return server_from_wire(server_to_wire(server))


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    """The port of something that answers with the name it was asked by."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _App)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(10)
    server.server_close()


def _peers() -> set[int]:
    """The ports on this machine that this process itself is connected to."""
    ports = set()
    for number in (int(link.name) for link in Path("/proc/self/fd").iterdir()):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as copy:
                    peer = copy.getpeername()
                    ports.add(peer[1] if isinstance(peer, tuple) else 0)
        except OSError:
            continue
    return ports


def test_a_line_leads_through(behind: Server, servers: list[Sshd]) -> None:
    """Commands and uploads work as ever; this process itself has a connection to the jump host alone."""
    target = SshTarget(behind, connect_within_s=30)
    assert target.run('echo "$MACHINE"', timeout_s=10).text.strip() == str(servers[1].address.port)
    assert servers[0].address.port in _peers()
    assert servers[1].address.port not in _peers()
    target.close()


def test_the_servers_own_key_is_still_pinned(behind: Server) -> None:
    """A jump host can't put another machine in a server's place."""
    assert behind.ssh is not None
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(InfraError, match=r"no SSH within 0\.5 s: Host key is not trusted"):
        SshTarget(replace(behind, ssh=replace(behind.ssh, host_key=other)), connect_within_s=0.5)


def test_the_jump_host_is_pinned_and_named(behind: Server, jump: SshAddress) -> None:
    """What is wrong with it is said of it."""
    assert behind.ssh is not None
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    ssh = replace(behind.ssh, jump=replace(jump, host_key=other))
    with pytest.raises(InfraError, match=rf"jump host 127\.0\.0\.1:{jump.port}: Host key is not trusted"):
        SshTarget(replace(behind, ssh=ssh), connect_within_s=0.5)
    with pytest.raises(InfraError, match=rf"through 127\.0\.0\.1:{jump.port}: Connection refused"):
        SshTarget(replace(behind, ssh=replace(behind.ssh, port=1)), connect_within_s=0.5)


def test_a_front_door_is_reached_through(jump: SshAddress, app: int) -> None:
    """An app behind the jump host is asked by its own name; a large answer comes whole."""
    client = FrontDoorClient(FrontDoor(host="127.0.0.1", port=app, via=jump), HOST)
    assert client.request("GET", "/", timeout_s=10).body == f"asked for {HOST}".encode()
    assert len(client.request("GET", "/large", timeout_s=20).body) == 1024 * 1024
    assert app not in _peers()


def test_a_front_door_that_refuses_is_told_from_a_lost_jump_host(jump: SshAddress) -> None:
    """The one is the app's or the platform's fault, the other the lab's."""
    with pytest.raises(NoAnswer, match="connection refused") as caught:
        FrontDoorClient(FrontDoor(host="127.0.0.1", port=1, via=jump), HOST).request("GET", "/", timeout_s=10)
    assert caught.value.kind == "refused"
    lost = replace(jump, port=1)
    with pytest.raises(InfraError, match=r"jump host 127\.0\.0\.1:1: "):
        FrontDoorClient(FrontDoor(host="127.0.0.1", port=2, via=lost), HOST).request("GET", "/", timeout_s=10)


def test_a_door_that_never_answers_ends_at_its_deadline(jump: SshAddress) -> None:
    """The deadline of a request holds on the way too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        door = FrontDoor(host="127.0.0.1", port=silent.getsockname()[1], via=jump)
        began = time.monotonic()
        with pytest.raises(NoAnswer, match=r"no whole answer within 0\.5 s"):
            FrontDoorClient(door, HOST).request("GET", "/", timeout_s=0.5)
        assert time.monotonic() - began < 20


def test_script_checks_come_through_too(jump: SshAddress, app: int) -> None:
    """The proxy of the names leads to a front door behind a jump host."""
    with NamesProxy({HOST: FrontDoor(host="127.0.0.1", port=app, via=jump)}, upstream={}) as proxy:
        env = {**os.environ, **proxy.environ(f"http://{HOST}")}
        said = subprocess.run(
            ["curl", "-sS", "-m", "10", f"http://{HOST}/"],
            env=env,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    assert said.stdout == f"asked for {HOST}"


def test_a_line_that_nothing_goes_through_is_closed(
    jump: SshAddress, app: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that lives long keeps no line to each jump host that it once used; the next request opens another."""
    monkeypatch.setattr(ways, "IDLE_S", 0.05)
    client = FrontDoorClient(FrontDoor(host="127.0.0.1", port=app, via=jump), HOST)
    client.request("GET", "/", timeout_s=10)
    deadline = time.monotonic() + 30
    while jump.port in _peers():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.request("GET", "/", timeout_s=10).status == 200


def test_ways_can_be_had_at_once(jump: SshAddress, app: int) -> None:
    """Forty at a time share one line: the jump host's limit of unfinished logins is none of their business."""

    async def all_at_once() -> list[socket.socket]:
        return await asyncio.gather(*(ways.through(jump, "127.0.0.1", app) for _ in range(40)))

    found = wait_for(all_at_once(), 30)
    assert len(found) == 40
    for way in found:
        way.close()
