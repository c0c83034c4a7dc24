"""The provider `hetzner` keeps what the protocol promises."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hetzner import pointed_at
from standin import StandIn
from testlab_hetzner.provider import HetznerProvider

from pytest_testlab.options import Settings
from pytest_testlab.testing import ProviderConformance


class TestHetznerProvider(ProviderConformance):
    image = "debian-12"
    standin: ClassVar[StandIn]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _in_the_cloud(cls, cloud: StandIn) -> None:
        cls.standin = cloud

    @classmethod
    def make_provider(cls, settings: Settings) -> HetznerProvider:
        return pointed_at(cls.standin, {"home": settings.home}, line=2.0)
