"""The provider `nspawn` keeps what the protocol promises, with hosts that boot."""

from __future__ import annotations

from testlab_nspawn.provider import NspawnProvider

from pytest_testlab.options import Settings
from pytest_testlab.testing import ProviderConformance


class TestNspawnProvider(ProviderConformance):
    @classmethod
    def make_provider(cls, settings: Settings) -> NspawnProvider:
        return NspawnProvider(settings)
