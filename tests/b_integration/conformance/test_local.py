"""The provider `local` keeps what the protocol promises."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from testlab_local import places
from testlab_local.provider import LocalProvider

from pytest_testlab.options import Settings
from pytest_testlab.testing import ProviderConformance


class TestLocalProvider(ProviderConformance):
    @classmethod
    def make_provider(cls, settings: Settings) -> LocalProvider:
        return LocalProvider(settings)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def swept(cls, settings: Settings) -> Iterator[None]:
        """As root its targets have a folder of their own, outside of the test's."""
        yield
        assert settings.home is not None
        shutil.rmtree(places.base(Path(settings.home)), ignore_errors=True)
