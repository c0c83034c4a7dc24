"""The diff: each test against its own last outcome in the lane."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from recorded import FIRST, Recorded

from pytest_testlab.store.reads.diff import diff
from pytest_testlab.store.views import DiffItem, DiffView

LISTS = (
    "newly_failing", "newly_fixed", "still_failing", "flaky", "errors", "blocked", "skipped", "new", "missing", "shed",
    "not_run",
)  # fmt: skip
T = "apps/a/testlab.toml::install"
FAILED = "failed app-crash it crashed"
PASSED = "passed"

# What came of one test, night by night, and the list of the last night's diff that it is in (None = still passing).
HISTORIES: list[tuple[list[str | None], str | None]] = [
    ([PASSED], "new"),
    ([FAILED], "new"),
    ([PASSED, PASSED], None),
    ([PASSED, FAILED], "newly_failing"),
    ([FAILED, PASSED], "newly_fixed"),
    ([FAILED, FAILED], "still_failing"),
    (["flaky", PASSED], None),
    (["flaky", FAILED], "newly_failing"),
    ([FAILED, "flaky"], "flaky"),
    ([PASSED, "error infra no route"], "errors"),
    ([PASSED, "blocked install failed"], "blocked"),
    ([PASSED, "skipped needs node"], "skipped"),
    ([PASSED, "shed no time"], "shed"),
    ([PASSED, None], "not_run"),
    # What is no outcome is looked through, whatever it was.
    ([FAILED, "error infra no route", FAILED], "still_failing"),
    ([FAILED, "skipped needs node", PASSED], "newly_fixed"),
    ([PASSED, "blocked install failed", FAILED], "newly_failing"),
    ([PASSED, "shed no time", None, PASSED], None),
    (["skipped needs node", FAILED], "new"),
    (["error infra no route", PASSED], "new"),
]


def lists(view: DiffView) -> dict[str, list[str]]:
    return {name: [item.test for item in getattr(view, name)] for name in LISTS if getattr(view, name)}


def only(view: DiffView, name: str) -> DiffItem:
    (item,) = getattr(view, name)
    return item


def told(recorded: Recorded, run: str | None = None) -> DiffView:
    with recorded.store.engine.connect() as connection:
        view = diff(connection, run)
    assert view is not None
    return view


@pytest.mark.parametrize(("nights", "expected"), HISTORIES, ids=lambda value: str(value))
def test_each_test_is_in_just_the_list_that_its_history_says(
    recorded: Recorded, nights: list[str | None], expected: str | None
) -> None:
    """One history, one list."""
    for came in nights:
        recorded.run({T: came})
    view = told(recorded)
    assert lists(view) == ({expected: [T]} if expected else {})
    assert view.still_passing == (0 if expected else 1)
    assert view.previous == (f"night{len(nights) - 2}" if len(nights) > 1 else None)


def test_a_failure_says_since_when_and_for_how_many_runs(recorded: Recorded) -> None:
    """The streak goes back to the last pass, through nights without an outcome."""
    for came in (PASSED, FAILED, "error infra no route", FAILED, FAILED):
        recorded.run({T: came})
    item = only(told(recorded), "still_failing")
    assert item.streak == 3
    assert item.since is not None
    assert (item.since - FIRST).days == 1
    assert item.headline == ("it crashed",)
    assert item.failure_class == "app-crash"


def test_another_cause_inside_a_streak_is_seen(recorded: Recorded) -> None:
    """Another class, or another text with numbers masked, is another cause; other numbers are not."""
    other = "apps/b/testlab.toml::install"
    third = "apps/c/testlab.toml::install"
    recorded.run({T: "failed app-crash exit 1", other: "failed app-crash exit 1", third: "failed app-crash exit 1"})
    recorded.run({T: "failed app-crash exit 77", other: "failed app-crash no module x", third: "failed timeout exit 1"})
    changed = {item.test: item.changed_class for item in told(recorded).still_failing}
    assert changed == {T: False, other: True, third: True}


def test_a_test_is_missing_only_against_the_last_complete_run_of_the_same_selection(recorded: Recorded) -> None:
    """`-k`, an aborted run, or another lane makes nothing missing; a test taken out of the catalog is."""
    gone = "apps/gone/testlab.toml::install"
    recorded.run({T: PASSED, gone: FAILED})
    recorded.run({T: PASSED}, selection="-k a")
    assert lists(told(recorded)) == {}
    recorded.run({T: PASSED}, branch="topic")
    assert lists(told(recorded)) == {"new": [T]}
    recorded.run({T: PASSED}, state="aborted")
    assert lists(told(recorded)) == {"missing": [gone]}
    recorded.run({T: PASSED})
    item = only(told(recorded), "missing")
    assert (item.test, item.status, item.failure_class) == (gone, "failed", "app-crash")
    recorded.run({T: PASSED})
    assert lists(told(recorded)) == {}


def test_lanes_are_not_compared(recorded: Recorded) -> None:
    """A failure on a branch says nothing of the main lane."""
    recorded.run({T: PASSED})
    recorded.run({T: FAILED}, branch="topic")
    recorded.run({T: FAILED})
    assert lists(told(recorded)) == {"newly_failing": [T]}
    assert told(recorded).previous == "night0"


def test_an_older_run_is_compared_with_what_was_before_it(recorded: Recorded) -> None:
    """Looking back shows what that morning showed."""
    for came in (PASSED, FAILED, PASSED):
        recorded.run({T: came})
    assert lists(told(recorded, "night1")) == {"newly_failing": [T]}
    assert lists(told(recorded, "night2")) == {"newly_fixed": [T]}


def test_a_run_that_goes_on_shows_what_it_has(recorded: Recorded) -> None:
    """Tests that wait are in no list yet."""
    recorded.run({T: PASSED})
    recorded.run({T: FAILED, "apps/b/testlab.toml::install": None}, state=None)
    assert lists(told(recorded)) == {"newly_failing": [T]}


def test_there_is_no_diff_of_nothing(recorded: Recorded) -> None:
    """An empty store and an unknown run give None."""
    with recorded.store.engine.connect() as connection:
        assert diff(connection) is None
        assert diff(connection, "nothing") is None


def test_runs_are_ordered_by_their_start_and_not_by_their_arrival(recorded: Recorded) -> None:
    """A run that was recovered days later takes its own place in history."""
    recorded.run({T: PASSED})
    recorded.count = 2
    recorded.run({T: FAILED})
    recorded.count = 1
    recorded.run({T: FAILED}, run="late")
    assert lists(told(recorded)) == {"still_failing": [T]}
    with recorded.store.engine.connect() as connection:
        names = list(connection.scalars(sa.text("SELECT name FROM run ORDER BY id")))
    assert names == ["night0", "late", "night2"]


def test_a_run_without_tests_is_nothing_to_compare_with(recorded: Recorded) -> None:
    """Neither the latest, nor the one before: it ended before it knew its tests."""
    recorded.run({}, state="aborted")
    assert told(recorded).run.run == "night0", "where there is no other"
    recorded.run({T: PASSED})
    assert told(recorded).previous is None
    recorded.run({}, state="aborted")
    recorded.run({T: FAILED})
    recorded.run({}, state="interrupted")
    for asked in (None, "latest"):
        view = told(recorded, asked)
        assert (view.run.run, view.previous) == ("night3", "night1")
        assert lists(view) == {"newly_failing": [T]}
    assert told(recorded, "night4").run.run == "night4"
