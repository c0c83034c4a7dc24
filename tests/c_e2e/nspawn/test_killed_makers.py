"""Whoever makes hosts is killed by force, anywhere: any other process finds what is left, and removes it."""

from __future__ import annotations

from pathlib import Path

import hostyard
import pytest
from testlab_nspawn.provider import NspawnProvider

from pytest_testlab.options import Settings


@pytest.fixture(scope="module")
def lines(yard: Path) -> int:
    """How many lines of the provider's it takes to make, blank, freeze and remove hosts."""
    done = hostyard.killed_after(1_000_000, yard)
    assert done.returncode == 0, done.stderr
    assert hostyard.on_disk(yard) == []
    return int(done.stdout)


@pytest.mark.parametrize("share", [0.04, 0.2, 0.35, 0.52, 0.7, 0.9])
def test_a_killed_maker_leaves_what_can_be_found_and_removed(lines: int, yard: Path, share: float) -> None:
    """All that there is of its hosts is listed, and one pass over the list leaves nothing, neither shared set-up."""
    done = hostyard.killed_after(int(lines * share), yard)
    while done.returncode == 0 and share > 0.3:  # it polled less this time, and was through before
        share *= 0.8
        done = hostyard.killed_after(int(lines * share), yard)
    assert done.returncode == -9, done.stderr
    units = hostyard.units(yard)
    provider = NspawnProvider(Settings())
    listed = list(provider.resources())
    assert {f"hosts/{found.name}" for found in listed if found.kind == "server"} == {
        path for path in hostyard.on_disk(yard) if path.startswith("hosts/")
    }
    for resource in listed:
        provider.remove(resource)
    assert list(provider.resources()) == []
    assert hostyard.traces(yard, units) == []
    assert hostyard.on_disk(yard) == []
