"""What servers cost: each hour begun, as clouds bill it; nothing at all is said where nobody charges."""

from __future__ import annotations

import datetime as dt

import pytest

from pytest_testlab.money import billed, euro
from pytest_testlab.pool.costs import Costs

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def _after(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


@pytest.mark.parametrize(("minutes", "hours"), [(0, 1), (1, 1), (60, 1), (60.1, 2), (150, 3)])
def test_each_hour_begun_is_billed_whole(minutes: float, hours: int) -> None:
    """A server of a minute costs what one of an hour does."""
    assert billed(0.5, NOON, _after(minutes)) == 0.5 * hours


def test_nobody_charges_anything() -> None:
    """That is None and not 0: nothing is known to cost nothing."""
    costs = Costs()
    costs.begin("a", None, NOON)
    costs.end("a", _after(5))
    assert costs.total(_after(10)) is None
    assert billed(None, NOON, _after(5)) is None


def test_a_run_pays_for_each_server_from_creation_to_gone() -> None:
    """What is gone costs no more, what stands does; a server made anew under an old name is another one."""
    costs = Costs()
    costs.begin("a", 1.0, NOON)
    costs.begin("b", 0.25, _after(30))
    costs.end("a", _after(61))
    costs.end("a", _after(400))
    costs.begin("a", 1.0, _after(70))
    assert costs.total(_after(80)) == 2.0 + 1.0 + 0.25
    assert costs.total(_after(100)) == 2.0 + 1.0 + 0.5


def test_a_server_that_is_adopted_keeps_its_hour() -> None:
    """Asking again for what there is already begins no second bill."""
    costs = Costs()
    costs.begin("a", 1.0, NOON)
    costs.begin("a", 1.0, _after(30))
    assert costs.total(_after(50)) == 1.0


def test_a_snapshot_is_paid_by_the_second() -> None:
    """Clouds bill storage pro rata."""
    costs = Costs()
    costs.begin("snapshot", 0.1, NOON, by_the_hour=False)
    costs.end("snapshot", _after(30))
    assert costs.total(_after(500)) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.00 €"), (0.0104, "0.010 €"), (0.0999, "0.10 €"), (0.1, "0.10 €"), (12.345, "12.35 €")]
)
def test_euro(amount: float, text: str) -> None:
    """Cents, and their tenths where a whole cent would say nothing."""
    assert euro(amount) == text
