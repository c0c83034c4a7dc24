"""What a run on real targets leaves behind when everything dies at once, and who removes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sessions import LabSession
from testlab_local import places, records
from testlab_local.provider import LocalProvider

from pytest_testlab import labels
from pytest_testlab.options import Settings

BUILDING = """
[build]
commands = ["touch {marker}; sleep 300"]

[run]
command = "true"
"""


@pytest.fixture
def home(lab: LabSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lab of the test's own; as root its targets' account must pass through to it."""
    home = tmp_path / "home"
    monkeypatch.setenv("TESTLAB_HOME", str(home))
    yield home
    shutil.rmtree(places.base(home), ignore_errors=True)


def kill(pids: list[int]) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def reap(lab: LabSession, *arguments: str) -> dict[str, Any]:
    done = lab.testlab("reap", "--provider", "local", "--json", *arguments)
    assert done.ret == 0, done.stdout.str()
    answer: dict[str, Any] = json.loads(done.stdout.str())
    return answer


@pytest.fixture
def left(lab: LabSession, home: Path, tmp_path: Path) -> records.Record:
    """A target whose run, guard and SSH server were all killed at once, while a build ran on it."""
    marker = Path("/tmp") / f"testlab-building-{os.getpid()}-{tmp_path.name}"
    lab.entry("alpha", BUILDING.format(marker=marker))
    process = lab.start(provider="local")
    try:
        lab.wait_for(str(marker), process)
    finally:
        marker.unlink(missing_ok=True)
    [record] = records.every(places.base(home))
    guard = psutil.Process(record.pid).parent()
    assert guard is not None
    kill([process.pid, guard.pid, record.pid])
    process.communicate()
    assert Path(record.folder).is_dir()
    return record


def test_the_reaper_removes_what_a_killed_run_left(
    lab: LabSession, home: Path, left: records.Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has expired, and not before; without the store, and twice is done."""
    monkeypatch.setenv("TESTLAB_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    [kept] = reap(lab)["kept"]
    assert kept["name"] == left.name
    assert kept["why"].startswith("expires at 20")
    provider = LocalProvider(Settings(home=str(home)))
    [resource] = provider.resources()
    assert resource.labels[labels.RUN] == left.run
    provider.write_labels(resource, {labels.EXPIRES: "1"})
    assert reap(lab, "--dry-run")["deleted"] == [left.name]
    assert Path(left.folder).is_dir()
    assert reap(lab)["deleted"] == [left.name]
    assert not Path(left.folder).exists()
    assert reap(lab) == {"deleted": [], "kept": [], "errors": [], "resources": [], "skipped": []}


def test_recovery_removes_it_at_once(lab: LabSession, left: records.Record) -> None:
    """The run's folder says that nobody works on it any more, and its journal what it had begun to make."""
    done = lab.testlab("recover")
    assert done.ret == 0
    assert f"removed the server {left.name} of local, which was left" in done.stdout.str()
    assert not Path(left.folder).exists()


def test_so_does_the_next_run(lab: LabSession, left: records.Record) -> None:
    """And its transcript says so."""
    lab.entry("alpha", '[run]\nstatic = "."\n\n[[checks]]\nhttp = "/testlab.toml"\ncontains = "app"\n')
    done = lab.run(provider="local")
    assert done.ret == 0, done.stdout.str()
    assert not Path(left.folder).exists()
    transcript = lab.testlab("why").stdout.str()
    assert f"the lab  removed the server {left.name}: a killed run had left it" in transcript
