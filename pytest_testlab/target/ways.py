"""Ways through jump hosts: to a server's SSH, and to its front door. A process has one line to each jump host."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import asyncssh

from pytest_testlab.errors import InfraError
from pytest_testlab.model import SshAddress

ATTEMPT_S = 10.0
"""For one attempt at connecting, key exchange and login each."""
IDLE_S = 60.0
"""A line to a jump host through which nothing leads any more is closed after so long."""
HALF_S = 600.0
"""For the second half of a connection to end, once the first one has."""
PIECE = 64 * 1024


async def log_in(address: SshAddress) -> asyncssh.SSHClientConnection:
    """One attempt at a connection with the host's key pinned, through the address's jump host if it has one.

    Raises what asyncssh raises, `OSError`, and `InfraError` where the jump host is at fault.
    """
    key, host_key = asyncssh.import_private_key(address.private_key), asyncssh.import_public_key(address.host_key)
    way = None if address.jump is None else await through(address.jump, address.host, address.port)
    return await asyncssh.connect(
        address.host,
        address.port,
        sock=way,
        username=address.user,
        client_keys=[key],
        known_hosts=([host_key], [], []),
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


async def through(jump: SshAddress, host: str, port: int) -> socket.socket:
    """A socket that leads to an address as the jump host sees it; for the shared loop's thread.

    Raises `ConnectionRefusedError` or another `OSError` where nothing answers there, `InfraError` where the jump host
    is at fault. Nothing on this machine listens for it, so nobody else can use the way.
    """
    lines = _LINES.setdefault(asyncio.get_running_loop(), {})
    line = lines.setdefault(jump, _Line(jump))
    connection = await line.taken()
    try:
        reader, writer = await _open(connection, jump, host, port)
    except BaseException:
        line.left()
        raise
    near, ours = socket.socketpair()
    line.carry(asyncio.create_task(_relay(ours, reader, writer)))
    return near


async def _open(
    connection: asyncssh.SSHClientConnection, jump: SshAddress, host: str, port: int
) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
    try:
        async with asyncio.timeout(ATTEMPT_S):
            return await connection.open_connection(host, port, encoding=None)
    except TimeoutError:
        raise TimeoutError(f"through {_where(jump)}: no answer within {ATTEMPT_S:g} s") from None
    except asyncssh.ChannelOpenError as error:
        kind = ConnectionRefusedError if "refused" in error.reason.lower() else OSError
        raise kind(f"through {_where(jump)}: {error.reason}") from error
    except (OSError, asyncssh.Error) as error:
        raise InfraError(f"jump host {_where(jump)}: {error or type(error).__name__}") from error


@dataclass(eq=False)
class _Line:
    """A line to a jump host, for all that goes through it; on the shared loop only."""

    jump: SshAddress
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: asyncssh.SSHClientConnection | None = None
    users: int = 0
    idle: asyncio.TimerHandle | None = None
    carried: set[asyncio.Task[None]] = field(default_factory=set)

    async def taken(self) -> asyncssh.SSHClientConnection:
        """The connection, open; whoever takes it says `left`, or has it `carry` a task. Raises `InfraError`."""
        self.users += 1
        if self.idle is not None:
            self.idle.cancel()
        try:
            async with self.opening:
                if self.connection is None or self.connection.is_closed():
                    self.connection = await log_in(self.jump)
                return self.connection
        except BaseException as error:
            self.left()
            if isinstance(error, OSError | asyncssh.Error):
                raise InfraError(f"jump host {_where(self.jump)}: {error or type(error).__name__}") from error
            raise

    def left(self) -> None:
        """One fewer goes through it."""
        self.users -= 1
        if not self.users:
            self.idle = asyncio.get_running_loop().call_later(IDLE_S, self._close)

    def carry(self, task: asyncio.Task[None]) -> None:
        """Hold a task that relays, until its end."""
        self.carried.add(task)
        task.add_done_callback(self._carried)

    def _carried(self, task: asyncio.Task[None]) -> None:
        self.carried.discard(task)
        self.left()
        if not task.cancelled():
            task.exception()  # either side was cut off: the other one hears of it by its own end

    def _close(self) -> None:
        if self.connection is not None and not self.users:
            self.connection.abort()
            self.connection = None


_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[SshAddress, _Line]] = WeakKeyDictionary()
"""By loop, since a fork has a loop of its own."""


async def _relay(ours: socket.socket, far_in: asyncssh.SSHReader[bytes], far_out: asyncssh.SSHWriter[bytes]) -> None:
    near_in, near_out = await asyncio.open_connection(sock=ours)
    ways = {asyncio.create_task(_pump(near_in, far_out)), asyncio.create_task(_pump(far_in, near_out))}
    try:
        ended, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if not any(way.exception() for way in ended):
            await asyncio.wait(others or ended, timeout=HALF_S)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        near_out.close()
        far_out.channel.abort()


async def _pump(
    source: asyncio.StreamReader | asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter | asyncssh.SSHWriter[bytes]
) -> None:
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
    sink.write_eof()


def _where(jump: SshAddress) -> str:
    return f"{jump.host}:{jump.port}"
