"""What the provider does when the cloud misbehaves: no server is lost, none is left, and it is said what went wrong."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hetzner import Make, a_request, pointed_at
from standin import Fault, Kind, LoopbackHosts, NoHosts, StandIn, limit_exceeded, locked, rate_limited

from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.model import ServerRequest

ORDER = {"method": "POST", "path": "^/servers$"}


def _statuses(cloud: StandIn, since: int, what: str) -> Counter[int]:
    """What came of requests of one kind, "POST /servers"."""
    return Counter(entry.status for entry in cloud.log[since:] if f"{entry.method} {entry.path}" == what)


def test_a_create_whose_answer_was_lost_is_adopted(cloud: StandIn, make: Make) -> None:
    """Asked for again, it is refused since its name is taken; it boots with what it was told, so nothing is rebuilt."""
    provider, since = make(), len(cloud.log)
    cloud.misbehave(Fault(kind=Kind.DROP, **ORDER))
    cloud.misbehave(Fault(kind=Kind.DROP, method="POST", path="^/ssh_keys$"))
    server = provider.create(a_request())
    assert _statuses(cloud, since, "POST /servers") == {201: 1, 409: 1}
    assert _statuses(cloud, since, "POST /ssh_keys") == {201: 1, 409: 1}
    assert cloud.left()["servers"] == [server.name]
    assert not any("rebuild" in entry.path for entry in cloud.log[since:])
    provider.connect(server).close()
    provider.destroy(server)


def test_a_server_of_somebody_else_is_not_adopted(cloud: StandIn, make: Make) -> None:
    """Neither one that isn't labelled as disposable, nor another run's; it stays as it is."""
    provider = make()
    request = a_request()
    server = provider.create(request)
    taken = replace(a_request(), run=request.run, labels={"run": "another"})
    with pytest.raises(InfraError, match=rf"^{request.name} is taken by a server of another run: {request.run}$"):
        provider.create(taken)
    data = cloud.cloud.servers[int(server.facts["id"])].data
    data["labels"] = {**data["labels"], "disposable": "false"}
    for call in (lambda: provider.create(request), lambda: provider.destroy(server), lambda: provider.blank(server)):
        with pytest.raises(InfraError, match=rf"{server.name} is left alone: it isn't labelled"):
            call()
    resource = next(one for one in provider.resources() if one.name == server.name)
    with pytest.raises(InfraError, match="is left alone"):
        provider.remove(resource)
    data["labels"] = {}
    with pytest.raises(InfraError, match="is left alone"):
        provider.destroy(server)
    assert cloud.left()["servers"] == [server.name]
    provider.connect(server).close()
    data["labels"] = dict(resource.labels) | {"disposable": "true"}
    provider.destroy(server)


def test_where_there_is_no_room_the_next_place_is_tried(cloud: StandIn, make: Make) -> None:
    """Then the next type; and what was refused isn't asked for again for a while, by no slot."""
    provider, since, said = make({"server_type": "cx23,cpx11", "location": "fsn1,nbg1"}), len(cloud.log), list[str]()
    cloud.misbehave(Fault(kind=Kind.UNAVAILABLE, server_type="cx23", times=None))
    first = provider.create(a_request(say=said.append))
    second = provider.create(a_request())
    assert (first.facts["type"], first.facts["location"]) == ("cpx11", "fsn1")
    assert _statuses(cloud, since, "POST /servers") == {412: 2, 201: 2}
    assert said == [
        f"{first.name}: cx23 in {place}: the requested resource is currently unavailable" for place in ("fsn1", "nbg1")
    ]
    provider.destroy(first)
    provider.destroy(second)
    cloud.misbehave(Fault(kind=Kind.UNAVAILABLE, times=None))
    with pytest.raises(InfraError, match=r"no server is to be had: .*cpx11 in nbg1: the requested resource"):
        provider.create(a_request())


def test_a_limit_of_the_project_is_said_to_be_one(cloud: StandIn, make: Make) -> None:
    """It is asked once: no other type or place helps."""
    provider, since = make(), len(cloud.log)
    cloud.misbehave(limit_exceeded(times=None))
    with pytest.raises(InfraError, match=r"\(resource_limit_exceeded\): the project has as many as it may"):
        provider.create(a_request())
    assert _statuses(cloud, since, "POST /servers") == {403: 1}


def test_what_does_not_start_is_deleted_and_another_one_tried(cloud: StandIn, make: Make) -> None:
    """It would stay behind, off, and cost as much."""
    provider, said = make(), list[str]()
    cloud.misbehave(Fault(kind=Kind.FAILED_ACTION, command="start_server"))
    request = a_request(say=said.append)
    server = provider.create(request)
    assert cloud.left()["servers"] == [server.name]
    assert said == [
        f"{server.name}: cx23 in fsn1: {server.name}: the action start_server failed: Action failed (action_failed)"
    ]
    provider.destroy(server)


def test_refusals_that_pass_are_waited_for(cloud: StandIn, make: Make) -> None:
    """Locked, too many requests, a gateway that is down: none of them costs a server."""
    provider = make()
    cloud.misbehave(rate_limited(method="POST", path="^/servers$"))
    cloud.misbehave(Fault(kind=Kind.REFUSE, status=502, code="bad_gateway", times=2, **ORDER))
    cloud.misbehave(locked(method="POST", path="rebuild$", times=2))
    cloud.misbehave(locked(method="DELETE", path="^/servers/", times=2))
    cloud.misbehave(Fault(kind=Kind.DROP, method="DELETE", path="^/servers/"))
    server = provider.blank(provider.create(a_request()))
    cloud.misbehave(Fault(kind=Kind.OUTAGE, seconds=25))
    provider.destroy(server)
    assert cloud.plan.left() == []
    assert cloud.left()["servers"] == []


def test_an_outage_ends_a_call_in_time(cloud: StandIn, make: Make) -> None:
    """And says what the API said; it doesn't outlast the time that a call has."""
    provider = make(call=1.0)
    cloud.misbehave(Fault(kind=Kind.OUTAGE, seconds=1800))
    with pytest.raises(InfraError, match=r"the API refused: the stand-in was told to refuse this \(unavailable\)"):
        provider.create(a_request())
    cloud.behave()
    cloud.misbehave(Fault(kind=Kind.CLOSED, seconds=1800))
    with pytest.raises(InfraError, match="no answer from the API"):
        list(provider.owned())


def test_sshd_that_comes_late_or_with_another_key_first_is_waited_for(cloud: StandIn, make: Make) -> None:
    """Never by trusting what is shown."""
    provider = make()
    cloud.misbehave(Fault(kind=Kind.LATE_SSH, seconds=20))
    cloud.misbehave(Fault(kind=Kind.OTHER_KEY, seconds=40))
    server = provider.create(a_request())
    provider.connect(server).close()
    provider.destroy(server)
    assert cloud.plan.struck[Kind.LATE_SSH] == cloud.plan.struck[Kind.OTHER_KEY] == 1


def test_another_host_key_is_never_trusted(cloud: StandIn, make: Make) -> None:
    """After its time the server is deleted, and what was left to read of it is said: who answered in its place."""
    provider, said = make(ssh=3.0), list[str]()
    cloud.misbehave(Fault(kind=Kind.OTHER_KEY))
    with pytest.raises(InfraError, match=r"no SSH within 3 s: Host key is not trusted"):
        provider.create(a_request(say=said.append))
    assert "action start_server: success\n" in said[0]
    assert "the SSH server shows another host key, SHA256:" in said[0]
    cloud.misbehave(Fault(kind=Kind.INITIALIZING))
    with pytest.raises(InfraError, match=r"no SSH within 3 s: .*(refused|failed)"):
        provider.create(a_request(say=said.append))
    assert "cx23 in fsn1, image debian-12: initializing\n" in said[1]
    assert "no SSH server answers: [Errno 111]" in said[1]
    assert cloud.left()["servers"] == []


def test_a_worker_needs_no_token(cloud: StandIn, make: Make) -> None:
    """It connects, and tells of a console what can be told without the API."""
    provider, since = make(), len(cloud.log)
    server = provider.create(a_request())
    worker = make({"steers": False, "credentials": {}})
    asked = len(cloud.log)
    worker.connect(server).close()
    shown = worker.console(server)
    assert shown is not None
    assert shown.endswith("the SSH server shows the host key that it was given for its first boot")
    worker.close()
    assert asked - since > 0
    assert len(cloud.log) == asked
    provider.destroy(server)


def test_a_delete_that_lies_is_found_out(cloud: StandIn, make: Make) -> None:
    """It is asked for again; when that doesn't help either it is said, and no server counts as gone that is listed."""
    provider = make(gone=5.0)
    first, second = provider.create(a_request()), provider.create(a_request())
    cloud.misbehave(Fault(kind=Kind.LYING_DELETE))
    provider.destroy(first)
    assert cloud.left()["servers"] == [second.name]
    cloud.misbehave(Fault(kind=Kind.LYING_DELETE, times=None))
    with pytest.raises(InfraError, match=rf"{second.name} was deleted, and is still listed as running after 5 s"):
        provider.destroy(second)
    cloud.behave()
    provider.destroy(second)


def test_a_rebuild_that_fails_hands_over_nothing(cloud: StandIn, make: Make) -> None:
    """It raises with the API's reason, and leaves the server for the pool to replace."""
    provider = make()
    server = provider.create(a_request())
    cloud.misbehave(Fault(kind=Kind.FAILED_ACTION, command="rebuild_server"))
    with pytest.raises(NotBlankError, match=rf"^{server.name} can't be made blank: .*the action rebuild_server failed"):
        provider.blank(server)
    provider.destroy(server)


def test_an_action_that_never_ends_is_given_up() -> None:
    """With what it is at, and that its server, locked by it, can't be deleted: then it is the reaper's."""
    with StandIn(NoHosts(), speed=50) as cloud:
        provider = pointed_at(cloud, {"location": "fsn1", "server_type": "cx23"}, start=1.0, call=0.5, create=0.5)
        cloud.misbehave(Fault(kind=Kind.ENDLESS_ACTION, command="start_server"))
        with pytest.raises(
            InfraError, match=r"not done within 1 s: start_server is at 0 %; it can't be deleted now: .*locked"
        ):
            provider.create(a_request())


def test_deletes_have_a_part_of_the_quota_to_themselves(cloud: StandIn, make: Make) -> None:
    """Creates end with a reason when only that part is left."""
    provider = make(call=0.5)
    server = provider.create(a_request())
    cloud.api.quota.spend(200)
    list(provider.owned())  # an answer that tells of it
    with pytest.raises(
        InfraError, match=r"the quota of the API is used up: 1\d\d of 3600 requests are left, which are kept"
    ):
        provider.create(a_request())
    provider.destroy(server)
    provider.close()
    assert cloud.left()["servers"] == []
    cloud.api.quota.spend(3600)


def test_sixteen_servers_take_three_requests_each_at_most() -> None:
    """Over their whole life, with what they share: polls, lists, the price list, their run's key."""
    with StandIn(LoopbackHosts(), speed=5) as cloud, ThreadPoolExecutor(16) as threads:
        provider = pointed_at(cloud, gather=0.3, settle=1.0)
        requests = [ServerRequest(run="sixteen", slot=slot) for slot in range(16)]
        servers = list(threads.map(provider.create, requests))
        list(threads.map(provider.destroy, servers))
        provider.close()
        assert sum(cloud.counts().values()) <= 3 * 16, cloud.counts()
        assert not any(cloud.left().values())
