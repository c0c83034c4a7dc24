"""A server that the lab reaches by IPv6, as one behind a jump host may be."""

from __future__ import annotations

import copy
import socket
from dataclasses import replace

import pytest

from pytest_testlab.catalog.checks import ask_as_a_stranger


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6, not even on loopback")
def test_the_front_door_is_open_to_ipv6(bench):
    """An app answers there, is probed there, and the platform goes on to know whose it is."""
    server = bench.target.server
    six = copy.copy(bench.target)
    six.server = replace(
        server,
        ssh=replace(server.ssh, host="::1"),
        facts={**server.facts, "root": f"{server.facts['root']}/six", "ports": _other_ports(server.facts["ports"])},
    )
    other = replace(bench, target=six, deployments=[])
    other.platform.install(six, other.observe)
    deployment = other.deploy()
    try:
        assert deployment.front_door.host == "::1"
        assert other.get(deployment).body.startswith(b"hello from ")
        assert other.platform.listens(six, deployment) is None
        ask_as_a_stranger(other.platform, deployment, other.observe)
        facts = other.probe(deployment)
        assert facts.front_door is not None
        assert (facts.front_door.address, facts.front_door.status) == (f"[::1]:{deployment.front_door.port}", 200)
    finally:
        other.platform.destroy(six, deployment)
        six.run(f"nginx -p {six.server.facts['root']}/front -c nginx.conf -s quit", timeout_s=20)


def _other_ports(ports: str) -> str:
    """The second half of the target's range: the first one is its own platform's."""
    first, _, last = ports.partition("-")
    middle = (int(first) + int(last)) // 2
    return f"{middle}-{last}"
