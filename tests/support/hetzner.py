"""The provider `hetzner`, pointed at a stand-in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from standin import StandIn
from testlab_hetzner import TOKEN
from testlab_hetzner.provider import HetznerProvider
from testlab_hetzner.times import Times

from pytest_testlab.model import ServerRequest
from pytest_testlab.options import Settings

Make = Callable[..., HetznerProvider]
_runs = itertools.count(1)


def a_request(**more: Any) -> ServerRequest:
    """Of a run that nobody else is."""
    return ServerRequest(run=f"r{next(_runs)}", slot=0, **more)


def pointed_at(standin: StandIn, settings: dict[str, Any] | None = None, **times: float) -> HetznerProvider:
    """A provider with the stand-in's token and pauses as short as it is fast; `settings` and `times` replace others.

    It has no slots that go at the same time, unless `times` says otherwise.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in standin.environ.items():
            if name != TOKEN:
                patch.setenv(name, value)
        return HetznerProvider(
            Settings(**{"credentials": {TOKEN: standin.token}, **(settings or {})}),
            replace(Times().faster(standin.clock.speed), **{"gather": 0.01, "settle": 0.01, **times}),
        )
