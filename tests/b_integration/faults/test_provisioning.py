"""A run that gets no targets, or dies while it waits for them, leaves how far it came."""

from __future__ import annotations

import json
import os
import signal

import pytest
from faulty import Catalog, within

PROVIDER = """
import time
from pathlib import Path
from pytest_testlab.errors import InfraError
from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.testing import MemoryProvider

HERE = Path(__file__).parent


class Telling(MemoryProvider):
    def create(self, request):
        request.say(f"asking for a server in the north for slot {request.slot}, with the key correct-horse-battery")
        if (HERE / "slow").exists():
            (HERE / f"asked-{request.slot}").touch()
            time.sleep(100)
        if (HERE / "full").exists():
            request.say("its console:\\nKernel panic - not syncing")
            raise InfraError(f"no capacity for slot {request.slot} (correct-horse-battery)")
        return super().create(request)

    def blank(self, server):
        raise InfraError("still dirty")

    def console(self, server):
        return f"the last words of {server.name}\\nare these"


@hookimpl
def testlab_providers():
    return {"telling": lambda settings: Telling()}
"""


@pytest.fixture
def telling(catalog: Catalog) -> Catalog:
    with (catalog.folder / "conftest.py").open("a") as file:
        file.write(PROVIDER)
    catalog.entries("alpha", "beta")
    catalog.options = ("--testlab-provider", "telling")
    catalog.env["TESTLAB_SECRET_KEY_OF_THE_NORTH"] = "correct-horse-battery"
    return catalog


def test_a_run_without_a_target(telling: Catalog) -> None:
    """What was tried for each slot, the console and the error are the bundle of each test that never ran; masked."""
    (telling.folder / "full").touch()
    code, output = telling.ends(telling.start())
    assert code == 6, output
    said = telling.testlab("why", "alpha", "--section", "provisioning")
    for slot in (0, 1):
        assert f"  slot {slot}  provisioning\n" in said
        assert f"  slot {slot}  asking for a server in the north for slot {slot}, with the key [redacted]\n" in said
        assert f"  slot {slot}  lost: no capacity for slot {slot} ([redacted])\n" in said
    assert "  slot 1  its console:\n              | Kernel panic - not syncing\n" in said
    shown = telling.testlab("why", "beta")
    assert "no target" in shown
    assert "provisioning" in shown
    of_the_run = telling.testlab("why")
    assert of_the_run.startswith("aborted  ")
    assert said in of_the_run
    assert "no target" in telling.testlab("runs")
    assert "correct-horse-battery" not in output + of_the_run


def test_a_run_killed_while_it_waits_for_its_servers(telling: Catalog) -> None:
    """After kill -9 of the whole session, recovery shows what had been asked for, and for which slots it waited."""
    (telling.folder / "slow").touch()
    run = telling.start()
    assert within(60, lambda: all((telling.folder / f"asked-{slot}").exists() for slot in (0, 1)))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(90)
    assert "was left by a session that was killed" in telling.testlab("recover")
    assert telling.statuses() == dict.fromkeys(telling.statuses(), "not_run")
    assert len(telling.statuses()) == 4
    about = json.loads(telling.testlab("why", "--json"))
    assert (about["state"], about["counts"]) == ("aborted", {"not_run": 4})
    assert sum("asking for a server in the north" in line for line in about["provisioning"]) == 2
    assert [line.strip() for line in about["provisioning"][-2:]] == [
        f"slot {slot}  was still provisioning when the run ended" for slot in (0, 1)
    ]


def test_the_console_of_a_server_that_is_given_up(telling: Catalog) -> None:
    """It is asked for before the server goes."""
    with (telling.folder / "conftest.py").open("a") as file:
        file.write("\n\nTelling.blank_between_units = True\n")
    telling.ends(telling.start(pool=1))
    said = telling.testlab("why")
    assert "can't be made blank, and is replaced: still dirty" in said
    assert "the last words of memory-" in said
