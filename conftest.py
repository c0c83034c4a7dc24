"""For every test of this project: pytester, and nothing of the caller's own TESTLAB_* settings."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Nothing is kept between runs: the folder may belong to another account.
settings.register_profile("testlab", database=None)
settings.load_profile("testlab")

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TESTLAB_")]:
        monkeypatch.delenv(name)
