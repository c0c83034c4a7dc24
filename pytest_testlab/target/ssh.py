"""A target over SSH: one line, commands and files on channels of it, deadlines that hold on the target itself."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from pytest_testlab.errors import InfraError, ending
from pytest_testlab.model import CommandResult, Server, SshAddress
from pytest_testlab.target import commands
from pytest_testlab.target.archive import pack
from pytest_testlab.target.channel import OPEN_WITHIN_S, Session, Spare, SshChannel, output_ends, send, within
from pytest_testlab.target.loop import shared_loop, wait_for
from pytest_testlab.target.ways import ATTEMPT_S, log_in

SLACK_S = 3.0
"""Beyond the deadline and its grace, for the news of it to arrive."""


class SshTarget:
    """A server with a line to it, synchronous; commands may run on it from several threads at once.

    The server's host key is pinned: no other is accepted, and none is trusted on first use. The user's own SSH
    configuration, agent and known hosts have no part in it. Where the address has a jump host, the line leads through
    it. A lost line raises `InfraError` from the call that was under way; the next call opens a new one.
    """

    def __init__(self, server: Server, *, connect_within_s: float = 30.0, longest_pause_s: float = 2.0) -> None:
        """Connect, trying again until `connect_within_s` seconds have passed; raises `InfraError`.

        `longest_pause_s` is the most between two attempts.
        """
        if server.ssh is None:
            raise InfraError(f"no SSH leads to {server.name}")
        self.server = server
        self._address: SshAddress = server.ssh
        self._within_s = connect_within_s
        self._longest_pause_s = longest_pause_s
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening: asyncio.Lock | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._spare = Spare()
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

    def prepare(self) -> None:
        """Open a channel in the background for the next `run_prepared`; see `protocols.Prepares`."""
        asyncio.run_coroutine_threadsafe(self._prepare(), shared_loop())

    def run_prepared(self, script: str, *, timeout_s: float) -> CommandResult:
        """As `run`, on the channel that `prepare` opened, if it still waits: in one round trip instead of three.

        The session is as old as that channel; it begins in the home folder that there is now.
        """
        stdin = commands.payload(script, None, None)
        return wait_for(self._run_prepared(stdin, timeout_s), timeout_s + self._within_s + 60)

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
            say = ending(bytes(session.stderr).decode(errors="replace").strip(), 300)
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
                self._connection = await connect(self._address, self._within_s, self._longest_pause_s)
            return self._connection

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._spare = Spare()
        if connection is not None:
            connection.abort()

    async def _open(self, command: str) -> tuple[SshChannel, Session]:
        try:
            return await self._open_once(command)
        except asyncssh.ChannelOpenError as error:
            # The server allows so many channels and no more, and the one that waits is none of the caller's.
            if not await self._spare.drop():
                raise InfraError(f"{self._where}: can't open a channel: {error}") from error
        try:
            return await self._open_once(command)
        except asyncssh.ChannelOpenError as error:
            raise InfraError(f"{self._where}: can't open a channel: {error}") from error

    async def _open_once(self, command: str) -> tuple[SshChannel, Session]:
        connection = await self._line()
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                return await connection.create_session(Session, command, encoding=None)  # type: ignore[return-value]
        except TimeoutError:
            connection.abort()
            raise InfraError(f"{self._where}: no channel opened within {OPEN_WITHIN_S:g} s") from None
        except asyncssh.ChannelOpenError:
            raise
        except (OSError, asyncssh.Error) as error:
            raise InfraError(f"{self._where}: can't open a channel: {error}") from error

    async def _prepare(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            self._spare.open(self._connection)

    async def _run(self, stdin: bytes, timeout_s: float) -> CommandResult:
        mark = secrets.token_hex(8)
        asked = time.monotonic()  # the target's own clock runs from before we hear that the channel is open
        channel, session = await self._open(commands.wrapper(mark, timeout_s))
        return await self._command(mark, channel, session, stdin, timeout_s, asked)

    async def _run_prepared(self, stdin: bytes, timeout_s: float) -> CommandResult:
        waiting = await self._spare.take()
        if waiting is None:
            return await self._run(stdin, timeout_s)
        whole = commands.begin(timeout_s) + stdin
        result = await self._command(waiting.mark, waiting.channel, waiting.session, whole, timeout_s)
        if not waiting.session.began and not result.timed_out:
            # The shell that waited ended just before it could begin, so nothing of the script was done.
            return await self._run(stdin, timeout_s)
        return result

    async def _command(
        self,
        mark: str,
        channel: SshChannel,
        session: Session,
        stdin: bytes,
        timeout_s: float,
        asked: float | None = None,
    ) -> CommandResult:
        started = time.monotonic()
        asked = started if asked is None else asked
        try:
            send(channel, stdin)
            ended = await within(session.exited, timeout_s + commands.TERM_GRACE_S + SLACK_S)
            seconds = time.monotonic() - started
            took = time.monotonic() - asked
            late = not ended or (session.exit_code in commands.DEADLINE_CODES and took >= timeout_s)
            if late:
                await self._sweep(mark)
            elif session.exit_code is None:
                raise InfraError(f"{self._where}: the line was lost under a command: {session.why_closed or 'closed'}")
            await output_ends(session)
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
            send(channel, commands.sweep(mark).encode())
            done = await within(session.closed, OPEN_WITHIN_S)
        finally:
            channel.abort()
        if not done or session.exit_code != 0:
            say = ending(bytes(session.stderr).decode(errors="replace").strip(), 300)
            raise InfraError(f"{self._where}: a command could not be killed after its deadline: {say}")

    async def _send(self, channel: SshChannel, session: Session, chunk: bytes, deadline: float) -> None:
        if not await within(session.writable, deadline - time.monotonic()):
            raise InfraError(f"{self._where}: the upload took longer than it may")
        channel.write(chunk)  # raises OSError once the far side has closed


async def connect(address: SshAddress, within_s: float, longest_pause_s: float = 2.0) -> asyncssh.SSHClientConnection:
    """A connection with the host's key pinned; tries again until the deadline, then raises `InfraError`.

    Refusals and foreign keys are tried again too: before a fresh server has been set up, sshd may do either.
    """
    deadline = time.monotonic() + within_s
    pause, say = 0.05, ""
    while True:
        try:
            async with asyncio.timeout(max(1.0, deadline - time.monotonic())):
                return await log_in(address)
        except (OSError, asyncssh.Error, InfraError, TimeoutError) as error:
            say = str(error) or say or type(error).__name__  # the last one may only have been cut off
            if time.monotonic() + pause >= deadline:
                raise InfraError(f"{address.host}:{address.port}: no SSH within {within_s:g} s: {say}") from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest_pause_s)


async def _finish_upload(channel: SshChannel, session: Session, deadline: float) -> None:
    send(channel, b"")
    await within(session.closed, deadline - time.monotonic() + commands.TERM_GRACE_S)
    channel.abort()
