"""Debian's own command line client, which knows nothing of the lab, drives the stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from standin import StandIn
from tools import tool


@pytest.fixture(scope="module")
def hcloud_cli() -> str:
    return tool("hcloud", "hcloud-cli")


def test_a_servers_life_by_the_command_line(standin: StandIn, hcloud_cli: str) -> None:
    """Create by names, list, address, label, power, rebuild, snapshot, delete: each waits until its action is done."""

    def hcloud(*words: str) -> str:
        done = subprocess.run(
            [hcloud_cli, "--poll-interval", "20ms", *words],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **standin.environ},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = hcloud("server", "create", "--name", "one", "--type", "cx23", "--image", "debian-12", "--location", "nbg1")
    [server] = json.loads(hcloud("server", "list", "-o", "json"))
    assert (server["name"], server["status"], server["image"]["name"]) == ("one", "running", "debian-12")
    assert server["public_net"]["ipv4"]["ip"] in made
    assert f"IPv6 Network: {server['public_net']['ipv6']['ip']}" in made
    assert any(re.fullmatch(r"/actions\?id=\d+&page=1", entry.path) for entry in standin.log)
    hcloud("server", "add-label", "one", "run=r1")
    assert "one" in hcloud("server", "list", "-l", "run=r1", "-o", "noheader")
    hcloud("server", "poweroff", "one")
    hcloud("server", "poweron", "one")
    hcloud("server", "rebuild", "one", "--image", "debian-13")
    hcloud("server", "create-image", "one", "--type", "snapshot")
    assert "debian-13" in hcloud("server", "describe", "one")
    assert len(json.loads(hcloud("primary-ip", "list", "-o", "json"))) == 2
    hcloud("server", "delete", "one")
    [snapshot] = json.loads(hcloud("image", "list", "-t", "snapshot", "-o", "json"))
    hcloud("image", "delete", str(snapshot["id"]))
    assert {entry.status for entry in standin.log} <= {200, 201, 204}
