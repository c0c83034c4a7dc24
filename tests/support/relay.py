"""A way to the store that can be cut and mended, while the store itself goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

import sqlalchemy as sa

from pytest_testlab.store.embedded import StoreHandle


class Relay:
    """Passes connections on to a store's socket."""

    def __init__(self, url: sa.URL) -> None:
        folder, port = url.query["host"], url.port or url.query.get("port") or 5432
        self._to = f"{folder}/.s.PGSQL.{port}"
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._listening.settimeout(0.1)
        self._over = threading.Event()
        self._whole = True
        self._ends: list[socket.socket] = []
        query = {key: value for key, value in url.query.items() if key not in ("host", "port")}
        through = url.set(host="127.0.0.1", port=self.port, query=query)
        self.url = through.render_as_string(hide_password=False)
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    @classmethod
    def to_store(cls, store: StoreHandle) -> Relay:
        return cls(sa.make_url(store.url))

    def cut(self) -> None:
        """End every connection, and take no new one."""
        self._whole = False
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for end in (self._listening, *self._ends):
            end.close()

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                here, _ = self._listening.accept()
                self._ends.append(here)
                if not self._whole:
                    here.shutdown(socket.SHUT_RDWR)
                    continue
                there = socket.socket(socket.AF_UNIX)
                self._ends.append(there)
                there.connect(self._to)
                self._begin(self._pass_on, here, there)
                self._begin(self._pass_on, there, here)

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
