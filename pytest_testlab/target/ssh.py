"""A target over SSH: one line, commands and files on channels of it, deadlines that hold on the target itself."""

from __future__ import annotations

import asyncio
import secrets
import signal as signals
import time
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from pytest_testlab.errors import InfraError
from pytest_testlab.model import CommandResult, Server, SshAddress
from pytest_testlab.target import commands
from pytest_testlab.target.archive import pack
from pytest_testlab.target.loop import wait_for

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes kept of each of standard output and error: the last ones."""
OPEN_WITHIN_S = 15.0
"""For a channel to open on a line that is up."""
LINGER_S = 1.0
"""A pause in the output that counts as its end, once the command has ended."""
DRAIN_S = 60.0
"""For what a command left in the pipes when it ended."""
SLACK_S = 3.0
"""Beyond the deadline and its grace, for the news of it to arrive."""
ATTEMPT_S = 10.0
"""For one attempt at connecting, key exchange and login each."""


class _Channel(asyncssh.SSHClientSession[bytes]):
    """One command: its output, bounded, and how it ended."""

    def __init__(self) -> None:
        self.stdout = commands.Tail(OUTPUT_LIMIT)
        self.stderr = commands.Tail(OUTPUT_LIMIT)
        self.exit_code: int | None = None
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.why_closed: Exception | None = None

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self.stdout if datatype is None else self.stderr).add(data)

    def exit_status_received(self, status: int) -> None:
        self.exit_code = status
        self.exited.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        number = signals.Signals.__members__.get("SIG" + signal)
        self.exit_code = 128 + (number or 0)
        self.exited.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.why_closed = exc
        self.exited.set()
        self.closed.set()
        self.writable.set()


class SshTarget:
    """A server with a line to it, synchronous; commands may run on it from several threads at once.

    The server's host key is pinned: no other is accepted, and none is trusted on first use. The user's own SSH
    configuration, agent and known hosts have no part in it. A lost line raises `InfraError` from the call that was
    under way; the next call opens a new one.
    """

    def __init__(self, server: Server, *, connect_within_s: float = 30.0) -> None:
        """Connect, trying again until `connect_within_s` seconds have passed; raises `InfraError`."""
        if server.ssh is None:
            raise InfraError(f"no SSH leads to {server.name}")
        self.server = server
        self._address: SshAddress = server.ssh
        self._within_s = connect_within_s
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening: asyncio.Lock | None = None
        self._sweeping: asyncio.Task[None] | None = None
        wait_for(self._line(), connect_within_s + 2 * ATTEMPT_S)

    def run(
        self,
        script: str,
        *,
        timeout_s: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a POSIX sh script there; see `protocols.Target.run`.

        A daemon that the script puts into the background survives its end, but not a deadline. Of each output the
        last 8 MiB are kept. Raises `UsageError` for an impossible variable, `InfraError` for a lost line.
        """
        stdin = commands.payload(script, cwd, env)
        return wait_for(self._run(stdin, timeout_s), timeout_s + self._within_s + 60)

    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        """Copy a folder's content into a folder there; see `protocols.Target.upload` and `archive.pack`.

        Raises `UsageError` for what can't be uploaded, `InfraError` for a lost line, a full disk or a deadline.
        """
        deadline = time.monotonic() + timeout_s
        channel, session = wait_for(self._open(commands.unpack(destination, timeout_s)), self._within_s + 60)
        broke: OSError | None = None
        try:
            pack(folder, lambda chunk: wait_for(self._send(channel, session, chunk, deadline), timeout_s + 10))
        except OSError as error:
            broke = error
        finally:
            wait_for(_finish_upload(channel, session, deadline), timeout_s + 10)
        if session.exit_code != 0 or broke is not None:
            say = bytes(session.stderr).decode(errors="replace").strip()[-300:]
            say = say or str(broke or f"exit code {session.exit_code}")
            raise InfraError(f"{self._where}: the upload of {folder} to {destination} failed: {say}") from broke

    def close(self) -> None:
        """End the line; may be called twice."""
        wait_for(self._hang_up(), ATTEMPT_S)

    # --- on the loop's thread ---

    @property
    def _where(self) -> str:
        return f"{self._address.host}:{self._address.port}"

    async def _line(self) -> asyncssh.SSHClientConnection:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._address, self._within_s)
            return self._connection

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    async def _open(self, command: str) -> tuple[asyncssh.SSHClientChannel[bytes], _Channel]:
        connection = await self._line()
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                return await connection.create_session(_Channel, command, encoding=None)  # type: ignore[return-value]
        except TimeoutError:
            connection.abort()
            raise InfraError(f"{self._where}: no channel opened within {OPEN_WITHIN_S:g} s") from None
        except (OSError, asyncssh.Error) as error:
            raise InfraError(f"{self._where}: can't open a channel: {error}") from error

    async def _run(self, stdin: bytes, timeout_s: float) -> CommandResult:
        mark = secrets.token_hex(8)
        channel, session = await self._open(commands.wrapper(mark, timeout_s))
        started = time.monotonic()
        try:
            _write(channel, stdin)
            ended = await _within(session.exited, timeout_s + commands.TERM_GRACE_S + SLACK_S)
            seconds = time.monotonic() - started
            late = not ended or (session.exit_code in commands.DEADLINE_CODES and seconds >= timeout_s)
            if late:
                await self._sweep(mark)
            elif session.exit_code is None:
                raise InfraError(f"{self._where}: the line was lost under a command: {session.why_closed or 'closed'}")
            await _output_ends(session)
        except asyncio.CancelledError:
            # The caller is gone (Ctrl-C); what it started must not outlive it.
            self._sweeping = asyncio.create_task(self._sweep(mark))
            raise
        finally:
            channel.abort()
        stdout, stderr = bytes(session.stdout), bytes(session.stderr)
        return CommandResult(
            exit_code=None if late else session.exit_code, stdout=stdout, stderr=stderr, seconds=seconds
        )

    async def _sweep(self, mark: str) -> None:
        channel, session = await self._open("exec sh")
        try:
            _write(channel, commands.sweep(mark).encode())
            done = await _within(session.closed, OPEN_WITHIN_S)
        finally:
            channel.abort()
        if not done or session.exit_code != 0:
            say = bytes(session.stderr).decode(errors="replace").strip()[-300:]
            raise InfraError(f"{self._where}: a command could not be killed after its deadline: {say}")

    async def _send(
        self, channel: asyncssh.SSHClientChannel[bytes], session: _Channel, chunk: bytes, deadline: float
    ) -> None:
        if not await _within(session.writable, deadline - time.monotonic()):
            raise InfraError(f"{self._where}: the upload took longer than it may")
        channel.write(chunk)  # raises OSError once the far side has closed


async def connect(address: SshAddress, within_s: float) -> asyncssh.SSHClientConnection:
    """A connection with the host's key pinned; tries again until the deadline, then raises `InfraError`.

    Refusals and foreign keys are tried again too: before a fresh server has been set up, sshd may do either.
    """
    deadline = time.monotonic() + within_s
    pause = 0.05
    while True:
        try:
            async with asyncio.timeout(max(1.0, deadline - time.monotonic())):
                return await _connect_once(address)
        except (OSError, asyncssh.Error, TimeoutError) as error:
            if time.monotonic() + pause >= deadline:
                say = str(error) or type(error).__name__
                raise InfraError(f"{address.host}:{address.port}: no SSH within {within_s:g} s: {say}") from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)


async def _connect_once(address: SshAddress) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        address.host,
        address.port,
        username=address.user,
        client_keys=[asyncssh.import_private_key(address.private_key)],
        known_hosts=([asyncssh.import_public_key(address.host_key)], [], []),
        config=None,
        agent_path=None,
        gss_auth=False,
        gss_kex=False,
        preferred_auth="publickey",
        connect_timeout=ATTEMPT_S,
        login_timeout=ATTEMPT_S,
        keepalive_interval=15,
        keepalive_count_max=3,
        compression_algs=None,
    )


def _write(channel: asyncssh.SSHClientChannel[bytes], data: bytes) -> None:
    try:
        channel.write(data)
        channel.write_eof()
    except OSError:
        # The far side closed first; how it ended says more than this does.
        return


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _output_ends(session: _Channel) -> None:
    """Wait for the end of the output, or until it pauses: a daemon that kept the pipe must not hold up the test."""
    until = time.monotonic() + DRAIN_S
    seen = -1
    while seen != (seen := session.stdout.size + session.stderr.size) and time.monotonic() < until:
        if await _within(session.closed, LINGER_S):
            return


async def _finish_upload(channel: asyncssh.SSHClientChannel[bytes], session: _Channel, deadline: float) -> None:
    _write(channel, b"")
    await _within(session.closed, deadline - time.monotonic() + commands.TERM_GRACE_S)
    channel.abort()
