"""What the stand-in refuses as the real cloud does, whoever asks."""

from __future__ import annotations

import time
from typing import Any

import asyncssh
import hcloud
import pytest
import requests
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType
from standin import StandIn

SMALL, DEBIAN = ServerType(name="cx23"), Image(name="debian-12")


def ask(standin: StandIn, method: str, path: str, **more: Any) -> requests.Response:
    """One bare request with the token."""
    headers = {"Authorization": f"Bearer {standin.token}"}
    return requests.request(method, standin.endpoint + path, headers=headers, timeout=10, **more)


def refusal(call: Any) -> tuple[str | int, Any]:
    """The code and the details with which a call is refused."""
    with pytest.raises(hcloud.APIException) as refused:
        call()
    return refused.value.code, refused.value.details


@pytest.mark.parametrize("value", ["-a", "a-", "x" * 64, "2026-01-01T00:00:00+00:00", "a b", "ä"])
def test_a_bad_label_is_refused_and_nothing_made(standin: StandIn, client: hcloud.Client, value: str) -> None:
    """Values hold 63 of letters, digits, `-`, `_`, `.`, alphanumeric at both ends; keys too."""
    for labels in ({"key": value}, {value: "value"}):
        code, details = refusal(lambda labels=labels: client.servers.create("a", SMALL, DEBIAN, labels=labels))
        assert code == "invalid_input"
        assert details["fields"][0]["name"] == "labels"
    assert standin.left()["servers"] == standin.left()["primary_ips"] == []
    client.servers.create("a", SMALL, DEBIAN, labels={"key": "x" * 63, "empty": "", "k.e_y-1": "1.a_b-C"})


def test_names_are_unique_among_their_kind(client: hcloud.Client) -> None:
    """A second server, key, address or network of a name is refused; so is a key by another name."""
    public = [asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode() for _ in range(2)]
    client.servers.create("one", SMALL, DEBIAN)
    client.ssh_keys.create("one", public[0])
    client.primary_ips.create("ipv4", "one", location=Location(name="fsn1"))
    client.networks.create("one", "10.0.0.0/16")
    for again in (
        lambda: client.servers.create("one", SMALL, DEBIAN),
        lambda: client.ssh_keys.create("one", public[1]),
        lambda: client.ssh_keys.create("two", public[0]),
        lambda: client.primary_ips.create("ipv4", "one", location=Location(name="fsn1")),
        lambda: client.networks.create("one", "10.0.0.0/16"),
    ):
        assert refusal(again)[0] == "uniqueness_error"


def test_lists_come_in_pages(standin: StandIn, client: hcloud.Client) -> None:
    """25 a page, 50 at most; the client that follows `next_page` gets all of them."""
    for number in range(60):
        client.servers.create(f"s{number}", SMALL, DEBIAN, labels={"half": str(number % 2)}, start_after_create=False)
    first = ask(standin, "GET", "/servers").json()
    assert len(first["servers"]) == 25
    assert first["meta"]["pagination"] == {
        "page": 1,
        "per_page": 25,
        "previous_page": None,
        "next_page": 2,
        "last_page": 3,
        "total_entries": 60,
    }
    assert ask(standin, "GET", "/servers?per_page=51").json()["error"]["code"] == "invalid_input"
    assert len(client.servers.get_all()) == 60
    assert len(client.servers.get_all(label_selector="half=1")) == 30
    assert len(client.primary_ips.get_all()) == 120


def test_selectors(standin: StandIn, client: hcloud.Client) -> None:
    """Equal, unequal, among, there and not there, all of them at once; and no `<`."""
    for name, labels in {"a": {"run": "r1", "slot": "1"}, "b": {"run": "r2"}, "c": {}}.items():
        client.servers.create(name, SMALL, DEBIAN, labels=labels)
    wanted = {
        "run=r1": "a",
        "run==r2": "b",
        "run!=r1": "bc",
        "run": "ab",
        "!run": "c",
        "run in (r1, r2)": "ab",
        "run notin (r1,r3)": "bc",
        "run,!slot": "b",
    }
    found = {selector: client.servers.get_all(label_selector=selector) for selector in wanted}
    assert {selector: "".join(server.name for server in some) for selector, some in found.items()} == wanted
    assert ask(standin, "GET", "/servers?label_selector=slot<2").status_code == 422


def test_a_server_is_locked_while_something_runs_on_it(client: hcloud.Client) -> None:
    """Whatever is asked of it then is refused with `locked`, its delete too."""
    made = client.servers.create("one", SMALL, DEBIAN)
    assert refusal(made.server.delete)[0] == "locked"
    assert refusal(made.server.power_off)[0] == "locked"
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    rebuilding = made.server.rebuild(Image(name="debian-13")).action
    assert refusal(made.server.delete)[0] == "locked"
    rebuilding.wait_until_finished()
    made.server.delete()


def test_without_the_token_nothing_is_told(standin: StandIn) -> None:
    """Neither by the API nor by what runs the stand-in."""
    for url in (f"{standin.endpoint}/servers", f"http://127.0.0.1:{standin.port}/standin/log"):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert requests.get(url, headers=headers, timeout=10).status_code == 401


def test_the_quota_is_told_spent_and_refilled(standin: StandIn) -> None:
    """Every answer says what is left; at nothing it is 429; a second gives one back, however fast the cloud is."""
    headers = ask(standin, "GET", "/locations").headers
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("3600", "3599")
    assert abs(int(headers["RateLimit-Reset"]) - time.time()) < 5
    standin.api.quota.spend(left=0)
    refused = ask(standin, "GET", "/locations")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["RateLimit-Remaining"] == "0"
    deadline = time.monotonic() + 30
    while ask(standin, "GET", "/locations").status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_unknown_or_gone_is_said_so(client: hcloud.Client) -> None:
    """Images, types, places, datacenters and paths that there are none of."""
    create = client.servers.create
    assert refusal(lambda: create("a", SMALL, Image(name="debian-1")))[0] == "not_found"
    assert refusal(lambda: create("a", ServerType(name="cx0"), DEBIAN))[0] == "not_found"
    assert refusal(lambda: create("a", SMALL, DEBIAN, location=Location(name="ash")))[0] == "unsupported_error"
    assert refusal(lambda: create("a b", SMALL, DEBIAN))[0] == "invalid_input"
    assert refusal(lambda: create("a", SMALL, DEBIAN, user_data="x" * 33_000))[0] == "invalid_input"
    assert refusal(lambda: client.images.delete(client.images.get_all()[0]))[0] == "forbidden"
    assert refusal(client.firewalls.get_all)[0] == "not_found"


def test_a_private_network_is_joined_when_the_server_is_made(client: hcloud.Client) -> None:
    """The create's answer has no private address yet; afterwards each server has its own, and keeps the network."""
    subnet = NetworkSubnet(ip_range="10.0.1.0/24", type="cloud", network_zone="eu-central")
    network = client.networks.create("inside", "10.0.0.0/16", subnets=[subnet])
    made = [client.servers.create(name, SMALL, DEBIAN, networks=[network]) for name in ("a", "b")]
    assert made[0].server.private_net == []
    for one in made:
        one.action.wait_until_finished()
    servers = client.servers.get_all()
    assert sorted(server.private_net[0].ip for server in servers) == ["10.0.1.2", "10.0.1.3"]
    assert refusal(network.delete)[0] == "resource_in_use"


def test_the_price_list_and_the_types_agree(client: hcloud.Client) -> None:
    """Prices are strings, per location; cx23 and cpx11 are sold, and say where they are being phased out."""
    listed = {
        kind["name"]: kind["prices"] for kind in client._client.request("GET", "/pricing")["pricing"]["server_types"]
    }
    for kind in client.server_types.get_all():
        assert listed[kind.name] == kind.prices
        assert {place.location.name for place in kind.locations} == {price["location"] for price in kind.prices}
    price = next(price for price in listed["cx23"] if price["location"] == "nbg1")
    assert isinstance(price["price_hourly"]["gross"], str)
    old = client.server_types.get_by_name("cpx11")
    assert old is not None
    assert [place.location.name for place in old.locations if place.deprecation] == ["fsn1", "nbg1", "hel1"]


def test_an_answer_of_another_shape_is_a_500() -> None:
    """Where the API's description is at hand, nothing that doesn't fit it leaves the stand-in."""
    from standin.shapes import FILE

    if not FILE.is_file():
        pytest.skip("../shared/hetzner/openapi.json is absent: answers can't be checked")
    with StandIn(speed=200) as standin:
        standin.cloud.locations[1] = {**standin.cloud.locations[1], "latitude": "north"}
        answer = ask(standin, "GET", "/locations")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "shape_mismatch")
        assert "$.locations[0].latitude: 'north' is not of type 'number'" in standin.api.mismatches[0]
