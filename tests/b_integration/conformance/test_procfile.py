"""The platform `procfile` keeps what the protocol promises."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from testlab_local import places

from pytest_testlab.options import Settings
from pytest_testlab.platform.procfile import ProcfilePlatform
from pytest_testlab.testing import PlatformConformance


class TestProcfilePlatform(PlatformConformance):
    @classmethod
    def make_platform(cls, settings: Settings) -> ProcfilePlatform:
        return ProcfilePlatform()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def swept(cls, settings: Settings) -> Iterator[None]:
        """As root its targets have a folder of their own, outside of the test's."""
        yield
        assert settings.home is not None
        shutil.rmtree(places.base(Path(settings.home)), ignore_errors=True)
