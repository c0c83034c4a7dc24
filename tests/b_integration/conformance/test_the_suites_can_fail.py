"""The conformance suites find what is broken: each promise, broken on purpose, fails the test that states it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from broken import platforms, providers
from testlab_local import places
from testlab_local.provider import LocalProvider

from pytest_testlab.model import ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.target.ssh import SshTarget
from pytest_testlab.testing import PlatformConformance, ProviderConformance

PROMISES = {
    ProviderConformance: {*providers.BAD_PROVIDERS, *providers.BAD_LINES},
    PlatformConformance: {*platforms.BAD_PLATFORMS},
}
KEPT = """
import shared
from broken import {kind}

for promise in {promises}:
    suite = {kind}.suite(promise, shared.target)
    for name in [name for name in dir(suite) if name.startswith("test_") and name != promise]:
        setattr(suite, name, None)
    globals()["Test_" + promise] = suite
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sound target of this machine for all that is broken; the inner session finds it in the module `shared`."""
    home = tmp_path / "home"
    provider = LocalProvider(Settings(home=str(home)))
    server = provider.create(ServerRequest(run="r", slot=0))
    target = SshTarget(server)
    module = ModuleType("shared")
    module.target = target  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "shared", module)
    yield
    target.close()
    provider.destroy(server)
    shutil.rmtree(places.base(home), ignore_errors=True)


@pytest.mark.parametrize("suite", PROMISES)
def test_every_promise_can_be_broken(suite: type) -> None:
    """For each test of the suites there is something that it fails."""
    assert {name for name in dir(suite) if name.startswith("test_")} == PROMISES[suite]


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("suite", PROMISES)
def test_each_broken_promise_is_found(pytester: pytest.Pytester, suite: type) -> None:
    """The test fails in its body: neither is it skipped, nor does it stumble before it comes to its point."""
    kind = "platforms" if suite is PlatformConformance else "providers"
    pytester.makepyfile(KEPT.format(kind=kind, promises=sorted(PROMISES[suite])))
    passed, skipped, failed = pytester.inline_run().listoutcomes()
    assert [report.nodeid for report in (*passed, *skipped)] == []
    assert {report.nodeid.rpartition("::")[2] for report in failed if report.when == "call"} == PROMISES[suite]
