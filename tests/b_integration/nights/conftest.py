"""Labs that play nights by themselves, each with a home of its own on the shared store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scheduled import ScheduledLab

from pytest_testlab.store.embedded import StoreHandle


@pytest.fixture
def lab(tmp_path: Path, store: StoreHandle) -> Iterator[ScheduledLab]:
    home = Path(tempfile.mkdtemp(prefix="tl-night-", dir="/tmp"))
    made = ScheduledLab(tmp_path, home, store)
    yield made
    made.end()
    shutil.rmtree(home)
