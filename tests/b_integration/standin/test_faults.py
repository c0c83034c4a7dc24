"""Every misbehaviour that the stand-in can be told to show, and that it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

import hcloud
import pytest
import requests
from hcloud.actions import ActionFailedException
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import CreateServerResponse
from standin import Fault, Kind, StandIn, limit_exceeded, locked, rate_limited

SMALL, DEBIAN = ServerType(name="cx23"), Image(name="debian-12")
WITHIN_S = 10.0


def until(done: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def create(client: hcloud.Client, name: str = "one", **more: str) -> CreateServerResponse:
    """Order a server."""
    places = {key: Location(name=value) for key, value in more.items()}
    return client.servers.create(name, SMALL, DEBIAN, **places)  # type: ignore[arg-type]


def finish(made: CreateServerResponse) -> None:
    """Wait for all that its create does."""
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()


def code_of(call: Callable[[], object]) -> str | int:
    """The code with which a call is refused."""
    with pytest.raises(hcloud.APIException) as refused:
        call()
    return refused.value.code


@pytest.fixture
def client(standin: StandIn) -> hcloud.Client:
    """One that tries nothing again, so that every refusal is seen."""
    client = hcloud.Client(standin.token, api_endpoint=standin.endpoint, poll_interval=0.02, timeout=(3, 10))
    client._client._retry_max_retries = 0
    return client


def test_an_answer_is_dropped_and_the_server_made(standin: StandIn, client: hcloud.Client) -> None:
    """Whoever asks again finds the name taken."""
    standin.misbehave(Fault(kind=Kind.DROP, method="POST", path="^/servers$"))
    with pytest.raises(requests.ConnectionError):
        create(client)
    assert standin.left()["servers"] == ["one"]
    assert (standin.log[-1].status, standin.log[-1].dropped) == (201, True)
    assert code_of(lambda: create(client)) == "uniqueness_error"


def test_refusals_by_count(standin: StandIn, client: hcloud.Client) -> None:
    """423, 429 and a limit, as often as ordered, where ordered, after so many that pass."""
    for fault, code in (
        (locked(path="^/servers$", times=2), "locked"),
        (rate_limited(method="POST", times=2), "rate_limit_exceeded"),
        (limit_exceeded(times=2), "resource_limit_exceeded"),
    ):
        standin.misbehave(fault)
        assert [code_of(lambda: create(client)) for _ in range(2)] == [code, code]
    standin.misbehave(Fault(kind=Kind.REFUSE, status=502, code="bad_gateway", skip=1))
    create(client)
    assert code_of(lambda: create(client, "two")) == "bad_gateway"
    create(client, "two")
    assert standin.left()["servers"] == ["one", "two"]
    assert standin.plan.struck[Kind.REFUSE] == 7


def test_some_share_of_requests_fails_the_same_with_every_seed(standin: StandIn) -> None:
    """What goes wrong by chance follows from the seed."""

    def statuses() -> list[int]:
        with StandIn(seed=5) as standin:
            standin.misbehave(Fault(kind=Kind.REFUSE, status=500, code="server_error", chance=0.5, times=None))
            header = {"Authorization": f"Bearer {standin.token}"}
            return [
                requests.get(f"{standin.endpoint}/locations", headers=header, timeout=5).status_code for _ in range(20)
            ]

    first = statuses()
    assert set(first) == {200, 500}
    assert statuses() == first


def test_capacity_is_refused_per_type_and_place(standin: StandIn, client: hcloud.Client) -> None:
    """Only that type at that place; nothing is left of the refused order."""
    standin.misbehave(Fault(kind=Kind.UNAVAILABLE, server_type="cx23", location="fsn1", times=None))
    assert code_of(lambda: create(client, location="fsn1")) == "resource_unavailable"
    assert standin.left()["primary_ips"] == []
    create(client, location="nbg1")


def test_a_failed_start_leaves_a_server_that_is_off(standin: StandIn, client: hcloud.Client) -> None:
    """It was made, it is billed, and it can be deleted."""
    standin.misbehave(Fault(kind=Kind.FAILED_ACTION, command="start_server"))
    made = create(client)
    with pytest.raises(ActionFailedException):
        finish(made)
    assert client.servers.get_by_id(made.server.id).status == "off"
    made.server.delete()
    until(lambda: standin.left()["servers"] == [])


def test_initializing_for_ever(standin: StandIn, client: hcloud.Client) -> None:
    """Its actions end well, and it never runs."""
    standin.misbehave(Fault(kind=Kind.INITIALIZING, name="^one$"))
    made = create(client)
    finish(made)
    assert client.servers.get_by_id(made.server.id).status == "initializing"
    made.server.delete()


def test_an_action_that_never_ends(standin: StandIn, client: hcloud.Client) -> None:
    """It stays `running`, and its server locked."""
    standin.misbehave(Fault(kind=Kind.ENDLESS_ACTION, command="create_server"))
    made = create(client)
    finish(create(client, "two"))
    assert client.actions.get_by_id(made.action.id).status == "running"
    assert code_of(made.server.delete) == "locked"


def test_deletes_that_lie(standin: StandIn, client: hcloud.Client) -> None:
    """Answered as done, with a server that stays for a while; or an action that fails later, and it stays for good."""
    made = [create(client, name) for name in ("one", "two")]
    for one in made:
        finish(one)
    standin.misbehave(Fault(kind=Kind.LYING_DELETE, name="one", seconds=60))
    standin.misbehave(Fault(kind=Kind.FAILED_ACTION, command="delete_server", name="two"))
    made[0].server.delete().wait_until_finished()
    assert client.servers.get_by_name("one") is not None
    with pytest.raises(ActionFailedException):
        made[1].server.delete().wait_until_finished()
    until(lambda: standin.left()["servers"] == ["two"])
    two = client.servers.get_by_name("two")
    assert two is not None
    assert two.status == "running"


def test_half_an_hour_of_errors(client: hcloud.Client, standin: StandIn) -> None:
    """Every request is answered by a 503, and afterwards none is."""
    began = time.monotonic()
    standin.misbehave(Fault(kind=Kind.OUTAGE, seconds=30))
    assert code_of(client.locations.get_all) == "unavailable"
    until(lambda: not _fails(client.locations.get_all))
    assert time.monotonic() - began >= 30 / standin.clock.speed


def test_nobody_listens(client: hcloud.Client, standin: StandIn) -> None:
    """Connections are refused, also those that were open; afterwards the same address answers, with all that was."""
    create(client)
    standin.misbehave(Fault(kind=Kind.CLOSED, seconds=60))
    with pytest.raises(requests.ConnectionError):
        client.servers.get_all()
    until(lambda: not _fails(client.servers.get_all))
    assert [server.name for server in client.servers.get_all()] == ["one"]


def test_who_runs_it_elsewhere_orders_and_looks_by_http(standin: StandIn, client: hcloud.Client) -> None:
    """Faults, the log and what is left, with the same token."""
    header, at = {"Authorization": f"Bearer {standin.token}"}, f"http://127.0.0.1:{standin.port}/standin"
    order = {"kind": "refuse", "status": 423, "code": "locked", "method": "POST"}
    assert requests.post(f"{at}/faults", json=order, headers=header, timeout=5).status_code == 200
    assert requests.post(f"{at}/faults", json={"kind": "flood"}, headers=header, timeout=5).status_code == 400
    assert code_of(lambda: create(client)) == "locked"
    create(client)
    log = requests.get(f"{at}/log", headers=header, timeout=5).json()
    assert [(one["method"], one["path"], one["status"]) for one in log["log"]] == [
        ("POST", "/servers", 423),
        ("POST", "/servers", 201),
    ]
    assert requests.get(f"{at}/left", headers=header, timeout=5).json()["servers"] == ["one"]
    assert requests.get(f"{at}/faults", headers=header, timeout=5).json()["struck"]["refuse"] == 1


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except (hcloud.APIException, requests.ConnectionError):
        return True
    return False
