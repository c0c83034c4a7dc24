"""Targets on this machine, for the tests of the line to them and of the provider `local`."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
from testlab_local import places
from testlab_local.provider import LocalProvider
from tools import tool

from pytest_testlab.model import Server, ServerRequest, SshAddress
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


def _account_with_a_shell() -> pwd.struct_passwd:
    """Who a real sshd can run as and log in: this user, or in root's place the account of Debian's PostgreSQL."""
    account = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("postgres")
    if account.pw_shell.endswith(("nologin", "false")):
        pytest.skip(f"no sshd lets {account.pw_name} in: its shell is {account.pw_shell}; run as an account with one")
    return account


@contextmanager
def _openssh() -> Iterator[Server]:
    program, account = tool("sshd", "openssh-server"), _account_with_a_shell()
    folder = Path(tempfile.mkdtemp(prefix="testlab-sshd-"))
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host_key.write_private_key(folder / "host_key")
    client_key.write_public_key(folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        f"UsePAM no\nStrictModes no\nPasswordAuthentication no\nPidFile {folder}/pid\n"
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    own = (
        {} if account.pw_uid == os.geteuid() else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
    )
    sshd = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL, cwd="/", **own
    )
    address = SshAddress(
        host="127.0.0.1",
        port=port,
        user=account.pw_name,
        private_key=client_key.export_private_key().decode(),
        host_key=host_key.export_public_key().decode(),
    )
    try:
        yield Server(name="openssh", provider="ssh", ssh=address, facts={"root": str(folder)})
    finally:
        sshd.terminate()
        sshd.wait(10)
        shutil.rmtree(folder)


@pytest.fixture(params=["local", "openssh"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A target of ours, and one behind a real OpenSSH server, where other things go wrong."""
    if request.param == "local":
        yield request.getfixturevalue("server")
    else:
        with _openssh() as server:
            yield server


@pytest.fixture
def target(any_server: Server) -> Iterator[SshTarget]:
    """A line to it."""
    target = SshTarget(any_server, connect_within_s=10)
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

    def wait(is_so: Callable[[], bool], within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < deadline, f"not so within {within_s} s"
            time.sleep(0.02)

    return wait
