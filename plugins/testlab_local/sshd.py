"""The SSH server of one local target, a process of its own below the target's guard.

It serves as long as standard input stays open, keeps its own rights, and starts commands as the target's account. Where
its target is labelled as kept, it goes on after that until the target expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import asyncssh

from pytest_testlab.errors import InfraError
from testlab_local import environment, ports, processes, records
from testlab_local.records import Record

log = logging.getLogger("testlab_local.sshd")
LINGER_S = 0.5
"""For output to end after its command has; a daemon may have kept the pipe."""

PIECE = 64 * 1024
SHELL = "exec /bin/sh -i"
"""What somebody gets who asks for no command; without a terminal of its own."""
LOOK_S = 1.0
"""How often the server of a kept target looks whether it is to go on."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What the provider says over standard input."""

    base: str
    record: dict[str, Any]
    uid: int
    gid: int
    host_private_key: str
    client_public_key: str


class Children:
    """Starts commands and reaps whatever ends: they, and the orphans that a subreaper inherits."""

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Future[int]] = {}

    def watch(self, pid: int) -> asyncio.Future[int]:
        """Completes with the child's exit code, 128 + number for a signal."""
        end = asyncio.get_running_loop().create_future()
        self._ends[pid] = end
        return end

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            end = self._ends.pop(pid, None)
            if end is not None and not end.done():
                code = os.waitstatus_to_exitcode(status)
                end.set_result(code if code >= 0 else 128 - code)


class Target:
    """Runs commands for its clients."""

    def __init__(self, orders: Orders, record: Record, children: Children) -> None:
        self._orders = orders
        self._record = record
        self._children = children
        folder = Path(record.folder)
        self._home = environment.home(folder)
        base = environment.machine(os.environ)
        self._environ = environment.of_target(base, folder, record.user, record.word)

    async def handle(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command, from its start until its end or its client's."""
        child = self._start(session.command or SHELL)
        end = self._children.watch(child.pid)
        try:
            await session.redirect(stdout=child.stdout, stderr=child.stderr)
            feeding = asyncio.create_task(_feed(session.stdin, cast("IO[bytes]", child.stdin)))
            gone = asyncio.create_task(session.channel.wait_closed())
            await asyncio.wait((end, gone), return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                await self._finish(session, end.result())
            gone.cancel()
            feeding.cancel()
        finally:
            child.returncode = 0  # reaped by `Children`; keeps Popen from looking for it
            if not end.done():
                self._kill(child.pid)

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        other = self._orders.uid != os.geteuid()
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environ,
            cwd=self._home if self._home.is_dir() else "/",  # a command may have removed it
            start_new_session=True,
            user=self._orders.uid if other else None,
            group=self._orders.gid if other else None,
            extra_groups=() if other else None,
            umask=0o022,
        )

    async def _finish(self, session: asyncssh.SSHServerProcess[bytes], code: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await session.stdout.drain()
                await session.stderr.drain()
        session.exit(code)

    def _kill(self, pid: int) -> None:
        """The client is gone: so must be its command, whatever process groups that made. Daemons live on."""
        among = processes.all_processes()
        for process in [*processes.descendants(pid, among), *filter(None, [among.get(pid)])]:
            processes.send(process, signal.SIGKILL)


async def _feed(source: asyncssh.SSHReader[bytes], sink: IO[bytes]) -> None:
    """Pass a client's input on to its command, and its end once all has been taken.

    asyncssh's own redirection closes the pipe while the last of it is still to be written, if the command is slow.
    """
    number = sink.fileno()
    os.set_blocking(number, False)
    with sink, contextlib.suppress(BrokenPipeError):
        while piece := await source.read(PIECE):
            left = memoryview(piece)
            while left:
                try:
                    left = left[os.write(number, left) :]
                except BlockingIOError:
                    await _writable(number)


async def _writable(number: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(number, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(number)


async def serve(orders: Orders, record: Record) -> None:
    """Serve until standard input ends or somebody asks to end."""
    loop = asyncio.get_running_loop()
    children, over = Children(), asyncio.Event()
    loop.add_signal_handler(signal.SIGCHLD, children.reap)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    alone = asyncio.Event()

    def heard() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            alone.set()

    loop.add_reader(0, heard)
    listener, block = ports.claim()
    target = Target(orders, record, children)
    await listen(
        listener,
        asyncssh.import_private_key(orders.host_private_key),
        authorized_client_keys=asyncssh.import_authorized_keys(orders.client_public_key),
        process_factory=target.handle,
    )
    record = _announced(record, listener.getsockname()[1], block)
    records.write(Path(orders.base), record)
    sys.stdout.write(json.dumps(asdict(record)) + "\n")
    sys.stdout.flush()
    outliving = asyncio.create_task(_outlive(alone, Path(orders.base), record, over))
    await over.wait()
    outliving.cancel()


async def listen(listener: socket.socket, host_key: asyncssh.SSHKey, **more: Any) -> asyncssh.SSHAcceptor:
    """Serve commands, by public key only; `more` says who may come in and what becomes of a command."""
    return await asyncssh.listen(
        sock=listener,
        server_host_keys=[host_key],
        config=None,
        encoding=None,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        gss_host=None,
        password_auth=False,
        kbdint_auth=False,
        compression_algs=None,
        login_timeout=15,
        keepalive_interval=15,
        keepalive_count_max=3,
        **more,
    )


async def _outlive(alone: asyncio.Event, base: Path, record: Record, over: asyncio.Event) -> None:
    """Once nobody is left whose target this is: end at once, or when it expires, if it is labelled as kept."""
    await alone.wait()
    while records.is_kept(base, record):
        await asyncio.sleep(LOOK_S)
    over.set()


def _announced(record: Record, port: int, block: range) -> Record:
    me = processes.look_up(os.getpid())
    if me is None:
        raise InfraError("/proc doesn't show this process; local targets need Linux with /proc")
    return replace(record, port=port, ports=f"{block[0]}-{block[-1]}", pid=me.pid, started=me.started)


def run(told: Mapping[str, Any]) -> int:
    """Serve as the orders say; returns the exit code."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    orders = Orders(**told)
    try:
        asyncio.run(serve(orders, Record(**orders.record)))
    except Exception:
        log.exception("the target's SSH server ended")
        return 1
    return 0
