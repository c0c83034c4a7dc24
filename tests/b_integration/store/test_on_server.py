"""Runs on kept servers: recorded whole, and outside of whatever runs are held against each other by."""

from __future__ import annotations

from recorded import Recorded

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.reads import diff, estimates, names, runs, tests

T = "apps/a/testlab.toml::install"
FAILED = "failed app-crash it crashed"


def test_a_run_on_a_kept_server_changes_no_history(recorded: Recorded) -> None:
    """Neither strip nor estimate nor the next night's diff knows of it, though its result can be read."""
    night = recorded.run({T: "passed"})
    with recorded.store.engine.connect() as connection:
        before = tests.list_tests(connection)
        known = estimates.estimates(connection, provider="local", image="")
    looked = recorded.run({T: FAILED, "apps/b/testlab.toml::install": "passed"}, mode=ON_SERVER)
    with recorded.store.engine.connect() as connection:
        assert tests.list_tests(connection) == before
        assert estimates.estimates(connection, provider="local", image="") == known
        assert [result.status for result in runs.results(connection, looked)] == ["failed", "passed"]
        assert runs.list_runs(connection, mode=ON_SERVER)[0].counts == {"passed": 1, "failed": 1}
        latest = diff.diff(connection)
    assert latest is not None
    assert latest.run.run == night
    after = recorded.run({T: "passed"})
    with recorded.store.engine.connect() as connection:
        found = diff.diff(connection, after)
    assert found is not None
    assert (found.previous, found.still_passing, found.newly_fixed) == (night, 1, ())


def test_the_last_outcome_is_not_that_of_a_run_on_a_kept_server(recorded: Recorded) -> None:
    """It is told of where it is named, or where there is no other."""
    looked = recorded.run({T: FAILED}, mode=ON_SERVER)
    with recorded.store.engine.connect() as connection:
        latest = runs.get_run(connection, runs.LATEST)
        assert (names.latest_run_with(connection, T), latest and latest.run) == (looked, looked)
    night = recorded.run({T: FAILED})
    recorded.run({T: "passed"}, mode=ON_SERVER)
    with recorded.store.engine.connect() as connection:
        latest = runs.get_run(connection, runs.LATEST)
        assert (names.latest_run_with(connection, T), latest and latest.run) == (night, night)


def test_runs_on_kept_servers_are_not_held_against_each_other(recorded: Recorded) -> None:
    """Each server was in a state of its own: what a second look finds is new again, with no streak."""
    recorded.run({T: FAILED}, mode=ON_SERVER)
    again = recorded.run({T: FAILED}, mode=ON_SERVER)
    with recorded.store.engine.connect() as connection:
        found = diff.diff(connection, again)
    assert found is not None
    assert found.previous is None
    assert [(item.test, item.streak) for item in found.new] == [(T, 0)]
