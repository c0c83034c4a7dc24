"""The store is stopped, killed, starved or changed under real runs: they go on, and in the end it has each result."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import psycopg
import pytest
from faulty import Catalog, OwnServer, within

from pytest_testlab.store import migrate

FIRST = ("alpha", "beta")
ALL = (*FIRST, "hold-one", "hold-two")


def both_of(*entries: str) -> set[str]:
    return {f"{entry}/testlab.toml::{stage}" for entry in entries for stage in ("install", "check")}


def all_passed(catalog: Catalog) -> None:
    """Every test is there, and once."""
    assert catalog.statuses() == dict.fromkeys(both_of(*ALL), "passed")
    assert catalog.attempts() == len(both_of(*ALL))


def _stop(server: OwnServer) -> None:
    server.stop()


def _kill(server: OwnServer) -> None:
    server.kill()


@pytest.mark.parametrize("take_away", [_stop, _kill], ids=["stopped", "killed"])
def test_a_store_that_is_away_for_a_while(
    catalog: Catalog, server: OwnServer, take_away: Callable[[OwnServer], None]
) -> None:
    """The run goes on meanwhile and says that it records to disk only; the store then has each result once."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    take_away(server)
    catalog.open("one")
    catalog.says("): recording to disk only; ")
    server.start()
    assert within(60, lambda: catalog.statuses().get("hold-one/testlab.toml::check") == "passed")
    catalog.says("the store is back, and takes in what waited on disk")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    assert "testlab recover" not in output
    all_passed(catalog)


@pytest.mark.parametrize("drained_by", ["recover", "the next run"])
def test_a_store_that_stays_away(catalog: Catalog, server: OwnServer, drained_by: str) -> None:
    """The exit code is the tests'; the last line says what to type, and that, or the next run, brings all of it in."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    server.stop()
    catalog.open("one")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    assert "testlab: the store is away: " in output
    assert f" events of this run are kept on disk only, in {catalog.home}/runs/" in output
    assert "the next run takes them in, or type: testlab recover (with the same --db" in output
    server.start()
    if drained_by == "recover":
        said = catalog.testlab("recover")
        assert "had not reached the store whole; now it has" in said
        assert "nothing to recover" in catalog.testlab("recover")
        all_passed(catalog)
    else:
        code, output = catalog.ends(catalog.start("alpha", pool=1))
        assert code == 0, output
        assert "had not reached the store whole; now it has" in output
        assert catalog.attempts() == len(both_of(*ALL)) + len(both_of("alpha"))


WITNESS = """
from pathlib import Path
from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.testing import MemoryProvider


class Witness(MemoryProvider):
    def create(self, request):
        Path(__file__).with_name("created").touch()
        return super().create(request)


@hookimpl
def testlab_providers():
    return {"witness": lambda settings: Witness()}


def pytest_configure_node(node):
    Path(__file__).with_name("worker").touch()
"""


def refused(catalog: Catalog) -> str:
    """A run that must not begin: one line, exit code 4, no worker and no server."""
    with (catalog.folder / "conftest.py").open("a") as file:
        file.write(WITNESS)
    catalog.entries("alpha")
    code, output = catalog.ends(catalog.start("--testlab-provider", "witness"))
    assert code == 4, output
    (line,) = [line for line in output.splitlines() if line.strip()]
    assert not (catalog.folder / "created").exists()
    assert not (catalog.folder / "worker").exists()
    assert list((catalog.home / "runs").iterdir()) == []
    return line


def test_a_store_that_is_not_there_at_the_start(catalog: Catalog, server: OwnServer) -> None:
    """Nothing is begun: nobody knows whether it could ever take the run in."""
    server.stop()
    line = refused(catalog)
    assert line.startswith("ERROR: the store can't be reached: ")
    assert line.endswith("without either the embedded one is used")


def test_a_store_of_a_newer_schema_at_the_start(catalog: Catalog, server: OwnServer) -> None:
    """Nothing is begun, and nothing is touched in it."""
    assert "run" in catalog.testlab("runs")
    server.bring_to("9999")
    try:
        assert refused(catalog) == (
            f"ERROR: the store's schema is 9999, newer than this program's {migrate.HEAD}: "
            "upgrade pytest-testlab, or use another store"
        )
    finally:
        server.bring_to(migrate.HEAD)


def test_a_store_without_a_connection_left_at_the_start(
    catalog: Catalog, server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again for some seconds; then nothing is begun."""
    with contextlib.ExitStack() as taken:
        _take_all(server, taken)
        line = refused(catalog)
    assert "too many clients" in line or "connection slots" in line


def _take_all(server: OwnServer, taken: contextlib.ExitStack) -> None:
    """Until PostgreSQL refuses."""
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.enter_context(psycopg.connect(server.url, application_name="greedy"))


def test_a_store_that_runs_out_of_connections(catalog: Catalog, server: OwnServer) -> None:
    """The run goes on without, and its results follow once there is one to be had."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    with contextlib.ExitStack() as taken:
        own = taken.enter_context(psycopg.connect(server.url, autocommit=True, application_name="greedy"))
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'testlab'"

        def all_ours() -> bool:
            cut_off = own.execute(cut).fetchone()
            _take_all(server, taken)
            return cut_off == (0,)

        assert within(60, all_ours)
        catalog.open("one")
        catalog.says("): recording to disk only; ")
    assert within(60, lambda: catalog.statuses().get("hold-one/testlab.toml::check") == "passed")
    catalog.says("the store is back, and takes in what waited on disk")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    all_passed(catalog)


def test_a_newer_program_that_upgrades_the_store_in_mid_run(catalog: Catalog, server: OwnServer) -> None:
    """This one writes nothing into what it doesn't know: the rest waits on disk for the newer program."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    server.bring_to("9999")
    try:
        catalog.open("one")
        catalog.open("two")
        code, output = catalog.ends(run)
    finally:
        server.bring_to(migrate.HEAD)
    assert code == 0, output
    assert "the store is away: the store's schema is 9999, newer than this program's" in output
    assert both_of("hold-one").isdisjoint(test for test, status in catalog.statuses().items() if status == "passed")
    assert "now it has" in catalog.testlab("recover")
    all_passed(catalog)


def test_a_store_that_comes_back_empty(catalog: Catalog, server: OwnServer) -> None:
    """A restored backup may know nothing of the run: it is told again from the beginning."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    server.stop()
    server.start()
    server.empty()
    catalog.open("one")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    all_passed(catalog)


def test_the_embedded_store_is_started_again(catalog: Catalog) -> None:
    """A kill -9 of the lab's own PostgreSQL in mid-run needs nobody: it is back before the run ends."""
    catalog.db = None
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    pid = int((catalog.home / "pg" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    catalog.open("one")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    assert "testlab recover" not in output
    assert '"passed": 8' in catalog.testlab("runs", "--json")


def test_a_run_is_not_taken_into_another_store(catalog: Catalog, server: OwnServer) -> None:
    """What was begun in one store waits for it, rather than be split over two."""
    catalog.entries(*ALL)
    run = catalog.start()
    catalog.at("one")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(90)
    own, catalog.db = catalog.db, None
    said = catalog.testlab("recover")
    assert "was begun in another store, and waits on disk for it" in said
    assert "[]" in catalog.testlab("runs", "--json")
    catalog.db = own
    assert "was left by a session that was killed" in catalog.testlab("recover")
    assert catalog.statuses()["hold-one/testlab.toml::install"] == "not_run"
