"""HTTP through a target's front door, by the host name that holds the nonce; one deadline for the whole request."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, cast

from pytest_testlab.errors import NoAnswer, UsageError
from pytest_testlab.model import FrontDoor

BODY_LIMIT = 1024 * 1024
"""Bytes kept of an answer's body; the rest isn't read."""
SLACK_S = 5.0
"""For the news of a deadline to come from another thread."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; the values of repeated ones are joined by ", "."""
    body: bytes
    """At most the first MiB."""
    seconds: float
    truncated: bool = False
    """Whether there was more of the body."""
    verified: bool = True
    """False where the front door's certificate is signed by nobody that this machine trusts."""


class FrontDoorClient:
    """Asks one app through a front door. Redirects aren't followed, and every request has a connection of its own."""

    def __init__(self, door: FrontDoor, host: str) -> None:
        """`host` is the app's own name, which no name server knows: it goes into the Host header, and SNI."""
        self._door = door
        self._host = host

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
    ) -> Answer:
        """Ask once; the deadline is for all of it, down to the last byte of the body.

        Raises `NoAnswer` when nothing that is HTTP came back in time, `UsageError` for what can't be sent, `InfraError`
        where the jump host that leads there is at fault.
        """
        started = time.monotonic()
        deadline = started + timeout_s
        try:
            line, verified = self._connect(deadline)
            with line:
                response = self._exchange(line, deadline, method, path, headers or {}, body)
                content = _body(response)
        except http.client.InvalidURL as error:
            raise UsageError(f"{path!r} can't be asked for: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._no_answer(error, timeout_s) from error
        return Answer(
            status=response.status,
            headers=_folded(response.getheaders()),
            body=content[:BODY_LIMIT],
            seconds=time.monotonic() - started,
            truncated=len(content) > BODY_LIMIT,
            verified=verified,
        )

    def _connect(self, deadline: float) -> tuple[socket.socket, bool]:
        line, verified = self._dial(deadline), True
        if self._door.scheme == "http":
            return line, verified
        try:
            return ssl.create_default_context().wrap_socket(line, server_hostname=self._host), True
        except ssl.SSLCertVerificationError:
            # Platforms give apps self-signed certificates; that is worth a note and no reason to stop.
            line.close()
            return _trusting().wrap_socket(self._dial(deadline), server_hostname=self._host), False

    def _dial(self, deadline: float) -> socket.socket:
        left, door = _left(deadline), self._door
        if door.via is None:
            return socket.create_connection((door.host, door.port), timeout=left)
        import asyncio  # as below: only for those who need a jump host

        from pytest_testlab.target.loop import wait_for
        from pytest_testlab.target.ways import through  # imports asyncssh

        line = wait_for(asyncio.wait_for(through(door.via, door.host, door.port), left), left + SLACK_S)
        line.settimeout(left)
        return line

    def _exchange(
        self,
        line: socket.socket,
        deadline: float,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host)
        connection.sock = cast("socket.socket", _Bounded(line, deadline))
        wanted = {"Host": self._host, "Accept": "*/*", "Connection": "close"}
        given = {name.lower() for name in headers}
        wanted = {name: value for name, value in wanted.items() if name.lower() not in given}
        try:
            connection.request(method, path, body=body, headers={**wanted, **headers})
        except (ValueError, UnicodeError) as error:
            raise UsageError(f"{method} {path}: can't be sent: {error}") from error
        return connection.getresponse()

    def _no_answer(self, error: Exception, timeout_s: float) -> NoAnswer:
        where = f"{self._door.host}:{self._door.port}"
        match error:
            case TimeoutError():
                return NoAnswer("timeout", f"{where}: no whole answer within {timeout_s:g} s")
            case ConnectionRefusedError():
                return NoAnswer("refused", f"{where}: connection refused")
            case ConnectionError() | http.client.IncompleteRead():
                return NoAnswer("reset", f"{where}: the connection was cut: {error or type(error).__name__}")
        return NoAnswer("other", f"{where}: {type(error).__name__}: {error}")


class _Bounded:
    """A socket, as http.client needs it, whose every wait ends at one deadline: a trickle can't prolong it."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line = line
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._line.settimeout(_left(self._deadline))
        self._line.sendall(data)

    def makefile(self, _mode: str) -> IO[bytes]:
        return io.BufferedReader(_Reader(self._line, self._deadline))

    def close(self) -> None:
        """Closed by its owner."""


class _Reader(io.RawIOBase):
    def __init__(self, line: socket.socket, deadline: float) -> None:
        super().__init__()
        self._line = line
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._line.settimeout(_left(self._deadline))
        return self._line.recv_into(cast("memoryview", buffer))


def _body(response: http.client.HTTPResponse) -> bytes:
    content = response.read(BODY_LIMIT + 1)
    if response.length and len(content) <= BODY_LIMIT:
        raise http.client.IncompleteRead(content, response.length)
    return content


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _folded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    folded: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        folded[key] = f"{folded[key]}, {value}" if key in folded else value
    return folded


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
