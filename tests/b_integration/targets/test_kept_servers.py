"""A server that outlives its run: it stands until it expires, and the printed line leads there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testlab_local.provider import LocalProvider

from pytest_testlab import labels
from pytest_testlab.options import Settings
from pytest_testlab.pool import kept

ASKS_FOR_ONE = """
import json, os, sys
from pathlib import Path
from testlab_local.provider import LocalProvider
from pytest_testlab.labels import labels_of, moment
import datetime as dt
from pytest_testlab.model import ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.pool import kept

home, seconds = Path(sys.argv[1]), float(sys.argv[2])
now = dt.datetime.now(dt.UTC)
provider = LocalProvider(Settings(home=str(home)))
server = provider.create(ServerRequest(run="run", slot=0, labels=labels_of(run="run", expires_at=now)))
about = kept.KeptServer(server=server, platform="memory", run="run", why="failed", test="a::install", kept_at=now)
kept.save(home, about)
(found,) = provider.resources()
until = now + dt.timedelta(seconds=seconds)
provider.write_labels(found, {"kept": "failed", "expires": moment(until)})
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))


@pytest.fixture
def left(settings: Settings) -> Iterator[Callable[[float], kept.KeptServer]]:
    """A server that a process keeps for so many seconds, and which is killed then."""
    home = Path(settings.home or "")

    def make(seconds: float) -> kept.KeptServer:
        done = subprocess.run([sys.executable, "-c", ASKS_FOR_ONE, str(home), str(seconds)], check=False, timeout=60)
        assert done.returncode == -9
        (found,) = kept.every(home)
        return found

    yield make
    provider = LocalProvider(settings)
    for resource in provider.resources():
        provider.remove(resource)


def test_a_kept_server_outlives_a_killed_run_and_ssh_leads_there(
    settings: Settings, left: Callable[[float], kept.KeptServer]
) -> None:
    """The line is typed as it is printed; the key is its owner's alone, and the host's key is pinned."""
    home, found = Path(settings.home or ""), left(3600)
    line = kept.ssh_line(home, found)
    assert line is not None
    done = subprocess.run([*shlex.split(line), "echo", "here"], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"here\n"), done.stderr
    typed = subprocess.run(shlex.split(line), input=b"echo by hand\n", capture_output=True, check=False, timeout=60)
    assert typed.stdout == b"by hand\n", typed.stderr
    folder = home / "kept" / found.name
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        ("key", "known_hosts", "server.json"), 0o600
    )
    assert "PRIVATE KEY" not in (folder / "server.json").read_text() + (folder / "known_hosts").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{found.server.ssh.port} ssh-ed25519 AAAA\n")  # type: ignore[union-attr]
    refused = subprocess.run([*shlex.split(line), "true"], capture_output=True, check=False, timeout=60)
    assert refused.returncode == 255
    provider = LocalProvider(settings)
    with_line = provider.connect(found.server)
    assert with_line.run("echo again", timeout_s=30).stdout == b"again\n"
    with_line.close()


def test_a_kept_server_is_gone_once_it_expires(
    settings: Settings, left: Callable[[float], kept.KeptServer], soon: Callable[..., None]
) -> None:
    """By itself, with all that runs on it, as nobody is left to end it."""
    found = left(2)
    folder = Path(found.server.facts["root"])
    soon(lambda: not list(LocalProvider(settings).resources()), 30)
    assert not folder.exists()


def test_what_was_taken_back_ends_with_its_run(settings: Settings) -> None:
    """`kept` = `no` is as good as no label: a label can be written over, and not be taken off."""
    assert not labels.is_kept({labels.KEPT: "no"})
    assert labels.is_kept({labels.KEPT: "always"})
    assert not labels.is_kept({})
