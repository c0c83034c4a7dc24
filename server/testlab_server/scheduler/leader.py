"""One leader among the servers of a store: an advisory lock of PostgreSQL's, which goes with its connection."""

from __future__ import annotations

import sqlalchemy as sa

from pytest_testlab.store.locks import Lock


class Leadership:
    """The right to play the nights of a store; whoever dies loses it at once."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    @property
    def held(self) -> bool:
        """Whether we lead, as far as we know; `keep` asks."""
        return self._connection is not None

    def seek(self) -> bool:
        """Try to become the leader, without waiting; raises SQLAlchemy's errors."""
        if self._connection is None:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                ours = connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": Lock.LEADING})
            except BaseException:
                connection.close()
                raise
            if ours:
                self._connection = connection
            else:
                connection.close()
        return self.held

    def keep(self) -> None:
        """Make sure that the connection, and with it the lock, is still there; raises SQLAlchemy's errors if not."""
        if self._connection is not None:
            self._connection.execute(sa.text("SELECT 1"))

    def give_up(self) -> None:
        """Let another lead. The connection is closed for good: back in its pool it would keep the lock."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()
