"""The HTTP side: a thread a connection, tokens, the quota, the log of requests, and answers that never come."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from standin.faults import Kind, Plan
from standin.routes import Answer, Request, Routes
from standin.rules import ApiError, Query, invalid
from standin.shapes import Shapes

PREFIX = "/v1"
QUOTA = 3600
REFILL_A_SECOND = 1.0
MOST_BODY = 1024 * 1024
IDLE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request, as the log has it: never a token, never a body."""

    at: float
    """Seconds after 1970."""
    method: str
    path: str
    """With its query, without `/v1`."""
    status: int
    dropped: bool
    """Nobody was told the status."""


class Quota:
    """So many requests, given back one a second of ours: nobody tells a client that the cloud's time runs faster."""

    def __init__(self, limit: int = QUOTA) -> None:
        self.limit = limit
        self._left, self._at = float(limit), time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> tuple[bool, dict[str, str]]:
        """Whether one more is allowed, and the headers that say what is left."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self.limit, self._left + (now - self._at) * REFILL_A_SECOND)
            self._at = now
            allowed = self._left >= 1
            self._left -= allowed
            full_in = (self.limit - self._left) / REFILL_A_SECOND
            return allowed, {
                "RateLimit-Limit": str(self.limit),
                "RateLimit-Remaining": str(int(self._left)),
                "RateLimit-Reset": str(int(time.time() + full_in)),
            }

    def spend(self, left: int) -> None:
        """Have only so many left."""
        with self._lock:
            self._left, self._at = float(left), time.monotonic()


class Api:
    """Answers requests, whatever line they came by."""

    def __init__(self, routes: Routes, plan: Plan, token: str, shapes: Shapes | None, quota: Quota) -> None:
        self._routes, self._plan, self._shapes = routes, plan, shapes
        self.token, self.quota = token, quota
        self.log: list[Entry] = []
        self.mismatches: list[str] = []
        """Answers that weren't of the API's shape."""

    def answer(self, request: Request, token: str) -> tuple[Answer, dict[str, str], bool]:
        """Status and body, headers, and whether to drop them."""
        headers = {"X-Correlation-Id": secrets.token_hex(8)}
        try:
            outage = self._plan.take(Kind.OUTAGE)
            if outage is not None:
                raise ApiError(outage.status, outage.code, outage.message)
            if not secrets.compare_digest(token.encode(), f"Bearer {self.token}".encode()):
                raise ApiError(401, "unauthorized", "unable to authenticate")
            allowed, left = self.quota.take()
            headers |= left
            if not allowed:
                raise ApiError(429, "rate_limit_exceeded", f"limit of {self.quota.limit} requests per hour reached")
            refusal = self._plan.take(Kind.REFUSE, method=request.method, path=request.path)
            if refusal is not None:
                raise ApiError(refusal.status, refusal.code, refusal.message)
            answer = self._routes.answer(request)
        except ApiError as error:
            answer = error.status, error.body
        answer = self._checked(request, answer)
        return answer, headers, self._plan.take(Kind.DROP, method=request.method, path=request.path) is not None

    def _checked(self, request: Request, answer: Answer) -> Answer:
        template = self._routes.template(request)
        if self._shapes is None or template is None:
            return answer
        wrong = self._shapes.mismatch(request.method, template, *answer)
        if wrong is None:
            return answer
        self.mismatches.append(wrong)
        return 500, {"error": {"code": "shape_mismatch", "message": wrong, "details": {}}}


class Door(ThreadingHTTPServer):
    """Listens on loopback; can be closed for a while, with all lines that lead in."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, api: Api, admin: Any, port: int) -> None:
        self.api, self.admin = api, admin
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def enter(self, line: socket.socket) -> None:
        """A client is there."""
        with self._lock:
            self._lines.add(line)

    def leave(self, line: socket.socket) -> None:
        """A client is gone."""
        with self._lock:
            self._lines.discard(line)

    def cut(self) -> None:
        """End every line."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is none of our business; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "standin"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        cast("Door", self.server).enter(self.connection)

    def finish(self) -> None:
        cast("Door", self.server).leave(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """The log is the stand-in's own."""

    def _answer(self) -> None:
        door = cast("Door", self.server)
        split = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(min(length, MOST_BODY))
        at = time.time()
        if not split.path.startswith(f"{PREFIX}/"):
            status, body = door.admin(self.command, split.path, raw, self.headers.get("Authorization", ""))
            self._send(status, body, {})
            return
        path = split.path[len(PREFIX) :]
        answer, headers, drop = self._asked(path, urllib.parse.parse_qs(split.query), raw)
        shown = path + (f"?{split.query}" if split.query else "")
        door.api.log.append(Entry(at=at, method=self.command, path=shown, status=answer[0], dropped=drop))
        if drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(*answer, headers)

    def _asked(self, path: str, query: Query, raw: bytes) -> tuple[Answer, dict[str, str], bool]:
        try:
            request = Request(method=self.command, path=path, query=query, body=_read(raw))
        except ApiError as error:
            return (error.status, error.body), {}, False
        return cast("Door", self.server).api.answer(request, self.headers.get("Authorization", ""))

    def _send(self, status: int, body: object, headers: dict[str, str]) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if content:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _read(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise ApiError(400, "json_error", "invalid JSON") from None
    if not isinstance(body, dict):
        raise invalid("body", "must be an object")
    return body
