"""A real PostgreSQL for all tests that need one: the embedded store, in a short temporary home."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from recorded import Recorded

from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle, open_store
from pytest_testlab.store.schema import metadata

LONGEST = (
    "test_drill.py",
    "test_bad_days.py",
    "test_trouble.py",
    "test_nights.py",
    "test_store_away.py",
    "test_guide.py",
    "test_clock.py",
    "test_browser.py",
    "test_outcomes.py",
    "test_terminal.py",
)
"""Files that take a minute or so, the longest first: what begins last must not keep all others waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin first; with --no-loadscope-reorder xdist keeps to this order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Children get a SIGINT that ends them, also below a shell's `&` or nohup, which have it ignored from then on."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def no_worker() -> None:
    """The sessions that tests start are nobody's workers, also where these tests are spread over processes."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def lab_home() -> Iterator[Path]:
    """A home below /tmp: a socket's path must be short, and as root another account must pass through."""
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def store_server(lab_home: Path) -> Iterator[StoreHandle]:
    """The store, started once; use `store`, which is empty."""
    with open_store(Settings(home=str(lab_home))) as handle:
        yield handle


@pytest.fixture
def store(store_server: StoreHandle) -> StoreHandle:
    """A store with its tables and nothing in them."""
    tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    with store_server.engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    return store_server


@pytest.fixture
def store_url(store: StoreHandle) -> str:
    """The URL of the same empty store."""
    return store.url


@pytest.fixture
def recorded(store: StoreHandle, tmp_path: Path) -> Recorded:
    """An empty store to record nights into."""
    return Recorded(store, tmp_path)
