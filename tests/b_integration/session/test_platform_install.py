"""In a night the install of the platform is a test itself; what stands on it is told why it can't run."""

from __future__ import annotations

import pytest
from sessions import LabSession

PLATFORM = """
    from pathlib import Path

    from pytest_testlab.errors import DeployFailed, InfraError
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    def installed():
        return Path("installed").read_text().count("test")

    class Shelf(MemoryPlatform):
        name = "shelf"

        def install(self, target, observe):
            is_the_test = bool(observe.sections())
            with Path("installed").open("a") as file:
                file.write(f"{'test' if is_the_test else 'use'}-{target.server.name[-1]}.{target.server.epoch} ")
            MORE
            return {"shelf": "7"}

    @hookimpl
    def testlab_platforms():
        return {"shelf": lambda settings: Shelf()}
"""
NIGHT = ("--testlab-mode", "nightly", "--testlab-platform", "shelf")
TEST = "platform::install"


def prepare(lab: LabSession, more: str = "") -> None:
    lab.conftest(PLATFORM.replace("MORE", more))
    lab.entry("alpha")
    lab.module("test_door.py", "def test_it(target):\n    pass\n")


def installed(lab: LabSession) -> list[str]:
    return (lab.pytester.path / "installed").read_text().split()


@pytest.mark.parametrize("pool", [1, 2])
def test_it_is_run_from_scratch_once(lab: LabSession, pool: int) -> None:
    """It comes first, on a blank target, with its time and a bundle; its target isn't installed again."""
    prepare(lab)
    said = lab.run(*NIGHT, pool=pool)
    assert said.ret == 0
    ended = [line.split()[2:5] for line in said.outlines if line.startswith("  ") and "/4 " in line]
    assert ended[0] == ["platform", "·", "install"]
    result = lab.results()[TEST]
    assert (result.status, result.suite, result.reason) == ("passed", "platform", "shelf 7")
    assert "install" in lab.attempt(TEST, 1).phases
    assert b"installed: shelf 7" in (lab.section(TEST, 1, "install") or b"")
    places = installed(lab)
    assert [place[:4] for place in places].count("test") == 1
    assert len({place.partition("-")[2] for place in places}) == len(places) <= pool


@pytest.mark.parametrize("pool", [1, 2])
def test_what_stands_on_it_is_blocked(lab: LabSession, pool: int) -> None:
    """A platform that can't be installed is a failure of its own; the night ends at once, and says why of each test."""
    prepare(lab, "raise DeployFailed('front door', 'the shelf fell down')")
    result = lab.run(*NIGHT, pool=pool)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*= 1 failed, 3 blocked in *"])
    found = lab.results()
    assert found[TEST].headline[0] == (
        "deploy-failure: the install of the platform failed at front door: the shelf fell down"
    )
    for test in set(found) - {TEST}:
        reason = "blocked: platform::install failed (deploy-failure)"
        assert (found[test].status, found[test].reason) == ("blocked", reason)
        assert lab.section(test, found[test].attempt, "reason") == f"{reason}\n".encode()
    assert lab.latest().state == "finished"


@pytest.mark.parametrize("pool", [1, 2])
def test_an_infrastructure_fault_is_tried_again_from_scratch(lab: LabSession, pool: int) -> None:
    """On a target made blank for it; the others wait, and run then."""
    prepare(lab, "if is_the_test and installed() == 1: raise InfraError('no line')")
    assert lab.run(*NIGHT, pool=pool).ret == 0
    assert lab.results()[TEST].status == "flaky"
    assert set(lab.statuses().values()) == {"flaky", "passed"}
    first, second = (place for place in installed(lab) if place.startswith("test"))
    assert first != second
