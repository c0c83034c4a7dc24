"""The Python API on real sessions and a real store."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from testlab_local.provider import LocalProvider
from tools import ALONE

import pytest_testlab
from pytest_testlab import api
from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import ServerRequest, SshAddress
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle

ENTRY = '[app]\nname = "{name}"\n[build]\ncommands = ["{build}"]\n[run]\ncommand = "true"\n'
STOPS = """
import os
import signal


def pytest_runtest_call(item):
    os.kill(os.getpid(), signal.SIGTERM)
"""
CHECK = '[[checks]]\ncommand = "true"\n'


@pytest.fixture
def catalog(tmp_path: Path, store: StoreHandle, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry that passes, in a project whose settings name nothing."""
    monkeypatch.setenv("TESTLAB_DATABASE_URL", store.url)
    monkeypatch.setenv("TESTLAB_HOME", str(lab_home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = {' '.join(ALONE)} -p no:cacheprovider\n")
    write(tmp_path, "shop", "true")
    return tmp_path


def write(folder: Path, name: str, build: str) -> None:
    """An entry with a build and a check."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "testlab.toml").write_text(ENTRY.format(name=name, build=build) + CHECK)


def test_a_night_from_python(catalog: Path) -> None:
    """What `run` returns is what the store has, and `query` tells of it as the commands do."""
    first = pytest_testlab.run(catalog, provider="memory")
    assert (first.ok, first.exit_code, first.failures) == (True, 0, ())
    assert first.run.counts == {"passed": 2}
    assert first.run.trigger.startswith("cli:")
    assert "2 passed" in first.output

    write(catalog, "shop", "exit 3")
    second = pytest_testlab.run(catalog, provider="memory", pool=2, arguments=["-v"])
    assert (second.ok, second.exit_code) == (False, 1)
    (failure,) = second.failures
    assert (failure.test, failure.failure_class) == ("shop/testlab.toml::install", "build-failure")

    with pytest_testlab.query() as store:
        assert [run.run for run in store.runs()] == [second.run.run, first.run.run]
        assert [run.run for run in store.runs(limit=1, mode="cli")] == [second.run.run]
        assert store.run() == store.run(second.run.run) == second.run
        assert {result.status for result in store.results(first.run.run)} == {"passed"}
        changed = store.diff()
        assert changed is not None
        assert [item.test for item in changed.newly_failing] == [failure.test]
        why = store.why(failure.test)
        assert why is not None
        assert why.result.headline == failure.headline
        before = store.why(failure.test, run=first.run.run)
        assert before is not None
        assert before.result.status == "passed"
        reason = store.section("shop/testlab.toml::check", "reason")
        assert reason is not None
        assert b"install failed" in reason
        history = store.history(failure.test)
        assert history is not None
        assert [cell.status for cell in history.strip] == ["passed", "failed"]


def test_what_is_not_there_is_none(catalog: Path) -> None:
    """Reads of an empty store, and of names that it doesn't know."""
    with pytest_testlab.query() as store:
        assert (store.runs(), store.results(), store.run(), store.diff()) == ([], [], None, None)
        assert (store.why("a::b"), store.section("a::b", "app"), store.history("a::b")) == (None, None, None)


def test_no_run_is_an_error_with_the_reason(catalog: Path) -> None:
    """What the session said when there was no run to look up."""
    with pytest.raises(UsageError, match=r"(?s)exit code 4 before it had a run:.*no provider is called 'memry'"):
        pytest_testlab.run(catalog, provider="memry")


def test_a_run_that_is_stopped(catalog: Path) -> None:
    """A session that ends early has its result as well, with what it has."""
    (catalog / "conftest.py").write_text(STOPS)
    result = pytest_testlab.run(catalog, provider="memory")
    assert (result.run.state, result.exit_code, result.ok) == ("interrupted", 2, False)
    assert {one.status for one in result.results} == {"not_run"}


def test_time_is_bounded() -> None:
    """After `timeout_s` the session is asked to end, as at a SIGTERM; its own exit code is what counts."""
    asked = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(2)); time.sleep(600)"
    with tempfile.TemporaryFile() as log:
        code = api._session([sys.executable, "-c", asked], os.environ, log, 0.5)
    assert code in (2, -signal.SIGTERM)  # the latter where it hadn't begun yet


def test_collect_from_a_target(tmp_path: Path) -> None:
    """A bundle of a server as it is now, over SSH or through a provider's own line; secrets are masked."""
    provider = LocalProvider(Settings(home=str(tmp_path / "home")))
    server = provider.create(ServerRequest(run="r", slot=0))
    try:
        assert isinstance(server.ssh, SshAddress)
        bundle = pytest_testlab.collect(server.ssh, secrets=["resources"])
        sections = {section.name: section for section in bundle.sections}
        assert {"journald", "resources", "dns"} <= set(sections)
        assert b"load" in sections["resources"].text
        assert (bundle.verdict, bundle.headline) == (None, ())
    finally:
        provider.destroy(server)
    with pytest.raises(InfraError):
        pytest_testlab.collect(server.ssh, within_s=1)
