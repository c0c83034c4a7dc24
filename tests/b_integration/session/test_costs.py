"""What a run cost, where people look for it."""

from __future__ import annotations

import json

import pytest
from sessions import LabSession

PRICED = """
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryProvider

    class Cloud(MemoryProvider):
        eur_per_hour = 0.06

    @hookimpl
    def testlab_providers():
        return {"cloud": lambda settings: Cloud()}
"""


def test_each_server_is_paid_for_the_hour_it_began(lab: LabSession) -> None:
    """Two servers of a minute are two hours: at the end of the run, in the store, and in `testlab runs`."""
    lab.conftest(PRICED)
    lab.entry("one")
    lab.entry("two")
    done = lab.run(pool=2, provider="cloud")
    done.stdout.fnmatch_lines(["*2 targets (cloud)*· 0.12 € ·*"])
    assert lab.latest().cost_eur == pytest.approx(0.12)
    told = json.loads(lab.testlab("runs", "--json").stdout.str())
    assert told[0]["cost_eur"] == pytest.approx(0.12)
    assert "0.12 €" in lab.testlab("runs").stdout.str()
