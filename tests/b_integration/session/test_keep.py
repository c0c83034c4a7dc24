"""Servers that outlive their run, and runs on them, as a user has them; on the provider `local`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sessions import LabSession

from pytest_testlab.cli import main

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
    for server in servers():  # of this lab's own home: others' servers are none of this test's business
        command("servers", "release", server["name"], "--force")


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and output of `testlab`, in this process: a new one would take longer to start than to answer."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        return main(arguments), out.getvalue()


def servers() -> list[dict[str, Any]]:
    code, said = command("servers", "--json")
    assert code == 0, said
    found: list[dict[str, Any]] = json.loads(said)
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
    (server,) = servers()
    assert (server["state"], server["kept"], server["test"]) == ("kept", "failed", "alpha/testlab.toml::check")
    assert 3.9 * 3600 < server["expires_in_s"] <= 4 * 3600
    (line,) = [line.strip() for line in done.outlines if line.strip().startswith("ssh ")]
    assert server["ssh"] == line
    typed = subprocess.run([*shlex.split(line), "echo", "here"], capture_output=True, check=False, timeout=60)
    assert typed.stdout == b"here\n", typed.stderr

    changed = command("diff", "--json")
    again = kept.testlab("run", "--on", server["name"], "beta")
    assert again.ret == 0, again.stdout.str()
    assert kept.latest().mode == "on-server"
    assert {result.target for result in kept.results().values()} == {server["name"]}
    assert command("diff", "--json") == changed
    assert [found["state"] for found in servers()] == ["kept"]

    code, said = command("servers", "release", server["name"][:-1] + "7")
    assert (code, f"did you mean {server['name']}?" in said) == (2, True)
    assert command("servers", "extend", server["name"], "2h")[0] == 0
    assert servers()[0]["expires_in_s"] > 5.9 * 3600
    assert command("servers", "release", server["name"])[0] == 0
    assert servers() == []
    assert command("servers", "release", server["name"])[0] == 2
    assert not (Path(os.environ["TESTLAB_HOME"]) / "kept" / server["name"]).exists()
