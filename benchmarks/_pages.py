"""Pages of a run that are open in browsers: each asks as htmx does, at the address and pace that it says itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from testlab_server.present.runs import row_id

from pytest_testlab.store.embedded import StoreHandle

_POLL = re.compile(rb'hx-get="([^"]+)" hx-trigger="every (\d+)(ms|s)"')
_ROW = re.compile(rb'<tr id="(r-[0-9a-f]+)" class="st-(?:passed|failed)"')
_NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}


@contextmanager
def serving(store: StoreHandle) -> Iterator[str]:
    """`testlab serve` as a user starts it; gives its login link."""
    program = [sys.executable, "-c", "from pytest_testlab.cli import main; raise SystemExit(main())"]
    environ = {**os.environ, "TESTLAB_HOME": str(store.home), "TESTLAB_DATABASE_URL": store.url}
    with subprocess.Popen(
        [*program, "serve", "--port", "0"],
        env=environ,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"http://\S+/login/\S+", line):
                    yield found[0]
                    return
            sys.exit("testlab serve ended without a link")
        finally:
            process.terminate()


def log_in(link: str) -> str:
    """Follow the link; returns the session's cookie."""
    address = urlsplit(link)
    line = HTTPConnection(address.netloc, timeout=30)
    line.request("GET", address.path, headers=_NAVIGATION)
    answer = line.getresponse()
    if answer.status != 303:
        sys.exit(f"the login link was answered with {answer.status}")
    line.close()
    return (answer.headers["Set-Cookie"] or "").partition(";")[0]


@dataclass
class Page:
    """One page of a run, in a thread of its own. What came is kept as it came, and read after the measurement."""

    origin: str
    cookie: str
    run: str
    answers: list[tuple[float, bytes]] = field(default_factory=list)
    """(when the whole of it was there, by the clock; the answer)."""
    trouble: str = ""
    opened: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def _follow(self) -> None:
        try:
            self._polls()
        except OSError as error:
            self.trouble = f"{type(error).__name__}: {error}"
        finally:
            self.opened.set()

    def _polls(self) -> None:
        line = HTTPConnection(urlsplit(self.origin).netloc, timeout=30)
        path = f"/runs/{self.run}"
        while True:
            line.request("GET", path, headers={"Cookie": self.cookie})
            answer = line.getresponse()
            text = answer.read()
            self.answers.append((time.time(), text))
            self.opened.set()
            found = _POLL.search(text)
            if answer.status != 200 or found is None:
                self.trouble = f"{path} was answered with {answer.status}, and asks for no more"
                return
            path = found[1].decode().replace("&amp;", "&")
            if self.over.wait(int(found[2]) / (1000 if found[3] == b"ms" else 1)):
                return

    def shown(self) -> dict[str, float]:
        """Row → when this page showed its outcome first."""
        first: dict[str, float] = {}
        for at, text in self.answers:
            for row in _ROW.findall(text):
                first.setdefault(row.decode(), at)
        return first


def row_of(test: str) -> str:
    """The id of a test's row on the page."""
    return row_id(cast("Any", SimpleNamespace(test=test)))
