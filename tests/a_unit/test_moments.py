"""Dates for people are by the machine's clock, with the zone named."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

import pytest

from pytest_testlab.moments import shown


@pytest.fixture
def zoned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone for a while."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zoned", "say"),
    [
        ("Europe/Berlin", "2026-07-01 14:00 CEST"),
        ("America/New_York", "2026-07-01 08:00 EDT"),
        ("America/Sao_Paulo", "2026-07-01 09:00 UTC-03"),
        ("UTC", "2026-07-01 12:00 UTC"),
    ],
    indirect=["zoned"],
)
@pytest.mark.usefixtures("zoned")
def test_the_zone_is_named(say: str) -> None:
    """Whoever reads a line of another machine's log knows what its times mean."""
    noon = dt.datetime(2026, 7, 1, 12, 0, 5, tzinfo=dt.UTC)
    assert shown(noon) == say
    assert shown(noon, seconds=True) == say.replace(":00 ", ":00:05 ")
