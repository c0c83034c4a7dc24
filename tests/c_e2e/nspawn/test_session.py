"""Whole sessions on hosts of systemd-nspawn: apps on them, their journal in the bundle, and a machine as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hostyard
import pytest
from testlab_nspawn.hosts import Hosts, Order

from pytest_testlab import labels

CATALOG = Path(__file__).parents[3] / "examples" / "catalog"
CHATTY = """
[app]
name = "chatty"

[run]
command = "logger -t chatty the bell rang; exec python3 -m http.server --bind 127.0.0.1 $PORT"

[[checks]]
http = "/"
contains = "testlab.toml"

[[checks]]
command = "systemctl is-active ssh nginx && test $(id -u) = 0"
stdout = "active"
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


class Lab:
    """One session over a few apps, and what is told of it."""

    def __init__(self, home: Path, folder: Path, yard: Path) -> None:
        self.forward = hostyard.FORWARD.read_text()
        self.names = hostyard.names("tl-*")
        self.alone = not hostyard.others()
        self._environ = {**os.environ, "TESTLAB_HOME": str(home), "TESTLAB_NSPAWN_DIR": str(yard)}
        self._folder = folder
        for name in ("apps/field-guide", "demos/backup-drill", "broken/app-crash"):
            shutil.copytree(CATALOG / name, folder / name)
        (folder / "apps/chatty").mkdir()
        (folder / "apps/chatty/testlab.toml").write_text(CHATTY)
        (folder / "pytest.ini").write_text("[pytest]\n")
        self.done = self.call("pytest", "--testlab-provider", "nspawn", "--testlab-pool", "2", "-p", "no:cacheprovider")

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name(command[0])
        return subprocess.run(
            [str(program), *command[1:]],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def section(self, test: str, name: str) -> str:
        return self.call("testlab", "why", test, "--section", name).stdout


@pytest.fixture(scope="module")
def lab(home: Path, yard: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(home, tmp_path_factory.mktemp("catalog"), yard)


def test_apps_run_on_hosts(lab: Lab) -> None:
    """Static and supervised ones behind nginx, as root of a host of their own; what is broken fails with its class."""
    assert lab.done.returncode == 1, lab.done.stdout + lab.done.stderr
    assert "1 failed, 6 passed, 1 blocked" in lab.done.stdout
    said = json.loads(lab.call("testlab", "why", "weather::install", "--json").stdout)
    assert said["class"] == "app-crash", said


def test_the_journal_of_a_host_is_in_the_bundle(lab: Lab) -> None:
    """Of the host that the test ran on: its boot, its sshd, and what the app itself said to the journal."""
    journal = lab.section("chatty::install", "journald")
    assert "chatty[" in journal or "chatty: " in journal, journal
    assert "the bell rang" in journal
    broken = lab.section("weather::install", "journald")
    assert "systemd[1]: Started ssh.service" in broken, broken
    assert "the bell rang" not in broken  # the host was blanked in between, or it is another one


def test_nothing_stays_on_the_machine(lab: Lab, yard: Path) -> None:
    """Neither hosts nor what they shared: mounts, networks, control groups, processes; forwarding is as it was."""
    assert lab.done.returncode == 1
    assert hostyard.on_disk(yard) == []
    assert hostyard.traces(yard, set()) == []
    if lab.alone and not hostyard.others():
        assert hostyard.names("tl-*") <= lab.names
        assert hostyard.FORWARD.read_text() == lab.forward


def test_the_reaper_removes_what_has_expired(lab: Lab, yard: Path) -> None:
    """`testlab reap`, of a run that nobody remembers; what isn't disposable stays, and it says why."""
    hosts = Hosts()
    gone = {labels.MANAGED_BY: labels.OURS, labels.DISPOSABLE: "true", labels.RUN: "r", labels.EXPIRES: "1"}
    hosts.make(Order(name="expired", labels=gone, boot=False))
    hosts.make(Order(name="saved", labels={**gone, labels.DISPOSABLE: "no"}, boot=False))
    done = lab.call("testlab", "reap", "--provider", "nspawn", "--json")
    said = json.loads(done.stdout)
    assert said["deleted"] == ["expired"], (said, done.stderr)
    assert [kept["name"] for kept in said["kept"]] == ["saved"]
    hosts.remove("saved")
    assert hostyard.traces(yard, set()) == []
