"""Servers that outlive their run, and runs on them, as a user has them; on the provider `local`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from sessions import LabSession

BROKEN = """
    [run]
    command = "true"

    [[checks]]
    http = "/"
    contains = "something else"
"""
FINE = BROKEN.replace("something else", "memory")


@pytest.fixture
def kept(lab: LabSession) -> Iterator[LabSession]:
    """A lab whose kept servers are ended with the test."""
    yield lab
    for server in servers(lab):  # of this lab's own home: others' servers are none of this test's business
        lab.testlab("servers", "release", server["name"], "--force")


def servers(lab: LabSession) -> list[dict[str, Any]]:
    result = lab.testlab("servers", "--json")
    assert result.ret == 0, result.stderr.str()
    found: list[dict[str, Any]] = json.loads(result.stdout.str())
    return [server for server in found if server["provider"] == "local"]


def keep(lab: LabSession, *arguments: str, pool: int = 1) -> pytest.RunResult:
    return lab.run("--testlab-platform", "memory", *arguments, pool=pool, provider="local")


def test_the_server_of_a_failure_is_kept_and_can_be_run_on(kept: LabSession) -> None:
    """Another server takes its place; the printed line leads to the kept one; it runs what is asked, in no history."""
    kept.entry("alpha", BROKEN)
    kept.entry("beta", FINE)
    done = keep(kept, "--testlab-keep", "failed")
    assert kept.statuses() == {
        "alpha::install": "passed", "alpha::check": "failed", "beta::install": "passed", "beta::check": "passed",
    }  # fmt: skip
    (server,) = servers(kept)
    assert (server["state"], server["kept"], server["test"]) == ("kept", "failed", "alpha/testlab.toml::check")
    assert 3.9 * 3600 < server["expires_in_s"] <= 4 * 3600
    (line,) = [line.strip() for line in done.outlines if line.strip().startswith("ssh ")]
    assert server["ssh"] == line
    typed = subprocess.run([*shlex.split(line), "echo", "here"], capture_output=True, check=False, timeout=60)
    assert typed.stdout == b"here\n", typed.stderr

    strips = kept.testlab("diff", "--json").stdout.str()
    again = kept.testlab("run", "--on", server["name"], "beta")
    assert again.ret == 0, again.stdout.str()
    assert kept.latest().mode == "on-server"
    assert {result.target for result in kept.results().values()} == {server["name"]}
    assert json.loads(kept.testlab("diff", "--json").stdout.str()) == json.loads(strips)
    assert [found["state"] for found in servers(kept)] == ["kept"]

    unknown = kept.testlab("servers", "release", server["name"][:-1] + "7")
    assert (unknown.ret, f"did you mean {server['name']}?" in unknown.stderr.str()) == (2, True)
    assert kept.testlab("servers", "extend", server["name"], "2h").ret == 0
    assert servers(kept)[0]["expires_in_s"] > 5.9 * 3600
    assert kept.testlab("servers", "release", server["name"]).ret == 0
    assert servers(kept) == []
    assert kept.testlab("servers", "release", server["name"]).ret == 2
    gone = kept.testlab("run", "--on", server["name"], "beta")
    assert (gone.ret, "is called" in gone.stdout.str() + gone.stderr.str()) == (4, True)
