"""The provider `nspawn` keeps what the protocol promises, with hosts that boot."""

from __future__ import annotations

import os

import pytest
from testlab_nspawn.provider import NspawnProvider

from pytest_testlab.options import Settings
from pytest_testlab.testing import ProviderConformance

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts, and makes networks")


class TestNspawnProvider(ProviderConformance):
    @classmethod
    def make_provider(cls, settings: Settings) -> NspawnProvider:
        return NspawnProvider(settings)
