"""The pages' way to the store: a connection that can only read, for as long as one request asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app
from sqlalchemy import Connection, Engine, text

_EXTENSION = "testlab-engine"
STATEMENT_TIMEOUT_MS = 10_000
"""A page that asks for longer than this is ended: better an error than a store held up."""


def attach(extensions: dict[str, object], engine: Engine) -> None:
    """Keep the engine where the pages find it."""
    extensions[_EXTENSION] = engine.execution_options(postgresql_readonly=True)


@contextmanager
def reading() -> Iterator[Connection]:
    """A read-only transaction on the store."""
    engine = current_app.extensions[_EXTENSION]
    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}"))
        yield connection
