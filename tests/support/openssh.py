"""A real OpenSSH server on a loopback port, as an account without rights, with a host key and a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from pytest_testlab.model import SshAddress

START_WITHIN_S = 20.0


@dataclass(kw_only=True)
class Sshd:
    """Where it answers, who one is there, and what it keeps; it can be stopped and started again."""

    program: str
    address: SshAddress
    account: pwd.struct_passwd
    folder: Path
    """The account's own; below it `home` and `tmp`, which are HOME and TMPDIR there."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [self.program, "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stderr=subprocess.DEVNULL,
            cwd="/",
            **as_account(self.account),  # type: ignore[call-overload]
        )
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.address.port), 1).close()
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it; its lines go with it when they are next used."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


def lender() -> pwd.struct_passwd:
    """Who a real sshd can run as and log in: this user, or in root's place the account of Debian's PostgreSQL."""
    return pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("postgres")


def has_a_shell(account: pwd.struct_passwd) -> bool:
    """Whether sshd would let the account in."""
    return not account.pw_shell.endswith(("nologin", "false"))


def as_account(account: pwd.struct_passwd) -> dict[str, object]:
    """What makes `Popen` start a process as the account."""
    if account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


@contextmanager
def openssh(program: str, account: pwd.struct_passwd) -> Iterator[Sshd]:
    """A server for as long as it is used."""
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
        f"SetEnv HOME={folder}/home TMPDIR={folder}/tmp MACHINE={port}\n"
    )
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    address = SshAddress(
        host="127.0.0.1",
        port=port,
        user=account.pw_name,
        private_key=client_key.export_private_key().decode(),
        host_key=host_key.export_public_key().decode(),
    )
    server = Sshd(program=program, address=address, account=account, folder=folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
