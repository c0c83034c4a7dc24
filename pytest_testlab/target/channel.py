"""One command on a line: its output, bounded, how it ended, and a channel that waits for its command beforehand."""

from __future__ import annotations

import asyncio
import secrets
import signal as signals
import time
from dataclasses import dataclass

import asyncssh

from pytest_testlab.target import commands

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes kept of each of standard output and error: the last ones."""
OPEN_WITHIN_S = 15.0
"""For a channel to open on a line that is up."""
LINGER_S = 1.0
"""A pause in the output that counts as its end, once the command has ended."""
DRAIN_S = 60.0
"""For what a command left in the pipes when it ended."""

SshChannel = asyncssh.SSHClientChannel[bytes]


class Session(asyncssh.SSHClientSession[bytes]):
    """What comes of one command."""

    def __init__(self, *, announced: bool = False) -> None:
        """`announced`: one byte of standard output, dropped here, comes before the command's own and says it began."""
        self.stdout = commands.Tail(OUTPUT_LIMIT)
        self.stderr = commands.Tail(OUTPUT_LIMIT)
        self.exit_code: int | None = None
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.why_closed: Exception | None = None
        self.began = not announced

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Keep it, within bounds."""
        if datatype is None and not self.began:
            self.began, data = True, data[1:]
        (self.stdout if datatype is None else self.stderr).add(data)

    def exit_status_received(self, status: int) -> None:
        """It ended by itself."""
        self.exit_code = status
        self.exited.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """A signal ended it."""
        number = signals.Signals.__members__.get("SIG" + signal)
        self.exit_code = 128 + (number or 0)
        self.exited.set()

    def pause_writing(self) -> None:
        """It doesn't read as fast as it is sent to."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, or the line lost."""
        self.why_closed = exc
        self.exited.set()
        self.closed.set()
        self.writable.set()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A channel on which a shell waits for a deadline and a script."""

    mark: str
    channel: SshChannel
    session: Session


class Spare:
    """At most one channel opened ahead of time: what runs on it costs one round trip, where others cost three.

    It is a help and no more: where it can't be had, or ended meanwhile, `take` says None.
    """

    def __init__(self) -> None:
        self._opening: asyncio.Task[Waiting | None] | None = None

    def open(self, connection: asyncssh.SSHClientConnection) -> None:
        """Begin to open one, unless one waits already."""
        if self._opening is None or (self._opening.done() and _ready(self._opening) is None):
            self._opening = asyncio.create_task(_wait_on(connection))

    async def take(self) -> Waiting | None:
        """The channel, for its one use; waited for while it is being opened."""
        opening, self._opening = self._opening, None
        if opening is None:
            return None
        await opening
        return _ready(opening)

    async def drop(self) -> bool:
        """Close it; False when there was none."""
        waiting = await self.take()
        if waiting is None:
            return False
        waiting.channel.abort()
        await within(waiting.session.closed, OPEN_WITHIN_S)
        return True


def _ready(opening: asyncio.Task[Waiting | None]) -> Waiting | None:
    waiting = None if opening.cancelled() else opening.result()
    return None if waiting is None or waiting.session.closed.is_set() or waiting.session.exited.is_set() else waiting


async def _wait_on(connection: asyncssh.SSHClientConnection) -> Waiting | None:
    mark = secrets.token_hex(8)
    try:
        async with asyncio.timeout(OPEN_WITHIN_S):
            channel, session = await connection.create_session(
                lambda: Session(announced=True), commands.waiting(mark), encoding=None
            )
    except (OSError, asyncssh.Error):
        return None  # whoever needs a channel next meets the same, and says so
    return Waiting(mark=mark, channel=channel, session=session)  # type: ignore[arg-type]


def send(channel: SshChannel, data: bytes) -> None:
    """Give a command its whole input."""
    try:
        channel.write(data)
        channel.write_eof()
    except OSError:
        # The far side closed first; how it ended says more than this does.
        return


async def within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event; False when it didn't come in time."""
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def output_ends(session: Session) -> None:
    """Wait for the end of the output, or until it pauses: a daemon that kept the pipe must not hold up the test."""
    until = time.monotonic() + DRAIN_S
    seen = -1
    while seen != (seen := session.stdout.size + session.stderr.size) and time.monotonic() < until:
        if await within(session.closed, LINGER_S):
            return
