"""A server's life, as the client made for the real cloud sees it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import hcloud
import pytest
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer, ServerCreatePublicNetwork
from standin import StandIn
from standin.clock import Clock

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


def test_sixty_four_clients_at_once(standin: StandIn) -> None:
    """Each has its server, and nothing is lost or made twice."""

    def one(number: int) -> int:
        return int(
            make(
                hcloud.Client(standin.token, api_endpoint=standin.endpoint, poll_interval=0.2, timeout=(5, 20)),
                f"s{number}",
            ).id
        )

    with ThreadPoolExecutor(64) as pool:
        ids = list(pool.map(one, range(64)))
    assert len(set(ids)) == len(standin.left()["servers"]) == 64
    assert len({ip["ip"] for ip in standin.cloud.primary_ips.values()}) == 128


def test_how_long_things_take_follows_from_the_seed() -> None:
    """A boot takes 25 s of the cloud's, give or take a fifth, the same for the same seed."""
    spans = [[Clock(speed, seed).span(25.0) for _ in range(2)] for speed, seed in ((1, 3), (1, 3), (5, 3), (1, 4))]
    assert spans[0] == spans[1] != spans[3]
    assert spans[2] == [pytest.approx(span / 5) for span in spans[0]]
    assert all(20 <= span <= 30 for span in spans[0])
