"""A server's life, as the client made for the real cloud sees it."""

from __future__ import annotations

import hcloud
import pytest
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer, ServerCreatePublicNetwork
from standin import StandIn

SMALL, DEBIAN, NUREMBERG = ServerType(name="cx23"), Image(name="debian-12"), Location(name="nbg1")


def make(client: hcloud.Client, name: str, **more: object) -> BoundServer:
    """A server that runs."""
    made = client.servers.create(name, SMALL, DEBIAN, location=NUREMBERG, **more)  # type: ignore[arg-type]
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    return client.servers.get_by_id(made.server.id)


def wait_gone(standin: StandIn, server: BoundServer) -> None:
    """Delete, and wait until nobody knows it any more."""
    action = server.delete()
    action.wait_until_finished()


def test_a_server_is_made_and_runs_once_its_actions_ended(client: hcloud.Client) -> None:
    """Create answers at once with an action and those that follow; the server is locked until they end."""
    made = client.servers.create("web-1", SMALL, DEBIAN, labels={"run": "r1"}, location=NUREMBERG)
    assert made.server.status == "initializing"
    assert made.server.locked
    assert [made.action.command, *(action.command for action in made.next_actions)] == ["create_server", "start_server"]
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    server = client.servers.get_by_name("web-1")
    assert server is not None
    assert (server.status, server.locked, server.labels) == ("running", False, {"run": "r1"})
    assert server.public_net.ipv4.ip
    assert server.public_net.ipv6.ip.endswith("::/64")


def test_a_deleted_server_takes_its_own_addresses_along(standin: StandIn, client: hcloud.Client) -> None:
    """Delete answers at once; server, host and the addresses made with it go, an address of one's own stays."""
    ip = client.primary_ips.create(type="ipv4", name="mine", location=NUREMBERG).primary_ip
    server = make(client, "web-1", public_net=ServerCreatePublicNetwork(ipv4=ip))
    assert server.public_net.ipv4.ip == ip.ip
    wait_gone(standin, server)
    with pytest.raises(hcloud.APIException) as gone:
        client.servers.get_by_id(server.id)
    assert gone.value.code == "not_found"
    left = standin.left()
    assert (left["servers"], left["hosts"], left["primary_ips"]) == ([], [], ["mine"])
    ip.delete()
    assert standin.left()["primary_ips"] == []
