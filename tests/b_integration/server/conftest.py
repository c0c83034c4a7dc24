"""Stores with nights in them, apps over them, `testlab serve` on them, and a browser."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from nights import first_night, second_night
from pages import Lab, Served, Visit, chromium_arguments, logged_in, serving, visiting
from playwright.sync_api import Browser, expect, sync_playwright
from tools import library, tool

from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import EmbeddedPostgres, open_store
from pytest_testlab.store.engine import make_engine


@pytest.fixture(scope="session")
def postgres() -> Iterator[tuple[str, Path]]:
    """A PostgreSQL of this session's own, and its home: below a short path, because sockets' paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="tl-pages-"))
    folder.chmod(0o711)
    embedded = EmbeddedPostgres(folder)
    try:
        url = embedded.start()
        _hurry(url)
        yield url, folder
    finally:
        embedded.release()
        shutil.rmtree(folder)


def _hurry(url: str) -> None:
    """What these tests are about isn't whether their data survives a power cut."""
    engine = make_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="module")
def new_lab(postgres: tuple[str, Path]) -> Iterator[Callable[[], Lab]]:
    """Makes labs with a database and a home each."""
    url, folder = postgres
    with ExitStack() as stack:

        def make() -> Lab:
            name = f"lab_{secrets.token_hex(4)}"
            engine = make_engine(url)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
            own = engine.url.set(database=name).render_as_string(hide_password=False)
            engine.dispose()
            home = folder / name
            home.mkdir(mode=0o711)
            return Lab(stack.enter_context(open_store(Settings(db=own, home=str(home)))))

        yield make


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """A lab after two nights; for reading."""
    made = new_lab()
    made.play("20261120-0231-aaaa", first_night(), days_ago=1)
    made.play("20261121-0231-bbbb", second_night())
    return made


@pytest.fixture(scope="module")
def empty_lab(new_lab: Callable[[], Lab]) -> Lab:
    """A lab before its first night; for reading."""
    return new_lab()


@pytest.fixture(scope="module")
def client(lab: Lab) -> FlaskClient:
    """Somebody who was let in, with two nights to read."""
    return logged_in(lab)


# --- the real server, and a browser ---


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Served]:
    """The dashboard of two nights."""
    with serving(lab) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a word to anyone; while it is there, an event loop runs in this thread."""
    path = tool("chromium", "chromium")
    library("libatomic.so.1", "libatomic1")  # Playwright's own Node.js wants it
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)  # a deadline: beside other work a browser may take its time
        launched = playwright.chromium.launch(executable_path=path, args=chromium_arguments())
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser, served: Served, lab: Lab) -> Iterator[Visit]:
    """A person who is looking at the morning page of two nights."""
    with visiting(browser, served.origin, lab.links(served.origin).make()) as visitor:
        yield visitor
