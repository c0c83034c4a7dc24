"""For every test of this project: pytester, and nothing of the caller's own TESTLAB_* settings."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Nothing is kept between runs, because the folder may belong to another account; and a suite says the same each time.
# `--hypothesis-profile explore` looks for what nobody thought of yet.
settings.register_profile("testlab", database=None, derandomize=True)
settings.register_profile("explore", database=None, max_examples=2_000)
settings.load_profile("testlab")

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TESTLAB_")]:
        monkeypatch.delenv(name)
