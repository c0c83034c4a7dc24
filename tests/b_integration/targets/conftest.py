"""Targets on this machine, for the tests of the line to them and of the provider `local`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inventories import sshds
from testlab_local import places
from testlab_local.provider import LocalProvider

from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.target.ssh import SshTarget


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A lab of the test's own; what is left of its targets' folder goes with it."""
    settings = Settings(home=str(tmp_path / "home"))
    yield settings
    shutil.rmtree(places.base(tmp_path / "home"), ignore_errors=True)


@pytest.fixture
def provider(settings: Settings) -> Iterator[LocalProvider]:
    """A provider whose targets are all gone afterwards."""
    provider = LocalProvider(settings)
    yield provider
    for server in provider.owned():
        provider.destroy(server)


@pytest.fixture
def server(provider: LocalProvider) -> Server:
    """One local target."""
    return provider.create(ServerRequest(run="r", slot=0))


@pytest.fixture(params=["local", "openssh"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A target of ours, and one behind a real OpenSSH server, where other things go wrong."""
    if request.param == "local":
        yield request.getfixturevalue("server")
    else:
        with sshds(1) as [sshd]:
            yield Server(name="openssh", provider="ssh", ssh=sshd.address, facts={"root": str(sshd.folder)})


@pytest.fixture
def target(any_server: Server) -> Iterator[SshTarget]:
    """A line to it."""
    target = SshTarget(any_server, connect_within_s=30)
    yield target
    target.close()


def _running(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # gone meanwhile
                continue
    return found


@pytest.fixture
def running() -> Callable[[str], list[int]]:
    """The processes on this machine whose command line holds a word."""
    return _running


@pytest.fixture
def soon() -> Callable[..., None]:
    """Wait until something is so; fails after its time."""

    def wait(is_so: Callable[[], bool], within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < deadline, f"not so within {within_s} s"
            time.sleep(0.02)

    return wait
