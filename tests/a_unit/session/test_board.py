"""What a run is at: put together from the pool's slots, the results, and what workers told last."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from pytest_testlab.planning.forecast import LATE, Forecast
from pytest_testlab.planning.units import Estimates
from pytest_testlab.pool.pool import Slot, SlotState
from pytest_testlab.session.show.board import Board

A, B = "a/testlab.toml::install", "b/testlab.toml::install"


def board(*slots: Slot) -> Board:
    """Of a run of two tests that usually take ten seconds each, as far as a board reads it."""
    expected = {A: 10.0, B: 10.0}
    run: Any = SimpleNamespace(
        id="r", results={}, tests={A: {"entry": "a", "stage": "install", "suffix": ""}}, projected_s=10.0, elapsed=50.0,
        forecast=Forecast(expected, 10.0), estimates=Estimates(by_test=expected, by_kind={}), expected_s=expected.get,
        pool=SimpleNamespace(slots=slots), settings=SimpleNamespace(provider="memory"),
        recorder=SimpleNamespace(away=None),
    )  # fmt: skip
    return Board(run)


def test_a_test_that_was_reported_does_not_run_any_more() -> None:
    """Whatever its worker told last: it says what it does every few seconds only."""
    found = board(Slot(index=0, state=SlotState.BUSY))
    found.tell(0, {"test": A, "since": time.monotonic() - 65, "phase": "ready"})
    assert [target.test for target in found.run_now().targets] == ["a · install"]
    found._run.results[A] = {"status": "failed"}
    assert [target.test for target in found.run_now().targets] == [""]


def test_what_is_left_while_targets_boot_and_when_all_is_late() -> None:
    """A plan begins when its first test does; once it is overrun, and all that runs too, no time is told."""
    found = board(Slot(index=0), Slot(index=1))
    assert found.run_now().left_s == 10.0
    for slot in found._run.pool.slots:
        slot.state = SlotState.BUSY
    for index, test in enumerate((A, B)):
        found.tell(index, {"test": test, "since": time.monotonic() - 40, "phase": "build"})
    assert found.run_now().left_s == LATE
