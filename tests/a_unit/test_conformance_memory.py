"""The provider and the platform `memory` keep what their protocols promise."""

from __future__ import annotations

from pytest_testlab.options import Settings
from pytest_testlab.testing import MemoryPlatform, MemoryProvider, PlatformConformance, ProviderConformance


class TestMemoryProvider(ProviderConformance):
    has_shell = False
    seen_by_others = False

    @classmethod
    def make_provider(cls, settings: Settings) -> MemoryProvider:
        return MemoryProvider()


class TestMemoryPlatform(PlatformConformance):
    provider = "memory"
    runs_apps = False

    @classmethod
    def make_platform(cls, settings: Settings) -> MemoryPlatform:
        return MemoryPlatform()
