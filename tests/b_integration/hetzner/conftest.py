"""A cloud on loopback, fifty times as fast as the real one, and providers pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hetzner import Make, pointed_at
from standin import LoopbackHosts, StandIn
from testlab_hetzner.provider import HetznerProvider

SPEED = 50


@pytest.fixture(scope="module")
def cloud() -> Iterator[StandIn]:
    """The stand-in, empty; what a module's tests leave there is a fault of theirs."""
    with StandIn(LoopbackHosts(), speed=SPEED, seed=6) as standin:
        yield standin
        assert {kind: left for kind, left in standin.left().items() if left} == {}
        assert standin.api.mismatches == []


@pytest.fixture
def make(cloud: StandIn) -> Iterator[Make]:
    """Makes providers: `make(start=2.0)` with other times, `make({"location": "fsn1"})` with settings."""
    made: list[HetznerProvider] = []

    def provider(settings: dict[str, Any] | None = None, **times: float) -> HetznerProvider:
        made.append(pointed_at(cloud, settings, **times))
        return made[-1]

    yield provider
    cloud.behave()
    for one in made:
        one.close()
