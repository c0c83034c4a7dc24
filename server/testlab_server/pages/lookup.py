"""Finding what an address names, or saying what it may have meant."""

from __future__ import annotations

from flask import url_for
from sqlalchemy import Connection

from pytest_testlab.errors import UsageError
from pytest_testlab.store.reads import runs, tests
from pytest_testlab.store.views import RunView
from testlab_server.mistakes import Unknown, nearest_names


def found_run(connection: Connection, name: str) -> RunView:
    """The run of this name, or the newest for `latest`; raises `Unknown` with the nearest."""
    try:
        return runs.get_run(connection, name)
    except UsageError:
        known = [run.run for run in runs.list_runs(connection, limit=200)]
        near = [(run, url_for("runs.show", run=run)) for run in nearest_names(name, known)]
        raise Unknown(f"There is no run {name!r}.", near) from None


def unknown_test(connection: Connection, name: str, run: str | None = None) -> Unknown:
    """The mistake of naming a test that isn't there, in a run or at all, with the nearest."""
    if run is not None:
        known = [result.test for result in runs.results(connection, run)]
        near = [(test, url_for("attempts.show", run=run, test=test)) for test in nearest_names(name, known)]
        return Unknown(f"The run {run} has no test {name!r}.", near)
    known = [view.test for view in tests.list_tests(connection)]
    near = [(test, url_for("tests.show", test=test)) for test in nearest_names(name, known)]
    return Unknown(f"There is no test {name!r}.", near)
