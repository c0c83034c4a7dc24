"""For authors of plugins: the provider and the platform `memory`, and the conformance suites.

A provider of one's own inherits `ProviderConformance`, a platform `PlatformConformance`; what each promises is tested
then by some forty tests. See docs/guide/plugins.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_testlab.testing.memory import (
    MemoryAnswer,
    MemoryClient,
    MemoryPlatform,
    MemoryProvider,
    MemoryTarget,
    testlab_platforms,
    testlab_providers,
)

if TYPE_CHECKING:
    from pytest_testlab.testing.platforms import PlatformConformance
    from pytest_testlab.testing.providers import ProviderConformance

__all__ = [
    "MemoryAnswer",
    "MemoryClient",
    "MemoryPlatform",
    "MemoryProvider",
    "MemoryTarget",
    "PlatformConformance",
    "ProviderConformance",
    "testlab_platforms",
    "testlab_providers",
]
_SUITES = {"PlatformConformance": "platforms", "ProviderConformance": "providers"}


def __getattr__(name: str) -> Any:
    """The suites, imported when asked for: every session registers this module, and few need pytest's half of it."""
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("targets", *_SUITES.values())))
    return getattr(importlib.import_module(f"{__name__}.{_SUITES[name]}"), name)
