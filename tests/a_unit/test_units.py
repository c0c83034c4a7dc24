"""Units and their order."""

from __future__ import annotations

import pytest

from pytest_testlab.planning.forecast import LATE, Forecast, Running
from pytest_testlab.planning.units import PRIOR_S, Estimates, Unit, Wish, longest_first, make_units, projected_s

TESTS = ["a/testlab.toml::install", "a/testlab.toml::check", "b/testlab.toml::install", "t.py::one", "t.py::two"]
KINDS = {test: f"apps/{test.rpartition('::')[2]}" for test in TESTS[:3]}


def unit(key: str, seconds: float) -> Unit:
    return Unit(key=key, indices=(0,), estimate_s=seconds)


def test_an_entry_is_a_unit() -> None:
    """Stages of an entry stay together and in order; other tests stand alone."""
    units = make_units(TESTS, KINDS, Estimates(by_test={}, by_kind={}))
    assert [(u.key, u.indices) for u in units] == [
        ("a/testlab.toml", (0, 1)),
        ("b/testlab.toml", (2,)),
        ("t.py::one", (3,)),
        ("t.py::two", (4,)),
    ]


def test_history_beats_priors() -> None:
    """A test's own history counts first, then that of its kind, then the constant."""
    estimates = Estimates(by_test={"x": 3.0}, by_kind={"apps/install": 20.0})
    assert estimates.of("x", "apps/install") == 3.0
    assert estimates.of("y", "apps/install") == 20.0
    assert estimates.of("y", "demos/check") == PRIOR_S["check"]


def test_longest_first_is_stable() -> None:
    """The longest is pulled first, and equals keep the collection's order."""
    order = longest_first([unit("a", 1), unit("b", 5), unit("c", 1), unit("d", 5)])
    assert [u.key for u in order] == ["b", "d", "a", "c"]


@pytest.mark.parametrize(("pool", "seconds"), [(1, 10.0), (2, 5.0), (3, 4.0), (8, 4.0)])
def test_projection(pool: int, seconds: float) -> None:
    """The projection is the makespan of longest-first pulling."""
    assert projected_s([unit("a", 4), unit("b", 3), unit("c", 2), unit("d", 1)], pool) == seconds


def test_the_forecast_scales_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what was expected took ten seconds, so the other half takes ten more; a repeat doesn't count."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    forecast = Forecast({"a": 3.0, "b": 1.0, "c": 4.0})
    assert forecast.remaining_s is None
    now = 110.0
    for test in ("a", "b", "b"):
        forecast.took(test)
    assert forecast.remaining_s == pytest.approx(10.0)
    forecast.took("c")
    assert forecast.remaining_s is None


def late(test: str, spent_s: float, expected_s: float | None = 10.0) -> Running:
    return Running(test=test, spent_s=spent_s, expected_s=expected_s)


def test_the_forecast_before_any_test_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the plan passes while targets are made; once that is overrun, nobody can say what is left."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    forecast = Forecast({"a": 10.0, "b": 10.0}, 20.0)
    now = 160.0
    assert forecast.left_s([]) == 20.0
    assert forecast.left_s([late("a", 4.0)]) == 16.0
    assert forecast.left_s([late("a", 15.0)]) == 5.0
    assert forecast.left_s([late("a", 33.0)]) == LATE
    assert Forecast({"a": 10.0}).left_s([late("a", 33.0)]) is None


def test_the_forecast_ends_after_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before a test that runs is through, nor soon while one is long over; of late ones alone nobody knows."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    forecast = Forecast({"a": 10.0, "b": 1.0, "c": 1.0}, 12.0)
    now = 110.0
    forecast.took("a")
    assert forecast.left_s([]) == pytest.approx(2.0)
    assert forecast.left_s([late("b", 0.5, 8.0)]) == pytest.approx(7.5)
    assert forecast.left_s([late("b", 31.0, 1.0)]) == pytest.approx(30.0)
    assert forecast.left_s([late("b", 31.0, 1.0), late("c", 2.0, 1.0)]) == LATE
    assert forecast.left_s([late("b", 31.0, None), late("a", 50.0)]) == pytest.approx(2.0)


def test_units_as_their_tests_wish() -> None:
    """A test names its unit, whether that wants a target for itself, and whether all others wait for it."""
    tests = ["a::install", "t.py::one", "t.py::two", "platform::install"]
    wishes = {
        "t.py::one": Wish(unit="t.py::one", alone=True),
        "t.py::two": Wish(unit="t.py::two"),
        "platform::install": Wish(unit="platform::install", first=True),
    }
    units = make_units(tests, dict.fromkeys(tests, "platform/x"), Estimates(by_test={}, by_kind={}), wishes)
    assert [(unit.key, unit.indices, unit.alone, unit.first) for unit in longest_first(units)] == [
        ("platform::install", (3,), False, True),
        ("a", (0,), False, False),
        ("t.py::one", (1,), True, False),
        ("t.py::two", (2,), False, False),
    ]


def test_all_wait_for_the_first_unit() -> None:
    """The projection counts it once, before anything else."""
    units = [Unit(key=str(n), indices=(n,), estimate_s=10.0, first=n == 0) for n in range(3)]
    assert projected_s(units, 2) == 20.0
    assert projected_s(units, 1) == 30.0
