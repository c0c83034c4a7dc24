"""Whole sessions of the lab, as a user starts them, on a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle


@pytest.fixture
def lab(pytester: pytest.Pytester, store: StoreHandle, monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> LabSession:
    monkeypatch.setenv("TESTLAB_DATABASE_URL", store.url)
    monkeypatch.setenv("TESTLAB_HOME", str(lab_home))
    return LabSession(pytester, store)
