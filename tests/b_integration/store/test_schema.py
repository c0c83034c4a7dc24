"""The schema that migrations make is the one that the program describes."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from pytest_testlab.errors import UsageError
from pytest_testlab.store import migrate
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.schema import metadata

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
INDICES = """
    SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""
STORAGE = "SELECT attname, attstorage FROM pg_attribute WHERE attrelid = 'bundle'::regclass AND attnum > 0 ORDER BY 1"


@pytest.fixture
def blank(store_server: StoreHandle) -> Iterator[sa.Engine]:
    """A database with nothing in it."""
    server = make_engine(store_server.url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS blank WITH (FORCE)"))
        connection.execute(sa.text("CREATE DATABASE blank TEMPLATE template0"))
    engine = sa.create_engine(server.url.set(database="blank"))
    yield engine
    engine.dispose()
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("DROP DATABASE blank WITH (FORCE)"))
    server.dispose()


def described(engine: sa.Engine) -> list[list[tuple[object, ...]]]:
    with engine.connect() as connection:
        questions = (COLUMNS, INDICES, CONSTRAINTS, STORAGE)
        return [[tuple(row) for row in connection.execute(sa.text(question))] for question in questions]


def test_migrations_make_what_the_program_describes(store_server: StoreHandle, blank: sa.Engine) -> None:
    """Columns, indices with their INCLUDE and WHERE, constraints and storage are the same both ways."""
    metadata.create_all(blank)
    assert described(blank) == described(store_server.engine)


def test_sessions_that_upgrade_at_once_take_turns(blank: sa.Engine) -> None:
    """Several first starts on one new database all succeed."""
    failures: list[Exception] = []

    def upgrade() -> None:
        engine = sa.create_engine(blank.url)
        try:
            migrate.upgrade(engine)
        except Exception as error:  # noqa: BLE001  whatever a thread met is the test's to show
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert migrate.check(blank) == migrate.HEAD


def test_a_newer_store_is_refused(blank: sa.Engine) -> None:
    """A program never writes into a schema that it doesn't know."""
    migrate.upgrade(blank)
    with blank.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match=r"the store's schema is 9999, newer than this program's .*upgrade"):
        migrate.upgrade(blank)


def test_a_store_out_of_reach_is_one_line() -> None:
    """No traceback, and no password, when nobody listens."""
    engine = make_engine("postgresql://me:hunter2@127.0.0.1:1/none")
    with pytest.raises(UsageError, match="the store can't be reached") as told:
        migrate.check(engine)
    assert "hunter2" not in str(told.value)
    assert "\n" not in str(told.value)
