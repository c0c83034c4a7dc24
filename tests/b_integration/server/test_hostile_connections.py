"""Connections made to wear the server out: as `testlab serve` runs it, on its own socket."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
from pages import Lab, Served, serving

SLOW = 300
"""Clients that never finish what they began to say."""


@pytest.fixture
def alone(lab: Lab) -> Iterator[Served]:
    """A server of this test's own."""
    with serving(lab) as served:
        yield served


def dial(served: Served) -> socket.socket:
    host, port = urlsplit(served.origin).hostname, urlsplit(served.origin).port
    return socket.create_connection((host, port), timeout=30)


def say(served: Served, request: bytes) -> bytes:
    """What the server answers to these bytes, to the end of the connection; nothing where it hangs up unread."""
    answer = b""
    with dial(served) as line, contextlib.suppress(ConnectionError):
        line.sendall(request)
        while chunk := line.recv(65_536):
            answer += chunk
    return answer


def test_slow_clients_do_not_starve_the_others(alone: Served) -> None:
    """Hundreds of clients that send half a request and fall silent: a page is still answered, and the server lives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SLOW + 200:
        pytest.skip(f"at most {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SLOW + 200), hard))
    try:
        with ExitStack() as stack:
            for number in range(SLOW):
                line = stack.enter_context(dial(alone))
                line.sendall(b"POST /logout HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + b"\r\n" * (number % 2))
            with urlopen(f"{alone.origin}/healthz", timeout=30) as answer:
                assert answer.status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert alone.process.poll() is None


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (b"x" * 20_000), b"431"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 4_000 + b"\r\n", b"431"),
        (b"POST /logout HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n", b"413"),
        (b"POST /logout HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: x\r\n\r\n", b"501"),
        (b"\0\xff\r\n\r\n", b"400"),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
    ],
    ids=["a long address", "many headers", "a huge body", "a negative body", "a coding", "no HTTP", "a broken address"],
)
def test_what_is_too_large_or_no_http_is_refused(served: Served, request_: bytes, status: bytes) -> None:
    """Refused with a status or cut off, without a word of what runs inside; the others are answered."""
    answer = say(served, request_)
    assert answer == b"" or answer.split(b" ", 2)[1] == status, answer[:300]
    assert b"Traceback" not in answer
    with urlopen(f"{served.origin}/healthz", timeout=30) as other:
        assert other.status == 200


def test_a_body_without_end_fills_nothing(alone: Served) -> None:
    """A body in pieces, of which none says how much is to come, is cut off; it reaches neither disk nor memory."""
    process = psutil.Process(alone.process.pid)
    before = process.memory_info().rss
    with dial(alone) as line:
        line.settimeout(5)
        line.sendall(b"POST /logout HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|Connection reset|timed out"):
            line.sendall((b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 1_000)
    assert process.memory_info().rss - before < 64 * 1024 * 1024
    with urlopen(f"{alone.origin}/healthz", timeout=30) as answer:
        assert answer.status == 200


def test_who_listens_to_the_network_is_told_so(lab: Lab) -> None:
    """On another address than loopback's the server says aloud who can reach it; by default nobody else can."""
    with serving(lab, "--host", "0.0.0.0") as served:
        served.process.terminate()
        assert served.process.stdout is not None
        said = served.said + served.process.stdout.read()
        assert "It listens on 0.0.0.0: whoever reaches port" in said
    with serving(lab) as served:
        listening = [
            one.laddr.ip for one in psutil.Process(served.process.pid).net_connections("tcp") if one.status == "LISTEN"
        ]
        assert listening == ["127.0.0.1"]
        assert "It listens on" not in served.said
