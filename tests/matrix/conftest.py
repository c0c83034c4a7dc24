"""Whole sessions of the lab in an environment that `make matrix` built; elsewhere nothing here is collected."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle, open_store

if "MATRIX" not in os.environ:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def store() -> Iterator[StoreHandle]:
    """A store for all sessions, in a home below /tmp: as root another account must pass through."""
    home = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    home.chmod(0o711)
    try:
        with open_store(Settings(home=str(home))) as handle:
            yield handle
    finally:
        shutil.rmtree(home, ignore_errors=True)
