"""From a listening socket to a server that answers: what `testlab serve` does."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from flask import Flask
from waitress.server import create_server

from pytest_testlab.cli.ini import ini_settings
from pytest_testlab.errors import UsageError
from pytest_testlab.labfile.find import find_lab_file
from pytest_testlab.labfile.format import LabFile
from pytest_testlab.options import Settings, resolve
from pytest_testlab.store.embedded import StoreHandle, open_store
from pytest_testlab.store.home import home_path
from pytest_testlab.store.served import noted, served_at, served_on
from testlab_server.app import MOST_BODY_BYTES, SPENT_LINKS, create_app, login_links
from testlab_server.auth import LoginLinks, server_secret
from testlab_server.config import ServerConfig, checked_url, is_loopback
from testlab_server.reaping import reaping
from testlab_server.scheduler.beside import playing
from testlab_server.scheduler.telling import say

THREADS = 8
MAX_REQUEST_HEADER_BYTES = 16_384
MOST_CONNECTIONS = 500
"""At once, below the 1024 files that a process may usually have open."""
_DEFAULTS = {"host": "127.0.0.1", "port": 8410, "url": None}
SILENT_S = 30
"""After so long without a byte a connection is closed."""


def serve_until_interrupted(flags: Mapping[str, Any], *, db: str | None, config: str | None) -> None:
    """Serve the store's pages, play the nights of lab.toml, and print a login link; ends with Ctrl-C or SIGTERM.

    What `flags` (`host`, `port`, `url`) leave open, lab.toml says. Raises `UsageError` when that is malformed, or the
    port is taken, before anything else is started.
    """
    settings = resolve({"db": db}, ini_settings())
    lab = find_lab_file(config, settings)
    given = {
        **_DEFAULTS,
        **(lab.server if lab else {}),
        **{key: value for key, value in flags.items() if value is not None},
    }
    host, port, public = given["host"], given["port"], checked_url(given["url"]) if given["url"] else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listen(host, port, home_path(settings)) as listening, open_store(settings) as store:
        served = ServerConfig(home=store.home, host=host, port=listening.getsockname()[1], url=public)
        app = create_app(store.engine, served)
        with (
            suppress(KeyboardInterrupt),
            reaping(settings, say) as app.extensions["testlab-reaping"],
            _nights(lab, store, settings),
            noted(store.home, served.port, served.origin),
        ):
            announce(app, served)
            _offer_links(app)
            run(app, listening)


def _nights(lab: LabFile | None, store: StoreHandle, settings: Settings) -> AbstractContextManager[None]:
    """The scheduler, where there is something to play."""
    if lab is None:
        return nullcontext()
    print(f"As {lab.file} says.", flush=True)  # noqa: T201 - the command's own output
    return playing(lab, store, settings) if lab.schedules else nullcontext()


def fresh_link(port: int | None) -> str:
    """A login link of this lab's server that runs: on a port, else the one that started last; raises `UsageError`.

    Whoever can read the server's secret, the account that serves, may make one: the server itself isn't asked.
    """
    folder = home_path(resolve({}, ini_settings()))
    origin = served_at(folder) if port is None else served_on(folder, port)
    if origin is None:
        where = f"on port {port} " if port is not None else ""
        raise UsageError(
            f"no server of the lab in {folder} runs {where}for this account to see; start one: testlab serve, or name "
            "its home by TESTLAB_HOME"
        )
    server = folder / "server"
    return LoginLinks(server_secret(server), server / SPENT_LINKS, origin).make()


def listen(host: str, port: int, home: Path) -> socket.socket:
    """A socket that listens; raises `UsageError` when the port is taken, and says so if it is by this lab's server."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"can't listen on {host}: {error.strerror or error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(_cannot_bind(error, host, port, home)) from None
    return listening


def run(app: Flask, listening: socket.socket) -> None:
    """Serve on a socket until Ctrl-C; requests that are under way are answered first."""
    server = create_server(
        app,
        sockets=[listening],
        threads=THREADS,
        ident="testlab",
        max_request_header_size=MAX_REQUEST_HEADER_BYTES,
        max_request_body_size=MOST_BODY_BYTES,
        connection_limit=MOST_CONNECTIONS,
        channel_timeout=SILENT_S,
        cleanup_interval=5,
        asyncore_use_poll=True,  # select() ends the server at the 1024th file
    )
    try:
        server.run()
    finally:
        server.close()


def announce(app: Flask, config: ServerConfig, say: Callable[[str], None] = print) -> None:
    """Say what is served, where, and how to get in."""
    say(f"The dashboard is at {config.origin}, closed to whoever has no login.")
    if not is_loopback(config.host):
        say(f"It listens on {config.host}: whoever reaches port {config.port} of this machine can knock, and what is")
        say("sent there isn't encrypted. Without --host it is for this machine alone; behind a proxy, keep it so.")
    say("Open it with this link, once, within ten minutes:")
    say("")
    say(f"    {login_links(app).make()}")
    say("")
    more = "Enter makes another link" if sys.stdin.isatty() else "Another link: testlab serve --link"
    say(f"{more}. Ctrl-C ends.")
    sys.stdout.flush()


def _offer_links(app: Flask) -> None:
    """Where there is a terminal, a fresh link for each Enter, in a thread that never holds up the end."""
    if sys.stdin.isatty():
        # In the background, reading the terminal would stop the whole process; ignored, it is an error to read.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        threading.Thread(target=_links_on_enter, args=(app,), name="login-links", daemon=True).start()


def _links_on_enter(app: Flask) -> None:
    with suppress(OSError):
        for _ in sys.stdin:
            print(f"    {login_links(app).make()}", flush=True)  # noqa: T201 - the command's own output


def _cannot_bind(error: OSError, host: str, port: int, home: Path) -> str:
    if error.errno == errno.EADDRINUSE:
        ours = served_on(home, port)
        if ours is not None:
            return f"this lab is served already, at {ours}; serve it twice with: testlab serve --port {port + 1}"
        return f"port {port} of {host} is taken; choose another: testlab serve --port {port + 1}"
    return f"can't listen on {host}, port {port}: {error.strerror or error}"
