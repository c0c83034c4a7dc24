"""Runs from which something is taken away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import Catalog, OwnServer


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder below /tmp: a socket's path must be short, and as root another account must pass through."""
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def one_server() -> Iterator[OwnServer]:
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    own = OwnServer(folder)
    yield own
    own.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(one_server: OwnServer) -> OwnServer:
    """A PostgreSQL to stop and kill; it runs, and is empty."""
    one_server.start()
    one_server.empty()
    return one_server


@pytest.fixture
def catalog(server: OwnServer, short: Path, tmp_path: Path) -> Catalog:
    """A catalog whose runs are recorded into `server`."""
    return Catalog(folder=tmp_path, home=short, db=server.url)
