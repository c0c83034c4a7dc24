"""The embedded PostgreSQL below the lab's home, shared by all sessions; and the way to any store.

Each holder keeps a shared lock on `users.lock`; the last one out stops the server, unless it was pinned. The kernel
drops the lock of a holder that was killed, so nothing has to be cleaned up: the next session finds the server running,
or starts it again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from pytest_testlab.errors import InfraError
from pytest_testlab.options import Settings
from pytest_testlab.store import migrate
from pytest_testlab.store.cluster import Cluster
from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.home import check_reachable, database_account, home, make_folder

__all__ = ["EmbeddedPostgres", "EmbeddedStatus", "StoreHandle", "home", "open_store"]

TURN_S = 180.0
"""How long to wait for another session that is starting or stopping the server; initdb on a slow disk included."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedStatus:
    """What there is to say of the embedded server."""

    running: bool
    pid: int | None
    pinned: bool
    url: str
    data: Path
    account: str
    """Whom it runs as; empty = ourselves."""


class EmbeddedPostgres:
    """A share in the embedded server of one home."""

    def __init__(self, home_folder: Path) -> None:
        self._account = database_account()
        self._locks = home_folder / "locks"
        make_folder(self._locks, 0o700)
        pg = home_folder / "pg"
        if self._account is not None:
            check_reachable(pg, self._account)
        self._cluster = Cluster(folder=pg, notes=self._locks / "socket", account=self._account)
        self._share: int | None = None

    def start(self) -> str:
        """Take a share, starting the server if it doesn't run, and return its URL; may be called twice.

        Raises `UsageError` when PostgreSQL is not installed, `InfraError` when it doesn't start.
        """
        with self._turn():
            if self._share is None:
                self._share = self._take_share()
            try:
                self._ensure_running()
            except BaseException:
                self._drop_share()
                raise
        return self.url

    def _ensure_running(self) -> None:
        if (self._cluster.data / "PG_VERSION").exists() and self._cluster.answers():
            return
        self._cluster.make()
        self._cluster.start()

    @property
    def url(self) -> str:
        """`postgresql://…`, whether it runs or not; holds no password."""
        return self._cluster.url()

    def release(self) -> None:
        """Give the share back; the last one out stops the server, unless it is pinned. May be called twice."""
        if self._share is None:
            return
        with self._turn():
            last = self._is_last(self._share)
            try:
                if last and not self._pin.exists():
                    self._cluster.stop()
            finally:
                self._drop_share()

    def pin(self) -> str:
        """Keep the server running until `stop`, whoever leaves; returns its URL."""
        self.start()
        self._pin.touch()
        return self.url

    def stop(self) -> bool:
        """Undo `pin` and give our share back; returns False when other sessions still use the server.

        The last of those stops it.
        """
        with self._turn():
            self._pin.unlink(missing_ok=True)
            self._drop_share()
            probe = self._take_share()
            try:
                last = self._is_last(probe)
                if last:
                    self._cluster.stop()
            finally:
                os.close(probe)
        return last

    def status(self) -> EmbeddedStatus:
        """What there is to say of the server, without starting it."""
        pid = self._cluster.postmaster()
        return EmbeddedStatus(
            running=pid is not None,
            pid=pid,
            pinned=self._pin.exists(),
            url=self.url,
            data=self._cluster.data,
            account=self._account.name if self._account else "",
        )

    @property
    def _pin(self) -> Path:
        return self._locks / "pinned"

    def _take_share(self) -> int:
        fd = os.open(self._locks / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
        return fd

    def _is_last(self, fd: int) -> bool:
        """Whether nobody else has a share; asked only in turn, because a lock is upgraded by dropping it first."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _drop_share(self) -> None:
        if self._share is not None:
            os.close(self._share)
            self._share = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Starting and stopping is done by one session at a time."""
        fd = os.open(self._locks / "turn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock_within(fd, TURN_S)
            yield
        finally:
            os.close(fd)


def _lock_within(fd: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InfraError(f"another session has been starting the store for {seconds:g} s") from None
            time.sleep(0.01)
        else:
            return


class StoreHandle:
    """An open store, its schema up to date; a context manager."""

    def __init__(self, url: str, engine: sa.Engine, embedded: EmbeddedPostgres | None, home: Path) -> None:
        self.home = home
        """Where the runs' folders are."""
        self.url = url
        self.engine = engine
        self.embedded = embedded
        """None when the store is somebody else's server."""

    def revive(self) -> bool:
        """Start the embedded server again if it died; False for somebody else's. Raises as its `start` does."""
        if self.embedded is None:
            return False
        self.embedded.start()
        return True

    def close(self) -> None:
        """Close all connections, and give back the share in the embedded server; may be called twice."""
        self.engine.dispose()
        if self.embedded is not None:
            self.embedded.release()

    def __enter__(self) -> StoreHandle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_store(settings: Settings) -> StoreHandle:
    """Open the store that the settings name, or start the embedded one, and bring its schema up to date.

    Raises `UsageError` when it can't be reached, isn't PostgreSQL, or is newer than this program.
    """
    where = home(settings)
    embedded = None if settings.db else EmbeddedPostgres(where)
    url = settings.db if embedded is None else embedded.start()
    assert url is not None
    engine = make_engine(url)
    handle = StoreHandle(url, engine, embedded, where)
    try:
        migrate.upgrade(engine)
    except BaseException:
        handle.close()
        raise
    return handle
