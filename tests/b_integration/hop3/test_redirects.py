"""HTTP checks that follow redirects, against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pytest_testlab.catalog.http_check import check_http
from pytest_testlab.catalog.transcript import Asker
from pytest_testlab.errors import CheckFailed
from pytest_testlab.model import FrontDoor, HttpCheck
from pytest_testlab.target.http import FrontDoorClient
from pytest_testlab.target.observe import Observations

HOST = "it-0123.testlab.internal"
MOVED = {
    "/": "/login",
    "/login": f"https://{HOST}/form?next=1",
    "/form?next=1": "",
    "/away": "https://elsewhere.example/form",
    "/round": "/round",
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        there = MOVED.get(self.path)
        self.send_response(302 if there else 200)
        if there:
            self.send_header("Location", there)
        self.end_headers()
        self.wfile.write(b"please sign in" if there == "" else b"moved")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Asker(FrontDoorClient(FrontDoor(host="127.0.0.1", port=server.server_port), HOST), Observations())
    server.shutdown()
    thread.join()
    server.server_close()


def ask(asker: Asker, path: str, *, follow: bool = True, **expected: object) -> None:
    check = HttpCheck(name="it", path=path, follow=follow, **expected)  # type: ignore[arg-type]
    check_http(asker, 1, check, 1.0, HOST)


def test_redirects_that_stay_with_the_app_are_followed(asker: Asker) -> None:
    """By path or by its whole address; the last answer is the one that counts."""
    ask(asker, "/", status=200, contains="please sign in")
    ask(asker, "/", follow=False, status=302, contains="moved")


def test_a_redirect_that_leaves_the_app_is_the_answer(asker: Asker) -> None:
    """Nobody else's page can pass for the app's."""
    ask(asker, "/away", status=302, contains="moved")
    with pytest.raises(CheckFailed, match="expected status 200, got status 302"):
        ask(asker, "/away", status=200)


def test_redirects_in_a_circle_come_to_an_end(asker: Asker) -> None:
    """After ten of them the answer is what it is, and the check ends with its time."""
    with pytest.raises(CheckFailed, match=r"got (status 302|no answer)"):
        ask(asker, "/round", status=200)


def test_any_of_several_statuses(asker: Asker) -> None:
    """One of them is enough, and another one fails with all of them named."""
    ask(asker, "/away", statuses=(200, 302), contains="moved")
    with pytest.raises(CheckFailed, match="expected status 200 or 202, got status 302"):
        ask(asker, "/away", statuses=(200, 202))
