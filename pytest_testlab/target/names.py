"""A loopback proxy that knows names no name server knows: it leads them to front doors and passes all else on.

A script check finds it in `http_proxy` and `https_proxy`, so that curl, pip, npm, Python and browsers reach an app by
the host name that holds its nonce, through its front door, without a line in /etc/hosts. Others on this machine can't
use it: it asks for a random password, or a socket of the lab's own user (browsers don't send a password from a URL).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from pytest_testlab.errors import InfraError
from pytest_testlab.model import FrontDoor
from pytest_testlab.target.heads import Head, HeadError, read_head
from pytest_testlab.target.loop import wait_for

USER = "lab"
MAX_CONNECTIONS = 256
HEAD_WITHIN_S = 30.0
CONNECT_WITHIN_S = 15.0
REFUSE_WITHIN_S = 2.0
IDLE_S = 300.0
"""A connection on which nothing moves for so long is closed."""
HEAD_LIMIT = 64 * 1024
PIECE = 64 * 1024
_START_WITHIN_S = 10.0

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refusal(Exception):
    """A request that the proxy answers itself."""

    def __init__(self, status: int, say: str) -> None:
        super().__init__(say)
        self.status = status


class NamesProxy:
    """Runs while its context is open, on the loop that the process's SSH lines share."""

    def __init__(self, doors: Mapping[str, FrontDoor], *, upstream: Mapping[str, str] | None = None) -> None:
        """`doors` is by host name. `upstream` is the machine's own proxies by scheme, and `no`: its environment's."""
        self._doors = {name.lower(): door for name, door in doors.items()}
        self._upstream = dict(getproxies_environment() if upstream is None else upstream)
        self._password = secrets.token_urlsafe(18)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> NamesProxy:
        wait_for(self._start(), _START_WITHIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait_for(self._stop(), _START_WITHIN_S)

    @property
    def url(self) -> str:
        """The proxy's address with its password: a secret, for the environment of script checks only."""
        return f"http://{USER}:{self._password}@127.0.0.1:{self.port}"

    @property
    def secret_values(self) -> frozenset[str]:
        """What must be masked wherever it turns up."""
        return frozenset({self._password, self._token})

    def environ(self, app_url: str) -> dict[str, str]:
        """What a script check gets: every program's way to name a proxy, and the app's address."""
        names = ("http_proxy", "https_proxy", "all_proxy")
        proxies = {name: self.url for lower in names for name in (lower, lower.upper())}
        return {**proxies, "no_proxy": "", "NO_PROXY": "", "APP_URL": app_url}

    # --- on the loop's thread ---

    @property
    def _token(self) -> str:
        return base64.b64encode(f"{USER}:{self._password}".encode()).decode()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Line) -> None:
        """One connection, one request: so that the next can't follow the first one's way to another host."""
        try:
            await self._answer(client)
        except Refusal as refusal:
            await _refuse(client, refusal)
        except (OSError, TimeoutError, HeadError):
            # Either side went away, or said nothing that is HTTP; there is nobody to tell.
            return
        finally:
            client[1].close()

    async def _answer(self, client: Line) -> None:
        async with asyncio.timeout(HEAD_WITHIN_S):
            head = await read_head(client[0])
        if len(self._tasks) > MAX_CONNECTIONS:
            raise Refusal(503, f"more than {MAX_CONNECTIONS} connections at once")
        self._check_password(head, client[1])
        method, target = head.first.split(" ")[:2] if head.first.count(" ") == 2 else ("", "")
        if method == "CONNECT":
            await self._tunnel(client, target)
        elif target.lower().startswith("http://"):
            await self._forward(client, head, method, urlsplit(target))
        else:
            raise Refusal(400, "this is a proxy: it takes http://… or CONNECT")

    def _check_password(self, head: Head, writer: asyncio.StreamWriter) -> None:
        given = head.get("proxy-authorization") or ""
        if hmac.compare_digest(given.encode(), f"Basic {self._token}".encode()):
            return
        if given or not _is_ours(writer.get_extra_info("peername"), self.port):
            raise Refusal(407, "this proxy is for the lab's own checks")

    async def _tunnel(self, client: Line, target: str) -> None:
        host, _, port = target.rpartition(":")
        if not port.isdecimal():
            raise Refusal(400, f"CONNECT {target}: no port")
        door = self._doors.get(_plain(host))
        if door is not None:
            _check_port(door, host, int(port), "https" if port == "443" else "http")
            line = await _enter(door)
        elif proxy := self._proxy("https", host):
            await self._tunnel_on(client, target, proxy)
            return
        else:
            line = await _open(host.strip("[]"), int(port))
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _relay(client, line)

    async def _tunnel_on(self, client: Line, target: str, proxy: SplitResult) -> None:
        line = await _open(proxy.hostname or "", proxy.port or 80)
        head = Head(first=f"CONNECT {target} HTTP/1.1", fields=[("Host", target), *_credentials(proxy)])
        line[1].write(bytes(head))
        await _relay(client, line)

    async def _forward(self, client: Line, head: Head, method: str, url: SplitResult) -> None:
        host = url.hostname or ""
        try:
            port = url.port or 80
        except ValueError:
            raise Refusal(400, "no such port") from None
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        door, proxy = self._doors.get(_plain(host)), self._proxy("http", host)
        onward = head.onward()
        if door is not None:
            _check_port(door, host, port, "http")
            line = await _enter(door)
        elif proxy is not None:
            line, path = await _open(proxy.hostname or "", proxy.port or 80), url.geturl()
            onward.fields += _credentials(proxy)
        else:
            line = await _open(host, port)
        onward.first = f"{method} {path} HTTP/1.1"
        onward.put("Host", url.netloc.rpartition("@")[2])
        line[1].write(bytes(onward))
        await _exchange(client, line)

    def _proxy(self, scheme: str, host: str) -> SplitResult | None:
        named = self._upstream.get(scheme) or self._upstream.get("all")
        if not named or proxy_bypass_environment(host, self._upstream):
            return None
        return urlsplit(named if "://" in named else "http://" + named)


async def _exchange(client: Line, line: Line) -> None:
    """Relay a request's body and its answer, and have the client come anew for the next request."""
    upward = asyncio.create_task(_pump(client[0], line[1]))
    try:
        head = await _answer_head(client, line)
        client[1].write(bytes(head.last()))
        await _pump(line[0], client[1])
        if head.status == 101:
            await upward
    except HeadError as error:
        raise Refusal(502, f"no HTTP answer: {error}") from error
    finally:
        line[1].close()  # before any wait: one that is cancelled here would leave the line open
        await _end(upward)


async def _answer_head(client: Line, line: Line) -> Head:
    while True:
        async with asyncio.timeout(IDLE_S):
            head = await read_head(line[0])
        if not head.interim:
            return head
        client[1].write(bytes(head))


async def _relay(client: Line, line: Line) -> None:
    upward = asyncio.create_task(_pump(client[0], line[1]))
    try:
        await _pump(line[0], client[1])
        await upward
    finally:
        line[1].close()  # before any wait: one that is cancelled here would leave the line open
        await _end(upward)


async def _end(task: asyncio.Task[None]) -> None:
    """A side that was cut off has its say in the other one's end; its own is of no more interest."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(IDLE_S):
            piece = await source.read(PIECE)
            if piece:
                sink.write(piece)
                await sink.drain()
        if not piece:
            break
    with contextlib.suppress(OSError):
        sink.write_eof()


async def _open(host: str, port: int) -> Line:
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            return await asyncio.open_connection(host, port, limit=HEAD_LIMIT)
    except TimeoutError:
        raise Refusal(504, f"{host}:{port}: no connection within {CONNECT_WITHIN_S:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Refusal(502, f"{host}:{port}: {error}") from error


async def _enter(door: FrontDoor) -> Line:
    if door.via is None:
        return await _open(door.host, door.port)
    from pytest_testlab.target.ways import through  # imports asyncssh: only for those who need a jump host

    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            way = await through(door.via, door.host, door.port)
        return await asyncio.open_connection(sock=way, limit=HEAD_LIMIT)
    except TimeoutError:
        raise Refusal(504, f"{door.host}:{door.port}: no connection within {CONNECT_WITHIN_S:g} s") from None
    except (OSError, InfraError) as error:
        raise Refusal(502, f"{door.host}:{door.port}: {error}") from error


def _check_port(door: FrontDoor, host: str, port: int, scheme: str) -> None:
    standard = {"http": 80, "https": 443}[scheme]
    if scheme != door.scheme or port != standard:
        wanted = {"http": 80, "https": 443}[door.scheme]
        raise Refusal(502, f"the front door of {host} speaks {door.scheme} on port {wanted}; asked for port {port}")


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _credentials(proxy: SplitResult) -> list[tuple[str, str]]:
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [("Proxy-Authorization", "Basic " + base64.b64encode(pair.encode()).decode())]


def _is_ours(peer: tuple[str, int], port: int) -> bool:
    """Whether the client's socket belongs to this process's user, by the kernel's table."""
    loopback = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    wanted = f"{loopback:08X}:{peer[1]:04X} {loopback:08X}:{port:04X} "
    try:
        rows = Path("/proc/net/tcp").read_text().splitlines()
    except OSError:
        return False
    return any(wanted in row and int(row.split()[7]) == os.geteuid() for row in rows)


async def _refuse(client: Line, refusal: Refusal) -> None:
    body = f"testlab's proxy: {refusal}\n".encode()
    head = Head(first=f"HTTP/1.1 {refusal.status} testlab", fields=[("Content-Type", "text/plain; charset=utf-8")])
    if refusal.status == 407:
        head.fields.append(("Proxy-Authenticate", 'Basic realm="testlab"'))
    head.fields += [("Content-Length", str(len(body))), ("Connection", "close")]
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REFUSE_WITHIN_S):
            client[1].write(bytes(head) + body)
            client[1].write_eof()
            while await client[0].read(PIECE):  # to close on unread bytes would cut the answer off
                pass
