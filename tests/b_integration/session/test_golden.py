"""A night over a cloud in memory: its platform is installed once, and its other targets start from that."""

from __future__ import annotations

from pathlib import Path

import pytest
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import attempts, runs

SUPPORT = Path(__file__).parents[2] / "support"
CLOUD = f"""
    import sys
    sys.path.insert(0, {str(SUPPORT)!r})

    from cloud import Cloud, FreezingCloud
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    class Counting(MemoryPlatform):
        name = "counting"

        def install(self, target, observe):
            with open("installed", "a") as file:
                file.write(f"{{target.server.snapshot or 'bare'}} ")
            return {{"counting": "1"}}

    @hookimpl
    def testlab_providers():
        return {{"icy": lambda settings: FreezingCloud(Cloud())}}

    @hookimpl
    def testlab_platforms():
        return {{"counting": lambda settings: Counting()}}
"""
NIGHT = ("--testlab-mode", "nightly", "--testlab-platform", "counting", "--testlab-golden")


@pytest.mark.parametrize("pool", [1, 2])
def test_a_night_installs_once_from_scratch(lab: LabSession, store: StoreHandle, pool: int) -> None:
    """`platform::install` runs on a bare target, and all after it on what was made of that; the proofs say so."""
    lab.conftest(CLOUD)
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name)
    done = lab.run(*NIGHT, "always", pool=pool, provider="icy")
    assert done.ret == 0
    first, *others = (lab.pytester.path / "installed").read_text().split()
    assert first == "bare"
    assert others.count("bare") <= 1  # the frozen one itself, looked at again
    assert "snapshot-0" in others
    with store.engine.connect() as connection:
        said = (attempts.transcript(connection, "latest") or b"").decode()
        proofs = [dict(target.proof) for target in runs.targets(connection, "latest")]
    assert said.count("golden snapshot snapshot-0 made of memory-") == 1
    assert len(proofs) == pool
    started = [proof.get("golden snapshot") or proof["frozen"] for proof in proofs]  # the latter: not blanked since
    assert any(how.startswith("snapshot-0, digest ") for how in started)
    assert all("snapshot-0" in how for how in started)
    assert lab.latest().cost_eur is not None


def test_it_can_be_turned_off(lab: LabSession) -> None:
    """Then every target is installed from scratch."""
    lab.conftest(CLOUD)
    lab.entry("alpha")
    assert lab.run(*NIGHT, "no", provider="icy").ret == 0
    assert set((lab.pytester.path / "installed").read_text().split()) == {"bare"}
