"""Requests through a front door: one deadline, bounded answers, and every way of getting none."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_testlab.errors import NoAnswer, UsageError
from pytest_testlab.model import FrontDoor
from pytest_testlab.target.http import BODY_LIMIT, FrontDoorClient

HOST = "app-0123456789ab.testlab.internal"


@contextmanager
def _door(answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[FrontDoor]:
    """A server that answers each connection by hand, in whatever wicked way."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
                with context.wrap_socket(line, server_side=True) if context else line as line:
                    answer(line)
            except ssl.SSLError:
                continue  # a client that doesn't trust us hangs up
            except OSError:
                if listener.fileno() < 0:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield FrontDoor(host="127.0.0.1", port=port, scheme="https" if context else "http")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(line: socket.socket) -> None:
        line.recv(65_536)
        line.sendall(text)

    return answer


def test_an_app_is_asked_by_its_own_name() -> None:
    """The Host header is the name that holds the nonce; redirects are the answer, not an invitation."""
    asked: list[bytes] = []

    def answer(line: socket.socket) -> None:
        asked.append(line.recv(65_536))
        line.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"
        )

    with _door(answer) as door:
        got = FrontDoorClient(door, HOST).request("POST", "/a?b", headers={"X-A": "1"}, body=b"body", timeout_s=5)
    assert (got.status, got.body, got.truncated) == (302, b"ok", False)
    assert got.headers == {"location": "/x", "set-cookie": "a, b", "content-length": "2"}
    assert got.seconds < 4
    head = asked[0].decode()
    assert head.startswith("POST /a?b HTTP/1.1\r\n")
    assert f"\r\nHost: {HOST}\r\n" in head
    assert "\r\nContent-Length: 4\r\n" in head
    assert head.count("Host:") == 1


def test_an_answer_is_bounded() -> None:
    """A body without end costs a MiB."""
    with _door(lambda line: (_says(b"HTTP/1.0 200 OK\r\n\r\n")(line), line.sendall(b"x" * 3_000_000))[1]) as door:
        got = FrontDoorClient(door, HOST).request("GET", "/", timeout_s=5)
    assert (len(got.body), got.truncated) == (BODY_LIMIT, True)


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_trickle_does_not_prolong_the_deadline(part: str) -> None:
    """The deadline is for the whole request, not for each read."""

    def answer(line: socket.socket) -> None:
        line.recv(65_536)
        line.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000\r\n\r\n" if part == "body" else b"X: "))
        for _ in range(30):
            line.sendall(b"x")
            time.sleep(0.1)

    began = time.monotonic()
    with _door(answer) as door, pytest.raises(NoAnswer, match=r"no whole answer within 0\.4 s") as caught:
        FrontDoorClient(door, HOST).request("GET", "/", timeout_s=0.4)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "reset"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "reset"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "other"),
    ],
)
def test_what_is_no_answer_says_which_kind(says: bytes, kind: str) -> None:
    """The classifier tells these apart."""
    with _door(_says(says)) as door, pytest.raises(NoAnswer) as caught:
        FrontDoorClient(door, HOST).request("GET", "/", timeout_s=5)
    assert caught.value.kind == kind


def test_nobody_at_home_is_refused() -> None:
    """A closed port is told from a silent one."""
    with _door(_says(b"")) as door:
        pass
    with pytest.raises(NoAnswer, match=rf"127\.0\.0\.1:{door.port}: connection refused") as caught:
        FrontDoorClient(door, HOST).request("GET", "/", timeout_s=5)
    assert caught.value.kind == "refused"


@pytest.mark.parametrize(("method", "path"), [("GET", "/a b"), ("GET", "/\r\nX: y"), ("G\r\nET", "/")])
def test_what_cannot_be_sent_is_the_users(method: str, path: str) -> None:
    """A check's path can't smuggle a header in."""
    with _door(_says(b"HTTP/1.0 200 OK\r\n\r\n")) as door, pytest.raises(UsageError):
        FrontDoorClient(door, HOST).request(method, path, timeout_s=5)


def test_a_self_signed_front_door_is_asked_and_noted(tmp_path: Path) -> None:
    """Platforms sign for themselves; the answer says that nobody vouches for it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", tmp_path / "key", "-out", tmp_path / "cert", "-days", "1", "-subj", "/CN=x"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with _door(_says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), context) as door:
        got = FrontDoorClient(door, HOST).request("GET", "/", timeout_s=5)
    assert (got.body, got.verified) == (b"ok", False)
