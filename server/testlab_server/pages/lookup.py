"""Finding what an address names, or saying what it may have meant."""

from __future__ import annotations

from flask import url_for
from sqlalchemy import Connection

from pytest_testlab.store.reads import names, runs
from pytest_testlab.store.views import RunView
from testlab_server.mistakes import Unknown, nearest_names

_NEAR = 5


def found_run(connection: Connection, name: str) -> RunView:
    """The run of this name, or the newest for `latest`; raises `Unknown` with the nearest."""
    found = runs.get_run(connection, name)
    if found is None:
        near = names.nearest_runs(connection, name, limit=_NEAR)
        raise Unknown(f"There is no run {name!r}.", [(run, url_for("runs.show", run=run)) for run in near])
    return found


def unknown_in_run(connection: Connection, run: str, test: str) -> Unknown:
    """The mistake of naming a test that a run hasn't, with the nearest that it has."""
    near = nearest_names(test, [result.test for result in runs.results(connection, run)], _NEAR)
    places = [(name, url_for("attempts.show", run=run, test=name)) for name in near]
    return Unknown(f"The run {run} has no test {test!r}.", places)


def unknown_test(connection: Connection, test: str, lane: str | None) -> Unknown:
    """The mistake of naming a test that isn't there, or not in this lane, with the nearest."""
    near = names.nearest_tests(connection, test, limit=_NEAR)
    where = f" in the lane {lane}" if lane else ""
    return Unknown(f"There is no test {test!r}{where}.", [(name, url_for("tests.show", test=name)) for name in near])
