"""`python -m standin.sshds PORT`: the process in which all loopback hosts live; it takes orders by standard input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from testlab_local import places, processes, sshd
from testlab_local.records import Record

from standin import cloudinit

SSH_SHARE = 0.2
"""Of cloud-init's time, until host keys are written and sshd comes."""
GRACE_S = 0.2
KILL_WITHIN_S = 10.0
_CLOUD_INIT = """#!/bin/sh
# All that a loopback host knows of cloud-init.
[ "$1" = status ] || { echo "a loopback host can't do that" >&2; exit 1; }
done=STATE/$TESTLAB_TARGET
case " $* " in *" --wait "*) while [ ! -e "$done" ]; do sleep 0.05; done ;; esac
if [ -e "$done" ]; then echo "status: done"; else echo "status: running"; fi
"""


@dataclass(kw_only=True)
class Host:
    """One host, on or off."""

    spec: dict[str, Any]
    folder: Path
    word: str
    host_key: asyncssh.SSHKey
    fresh: bool = True
    """Its cloud-init hasn't run."""
    acceptors: list[asyncssh.SSHAcceptor] = field(default_factory=list)
    lines: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    booting: asyncio.Task[None] | None = None


class Door(asyncssh.SSHServer):
    """Lets in who is authorized for the account that they ask for."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._line: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Keep the line, to cut it with the power."""
        self._line = conn
        self._host.lines.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the line."""
        if self._line is not None:
            self._host.lines.discard(self._line)

    def begin_auth(self, username: str) -> bool:
        """Nobody comes in without a key."""
        told = cloudinit.read(self._host.spec["user_data"])
        keys = cloudinit.authorized(told, self._host.spec["ssh_keys"]).get(username)
        if keys and self._line is not None:
            self._line.set_authorized_keys(asyncssh.import_authorized_keys(keys))
        return True


class Session(sshd.Target):
    """Runs commands as a local target does, with what stands for cloud-init on its path."""

    def __init__(self, orders: sshd.Orders, record: Record, children: sshd.Children, commands: Path) -> None:
        super().__init__(orders, record, children)
        self._environ["PATH"] = f"{commands}:{self._environ['PATH']}"


class Hosts:
    """All hosts; orders for one host come one after the other."""

    def __init__(self, base: Path, port: int) -> None:
        self._base, self._port = base, port
        self._account = places.account()
        self._children = sshd.Children()
        self._hosts: dict[int, Host] = {}
        self._commands, self._state = base / "bin", base / "state"
        for folder in (self._commands, self._state):
            folder.mkdir(mode=0o755)
        script = self._commands / "cloud-init"
        script.write_text(_CLOUD_INIT.replace("STATE", str(self._state)))
        script.chmod(0o755)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._children.reap)

    async def make(self, spec: dict[str, Any]) -> None:
        """A new folder, or a snapshot's copy."""
        await self.remove(spec["id"])
        folder = self._base / f"server-{spec['id']}"
        if spec["snapshot"] is None:
            places.furnish(folder, self._account)
        else:
            await self._copy(self._base / f"snapshot-{spec['snapshot']}", folder)
        text = cloudinit.host_key(cloudinit.read(spec["user_data"]))
        key = asyncssh.import_private_key(text) if text else asyncssh.generate_private_key("ssh-ed25519")
        self._hosts[spec["id"]] = Host(spec=spec, folder=folder, word=secrets.token_hex(12), host_key=key)

    async def start(self, server: int) -> None:
        """Returns at once."""
        host = self._hosts[server]
        if host.booting is None:
            host.booting = asyncio.create_task(self._boot(host))

    async def _boot(self, host: Host) -> None:
        spec = host.spec
        takes = spec["cloud_init_s"] if host.fresh else 0.0
        await asyncio.sleep(takes * SSH_SHARE + spec["late_s"])
        if host.fresh and spec["other_key_s"]:
            await self._listen(host, asyncssh.generate_private_key("ssh-ed25519"))
            await asyncio.sleep(min(spec["other_key_s"], 1e6))
            await self._hang_up(host)
        await self._listen(host, host.host_key)
        await asyncio.sleep(takes * (1 - SSH_SHARE))
        (self._state / host.word).touch()
        host.fresh = False

    async def _listen(self, host: Host, key: asyncssh.SSHKey) -> None:
        session = self._session(host)
        for address in host.spec["addresses"]:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, self._port))
            listener.listen(64)
            acceptor = await sshd.listen(
                listener, key, server_factory=lambda: Door(host), process_factory=session.handle
            )
            host.acceptors.append(acceptor)

    def _session(self, host: Host) -> Session:
        who = self._account
        record = Record(name=host.spec["name"], run="", word=host.word, user=who.name, folder=str(host.folder))
        orders = sshd.Orders(
            base=str(self._base), record={}, uid=who.uid, gid=who.gid, host_private_key="", client_public_key=""
        )
        return Session(orders, record, self._children, self._commands)

    async def _hang_up(self, host: Host) -> None:
        for acceptor in host.acceptors:
            acceptor.close()
        host.acceptors.clear()
        for line in list(host.lines):
            line.abort()

    async def stop(self, server: int) -> None:
        """Cut the lines and kill all that runs on it."""
        host = self._hosts.get(server)
        if host is None:
            return
        if host.booting is not None:
            host.booting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await host.booting
            host.booting = None
        await self._hang_up(host)
        await asyncio.to_thread(_kill, lambda: _on(host))

    async def remove(self, server: int) -> None:
        """Stop it, and remove its folder."""
        await self.stop(server)
        host = self._hosts.pop(server, None)
        if host is not None:
            await asyncio.to_thread(places.remove, host.folder)

    async def snapshot(self, server: int, snapshot: int) -> None:
        """Copy its folder."""
        await self._copy(self._hosts[server].folder, self._base / f"snapshot-{snapshot}")

    async def forget(self, snapshot: int) -> None:
        """Remove the copy."""
        await asyncio.to_thread(places.remove, self._base / f"snapshot-{snapshot}")

    async def left(self) -> list[str]:
        """Folders of hosts and snapshots."""
        return sorted(path.name for path in self._base.iterdir() if path not in (self._commands, self._state))

    async def _copy(self, source: Path, destination: Path) -> None:
        copying = subprocess.Popen(["cp", "-a", source, destination])
        code = await self._children.watch(copying.pid)
        copying.returncode = code  # reaped by `Children`; keeps Popen from looking for it
        if code:
            raise OSError(f"{source} can't be copied")


def _on(host: Host) -> list[processes.Process]:
    """By its mark, by its folder in the command (nginx writes over its environment), and what descends from those."""
    among = processes.all_processes()
    found = {process.pid: process for process in processes.marked(host.word, among)}
    folder = os.fsencode(host.folder)
    for process in processes.descendants(os.getpid(), among):
        with contextlib.suppress(OSError):
            if folder in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                found[process.pid] = process
    for process in list(found.values()):
        found |= {child.pid: child for child in processes.descendants(process.pid, among)}
    return list(found.values())


def _kill(find: Callable[[], list[processes.Process]]) -> None:
    _, left = processes.kill_all(find, grace_s=GRACE_S, within_s=KILL_WITHIN_S)
    if left:
        raise OSError(f"{len(left)} processes can't be killed")


async def serve(base: Path, port: int) -> None:
    """Take orders until standard input ends."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    hosts = Hosts(base, port)
    reader = asyncio.StreamReader(limit=1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    locks: dict[int, asyncio.Lock] = {}
    doing: set[asyncio.Task[None]] = set()

    async def take_orders() -> None:
        while line := await reader.readline():
            order = json.loads(line)
            what = order["what"]
            number = what.get("server", what.get("spec", {}).get("id", 0))
            task = asyncio.create_task(_carry_out(hosts, order, locks.setdefault(number, asyncio.Lock())))
            doing.add(task)
            task.add_done_callback(doing.discard)
        over.set()

    taking = asyncio.create_task(take_orders())
    await over.wait()
    taking.cancel()


async def _carry_out(hosts: Hosts, order: dict[str, Any], lock: asyncio.Lock) -> None:
    said: dict[str, Any] = {"number": order["number"], "error": None, "result": None}
    try:
        async with lock:
            said["result"] = await getattr(hosts, order["do"])(**order["what"])
    except Exception as error:  # noqa: BLE001 - whoever ordered it must hear of anything
        said["error"] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve, and leave nothing."""
    processes.become_subreaper()
    base = Path(tempfile.mkdtemp(prefix="tl-standin-", dir="/tmp"))
    base.chmod(0o711)
    try:
        asyncio.run(serve(base, int(sys.argv[1])))
    finally:
        own = os.getpid()
        _kill(lambda: processes.descendants(own, processes.all_processes()))
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
