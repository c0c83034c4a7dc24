"""Locks in the store: of all labs that share one, a single run has a server, whatever becomes of the server's disk.

A lock lives as long as its connection: a killed run's is free at once, that of a lab host that fell silent a minute
later.
"""

from __future__ import annotations

import hashlib
import threading

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import InfraError, TestlabError
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle, open_store
from pytest_testlab.store.engine import one_line

_SESSION = sa.text("""
    SELECT set_config('application_name', :name, false), set_config('tcp_keepalives_idle', '20', false),
        set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '4', false)
""")
_TRY = sa.text("SELECT pg_try_advisory_lock(:key)")
_ALIVE = sa.text("SELECT 1")
STORE_AWAY = "leases need the store, and servers of an inventory need leases; the store can't be reached"


class Lock:
    """One lock, and the connection that it lives on."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def holds(self) -> bool:
        """Whether the connection lives, and so the lock."""
        try:
            self._connection.execute(_ALIVE)
        except DBAPIError:
            return False
        return True

    def release(self) -> None:
        """Free it; may be called twice."""
        self._connection.close()


class Locks:
    """The store's locks, opened when first needed; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: StoreHandle | None = None
        self._turn = threading.Lock()

    def take(self, identity: str, holder: str) -> Lock | None:
        """The lock of a machine; None when another session has it. Raises `InfraError` when the store is away."""
        try:
            connection = self._engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        except (DBAPIError, TestlabError) as error:
            raise InfraError(f"{STORE_AWAY}: {one_line(error)}") from error
        connection.detach()  # a lock's connection is no pool's: closed is closed
        try:
            connection.execute(_SESSION, {"name": f"testlab lease {holder}"[:63]})
            if connection.scalar(_TRY, {"key": _number(identity)}):
                return Lock(connection)
        except DBAPIError as error:
            connection.close()
            raise InfraError(f"{STORE_AWAY}: {one_line(error)}") from error
        connection.close()
        return None

    def close(self) -> None:
        """Let go of the store; may be called twice."""
        with self._turn:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _engine(self) -> sa.Engine:
        with self._turn:
            if self._store is None:
                self._store = open_store(self._settings)
            return self._store.engine


def _number(identity: str) -> int:
    """A lock's number: 64 bits, signed."""
    digest = hashlib.sha256(f"testlab server {identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
