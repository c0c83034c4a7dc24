"""When a schedule is due, on ordinary days and on those on which clocks are changed."""

from __future__ import annotations

import datetime as dt
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.labfile.due import check_cron, due_times

BERLIN = "Europe/Berlin"
BEGINNING = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def moments(cron: str, after: str, count: int, zone: str = BERLIN) -> list[str]:
    began = dt.datetime.fromisoformat(after).replace(tzinfo=dt.UTC)
    return [f"{due.at:%d %H:%M%z}" for due in islice(due_times(cron, zone, began), count)]


def notes(cron: str, after: str, count: int) -> list[str]:
    began = dt.datetime.fromisoformat(after).replace(tzinfo=dt.UTC)
    return [due.note for due in islice(due_times(cron, BERLIN, began), count)]


def test_a_night_that_the_clocks_skip_begins_right_after() -> None:
    """02:30 doesn't exist on 28 March 2027: that night begins at 03:00, once, and says why."""
    assert moments("30 2 * * *", "2027-03-26T12:00", 3) == ["27 02:30+0100", "28 03:00+0200", "29 02:30+0200"]
    assert notes("30 2 * * *", "2027-03-26T12:00", 3) == [
        "",
        "the clocks skip 02:30 on this day; it begins as soon as they have",
        "",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    """02:30 comes twice on 25 October 2026: the first is taken, and it says so."""
    assert moments("30 2 * * *", "2026-10-24T12:00", 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert notes("30 2 * * *", "2026-10-24T12:00", 1) == ["the clocks show 02:30 twice on this day; this is the first"]


def test_asked_between_the_two_it_is_not_due_again() -> None:
    """A server that starts between the first and the second 02:30 doesn't begin the same night a second time."""
    assert moments("30 2 * * *", "2026-10-25T00:45", 1) == ["26 02:30+0100"]  # 02:45 summer time
    assert moments("30 2 * * *", "2026-10-25T01:10", 1) == ["26 02:30+0100"]  # 02:10 winter time


def test_by_the_hour_it_follows_real_time() -> None:
    """Each hour is an hour: both 02:30 are due in autumn, and none is in spring."""
    assert moments("30 * * * *", "2026-10-24T23:45", 3) == ["25 02:30+0200", "25 02:30+0100", "25 03:30+0100"]
    assert moments("30 * * * *", "2027-03-28T00:00", 2) == ["28 01:30+0100", "28 03:30+0200"]


def test_weekdays_count_as_in_cron() -> None:
    """0 and 7 are Sunday, 1 is Monday, names are allowed, and a day of the month or of the week will do."""
    sunday = moments("0 3 * * 0", "2026-11-16T00:00", 2, "UTC")
    assert sunday == moments("0 3 * * 7", "2026-11-16T00:00", 2, "UTC") == ["22 03:00+0000", "29 03:00+0000"]
    assert moments("0 3 * * MON", "2026-11-17T00:00", 1, "UTC") == ["23 03:00+0000"]
    assert moments("0 3 25 * MON", "2026-11-22T00:00", 2, "UTC") == ["23 03:00+0000", "25 03:00+0000"]


@settings(deadline=None)
@given(
    st.integers(0, 2 * 366 * 24 * 60).map(lambda minutes: BEGINNING + dt.timedelta(minutes=minutes)),
    st.sampled_from(["30 2 * * *", "0 3 * * *", "*/20 * * * *", "15 1-3 * * *", "0 2 * * SUN"]),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_each_is_later_than_the_last_whatever_the_moment(after: dt.datetime, cron: str, zone: str) -> None:
    """Nothing is due at or before the moment that was asked about, and nothing twice."""
    found = [due.at.astimezone(dt.UTC) for due in islice(due_times(cron, zone, after), 4)]
    assert found == sorted({*found})
    assert found[0] > after


@pytest.mark.parametrize(
    ("cron", "say"),
    [
        ("* * * *", "has 4 fields"),
        ("0 30 2 * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("61 2 * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 * * FOO", "bad day-of-week"),
    ],
)
def test_what_is_no_cron_is_refused(cron: str, say: str) -> None:
    """The field that is wrong is named."""
    with pytest.raises(ValueError, match=say):
        check_cron(cron)
