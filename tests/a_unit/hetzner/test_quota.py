"""The quota of the API: kept to, and some of it kept for deletes."""

from __future__ import annotations

import pytest
from testlab_hetzner.quota import Quota

from pytest_testlab.errors import InfraError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quota(clock: Clock) -> Quota:
    return Quota(lambda: clock.now, clock.sleep)


def _told(left: int, clock: Clock, limit: int = 100) -> dict[str, str]:
    """One a second comes back."""
    reset = clock.now + limit - left
    return {"RateLimit-Limit": str(limit), "RateLimit-Remaining": str(left), "RateLimit-Reset": f"{reset:.0f}"}


def test_nothing_is_held_back_before_the_api_told_of_a_quota(quota: Quota, clock: Clock) -> None:
    """Or where its headers can't be read."""
    quota.heard({"RateLimit-Limit": "many"})
    quota.take(urgent=False, within_s=0)
    assert clock.slept == []


def test_the_last_tenth_is_for_deletes(quota: Quota, clock: Clock) -> None:
    """Others wait until there is more again."""
    quota.heard(_told(10, clock))
    quota.take(urgent=True, within_s=0)
    assert clock.slept == []
    quota.take(urgent=False, within_s=60)
    assert sum(clock.slept) == pytest.approx(2, abs=0.1)


def test_who_would_wait_too_long_is_told_why(quota: Quota, clock: Clock) -> None:
    quota.heard(_told(3, clock))
    with pytest.raises(
        InfraError, match=r"^the quota of the API is used up: 3 of 100 requests are left, which are kept"
    ):
        quota.take(urgent=False, within_s=5)
    assert clock.slept == []


def test_requests_are_counted_between_two_answers(quota: Quota, clock: Clock) -> None:
    """Several threads ask at once, and no answer is there yet."""
    quota.heard(_told(12, clock))
    quota.take(urgent=False, within_s=0)
    quota.take(urgent=False, within_s=0)
    with pytest.raises(InfraError):
        quota.take(urgent=False, within_s=0.5)
