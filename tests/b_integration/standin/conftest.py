"""The stand-in for the Hetzner Cloud API, and clients that were made for the real one."""

from __future__ import annotations

from collections.abc import Iterator

import hcloud
import pytest
from standin import StandIn
from standin.shapes import FILE

SPEED = 200.0
"""A server boots in an eighth of a second."""


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """With nobody at its servers' addresses; every answer that it gave was of the API's shape."""
    with StandIn(speed=SPEED) as standin:
        yield standin
        assert standin.api.mismatches == []


@pytest.fixture
def client(standin: StandIn) -> hcloud.Client:
    """The real client, pointed at the stand-in."""
    return hcloud.Client(standin.token, api_endpoint=standin.endpoint, poll_interval=0.02, timeout=(3, 10))


def pytest_report_header() -> str | None:
    return (
        None if FILE.is_file() else "the stand-in's answers are not checked: ../shared/hetzner/openapi.json is absent"
    )
