"""Targets that can't be had cost the run only themselves, down to the minimum that it is worth."""

from __future__ import annotations

import pytest
from sessions import LabSession

REFUSING = """
    from pytest_testlab.errors import InfraError
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryProvider

    class Refusing(MemoryProvider):
        def create(self, request):
            if request.slot >= {granted}:
                raise InfraError(f"no capacity for slot {{request.slot}}")
            return super().create(request)

    @hookimpl
    def testlab_providers():
        return {{"refusing": lambda settings: Refusing()}}
"""


def refusing(lab: LabSession, granted: int) -> LabSession:
    lab.conftest(REFUSING.format(granted=granted))
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name)
    return lab


def test_a_target_that_fails_to_come_up_costs_itself(lab: LabSession) -> None:
    """With the minimum left, everything is run on the others."""
    result = refusing(lab, 2).run("--testlab-min-pool", "2", pool=3, provider="refusing")
    assert result.ret == 0, result.stdout.str()
    assert set(lab.statuses().values()) == {"passed"}
    result.stdout.fnmatch_lines(["*slot 2 is out of the run: no capacity for slot 2*"])


def test_below_the_minimum_the_run_is_given_up(lab: LabSession) -> None:
    """Exit code 6, with all reasons, on the terminal and in the store."""
    result = refusing(lab, 1).run("--testlab-min-pool", "2", pool=3, provider="refusing")
    assert result.ret == 6, result.stdout.str()
    run = lab.latest()
    assert (run.state, run.exit_code) == ("aborted", 6)
    assert run.say.startswith("1 of 3 targets can be had, and --testlab-min-pool is 2: no capacity for slot 1")
    assert run.say in result.stdout.str()


@pytest.mark.parametrize("pool", [1, 3])
def test_a_minimum_above_the_pool_is_refused(lab: LabSession, pool: int) -> None:
    """In one line, before anything is started."""
    lab.entry("alpha")
    result = lab.run("--testlab-min-pool", "4", pool=pool)
    assert result.ret == 4
    told = f"--testlab-min-pool 4 is more than --testlab-pool {pool}: no run could begin"
    result.stderr.fnmatch_lines([f"*{told}*"])
    assert lab.count() == 0
