"""A real OpenSSH server on a loopback port, as an account without rights, with a host key of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from pytest_testlab.model import SshAddress

SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True, kw_only=True)
class Sshd:
    """Where it answers, who one is there, and the folder that is that account's."""

    address: SshAddress
    account: pwd.struct_passwd
    folder: Path


@contextmanager
def sshd() -> Iterator[Sshd]:
    """A server for as long as it is used; ends the benchmark where there can be none."""
    account = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("postgres")
    if not Path(SSHD).exists() or account.pw_shell.endswith(("nologin", "false")):
        sys.exit(f"this benchmark needs {SSHD}, and an account with a shell ({account.pw_name} has {account.pw_shell})")
    folder = Path(tempfile.mkdtemp(prefix="tl-sshd-", dir="/tmp"))
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host_key.write_private_key(folder / "host_key")
    client_key.write_public_key(folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL, cwd="/", **as_account(account)
    )
    try:
        _answers(port)
        yield Sshd(address=_address(port, account, host_key, client_key), account=account, folder=folder)
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def as_account(account: pwd.struct_passwd) -> dict[str, object]:
    """What makes `Popen` start a process as the account."""
    if account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _address(
    port: int, account: pwd.struct_passwd, host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey
) -> SshAddress:
    return SshAddress(
        host="127.0.0.1",
        port=port,
        user=account.pw_name,
        private_key=client_key.export_private_key().decode(),
        host_key=host_key.export_public_key().decode(),
    )


def _answers(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
