"""A lab with nights in it, ways into its dashboard, and a person who looks at it."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import warm
from flask.testing import FlaskClient
from nights import PROXY, Night, Outcome, play, provenance
from playwright.sync_api import Browser, BrowserContext, Page
from testlab_server.app import create_app
from testlab_server.auth import LoginLinks, server_secret
from testlab_server.config import ServerConfig

from pytest_testlab.recording.recorder import Recorder
from pytest_testlab.recording.recover import recover
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.writes import leases
from pytest_testlab.store.writes.leases import Claimant

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}
"""What a browser sends along when a person follows a link."""
LAST_NIGHT = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=5)


@dataclass(frozen=True)
class Lab:
    """A store, and the home that belongs to it."""

    store: StoreHandle

    @property
    def environ(self) -> dict[str, str]:
        """Of the commands of this lab."""
        return {**os.environ, "TESTLAB_HOME": str(self.store.home), "TESTLAB_DATABASE_URL": self.store.url}

    def play(self, run: str, outcomes: list[Outcome], *, days_ago: int = 0, mode: str = "nightly") -> None:
        """A night, brought into the store as whatever is left of a run is."""
        began = LAST_NIGHT - dt.timedelta(days=days_ago)
        play(self.store.home, provenance(run, began, mode=mode), outcomes)
        recover(self.store.engine, self.store.home)

    @contextmanager
    def running(self, run: str, outcomes: list[Outcome]) -> Iterator[Night]:
        """A night that goes on, recorded as it does; what isn't finished by then is left unfinished."""
        night = Night(self.store.home, provenance(run, dt.datetime.now(dt.UTC)), outcomes)
        recorder = Recorder(self.store.url, night.folder)
        recorder.start()
        try:
            yield night
        finally:
            night.end("interrupted", "Ctrl-C")
            assert recorder.close(20)

    def lease_some(self, run: str) -> None:
        """A server that a run kept, one that it uses, and one of which nothing was heard for a while."""
        until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=3)
        with self.store.engine.begin() as connection:
            for slot, state in enumerate(("kept", "held", "lapsed")):
                name = f"testlab-{run}-{slot}"
                who = Claimant(
                    key=f"hetzner/{name}",
                    provider="hetzner",
                    server=name,
                    run=run,
                    slot=slot,
                    holder=f"{run} lab:4121",
                    trigger="scheduled-nightly",
                    eur_per_hour=0.0104,
                    address=f"ssh -p 22 root@192.0.2.{slot + 1}",
                )
                granted = leases.take(connection, who, 1e-6 if state == "lapsed" else 180)
                if granted is not None and state == "kept":
                    leases.keep(connection, who, granted.epoch, until, "failed", PROXY.test)

    def client(self, **config: Any) -> FlaskClient:
        """A client that nobody let in."""
        return create_app(self.store.engine, ServerConfig(home=self.store.home, **config)).test_client()

    def links(self, origin: str = "http://127.0.0.1:8410") -> LoginLinks:
        """What a server of this home makes its links with."""
        folder = self.store.home / "server"
        return LoginLinks(server_secret(folder), folder / "spent-links", origin)


def path_of(link: str) -> str:
    """A link without its origin."""
    return "/" + link.split("/", 3)[3]


def logged_in(lab: Lab) -> FlaskClient:
    """A client that a link let in."""
    client = lab.client()
    answer = client.get(path_of(lab.links().make()), headers={**NAVIGATION, "Host": "127.0.0.1:8410"})
    assert answer.status_code == 303
    return client


@dataclass(frozen=True)
class Served:
    """A running `testlab serve`."""

    process: subprocess.Popen[str]
    link: str
    said: str
    """What it had printed by then."""

    @property
    def origin(self) -> str:
        return self.link.partition("/login/")[0]


@contextmanager
def serving(lab: Lab, *arguments: str, start: Callable[..., subprocess.Popen[str]] = warm.Popen) -> Iterator[Served]:
    """`testlab serve` as a user starts it, on a port that is free."""
    process = start(
        [*warm.TESTLAB, "serve", "--port", "0", *arguments],
        env=lab.environ,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        said = ""
        while not (found := re.search(r"http://\S+/login/\S+", said)):
            line = process.stdout.readline()
            assert line, f"serve ended without a link: {said}"
            said += line
        yield Served(process, found[0], said)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def chromium_arguments() -> list[str]:
    """Debian's Chromium, without a word to anyone, and as root without a sandbox that it can't have."""
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
    return [*quiet, "--no-sandbox"] if os.geteuid() == 0 else quiet


@dataclass
class Visit:
    """A person with the dashboard open, and what their browser complained of."""

    page: Page
    origin: str
    complaints: list[str]

    def go(self, path: str) -> None:
        self.page.goto(self.origin + path)


@contextmanager
def visiting(browser: Browser, origin: str, link: str) -> Iterator[Visit]:
    """Log in by a link; whatever the browser complains of by the end fails the test."""
    context: BrowserContext = browser.new_context()
    context.set_default_timeout(60_000)  # a deadline: beside other work a browser may take its time
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(link)
        yield Visit(page, origin, complaints)
        assert complaints == []
    finally:
        context.close()
