"""The machine's clock is set in mid-run: how long things took, and by when they must be done, doesn't change."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from faulty import Catalog

from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.reads import attempts, runs

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
WITNESS = """

import datetime


def pytest_runtest_logreport(report):
    if report.when == "call" and not os.environ.get("PYTEST_XDIST_WORKER"):
        with (HERE / "clock").open("a") as file:
            file.write(f"{time.time()}\\n")
"""


@pytest.mark.skipif(LIBRARY is None, reason="needs a clock that can be set for one run: apt install faketime")
@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_an_hour_in_mid_run(catalog: Catalog, jump_s: int) -> None:
    """Every test runs, the budget isn't touched, and all moments of the run stand in their order, minutes apart."""
    clock = catalog.folder / "offset"
    clock.write_text("+0\n")
    catalog.env |= {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with (catalog.folder / "conftest.py").open("a") as file:
        file.write(WITNESS)
    catalog.entries("alpha", "hold-one", "hold-two")
    run = catalog.start("--testlab-budget", "30m")
    catalog.at("one")
    catalog.at("two")
    clock.write_text(f"{jump_s:+d}\n")
    catalog.open("one")
    catalog.open("two")
    code, output = catalog.ends(run)
    assert code == 0, output
    told = [float(line) for line in (catalog.folder / "clock").read_text().split()]
    assert abs(told[-1] - told[0] - jump_s) < 600, "the clock was not set"
    assert set(catalog.statuses().values()) == {"passed"}
    assert catalog.db is not None
    engine = make_engine(catalog.db)
    with engine.connect() as connection:
        view = runs.get_run(connection, "latest")
        targets = runs.targets(connection, "latest")
        results = runs.results(connection, "latest")
        told_of_targets = attempts.transcript(connection, "latest")
    engine.dispose()
    assert view is not None
    assert view.finished_at is not None
    assert dt.timedelta() < view.finished_at - view.started_at < dt.timedelta(minutes=10)
    assert 0 < view.phases["total"] < 600
    for result in results:
        assert result.started_at is not None
        assert result.duration_s is not None
        assert view.started_at - dt.timedelta(seconds=1) <= result.started_at <= view.finished_at
        assert 0 <= result.duration_s < 600
    assert [target.state for target in targets] == ["gone", "gone"]
    assert all(view.started_at <= target.at <= view.finished_at + dt.timedelta(seconds=1) for target in targets)
    assert told_of_targets is not None
    assert [line.split()[-1] for line in told_of_targets.decode().splitlines()[-2:]] == ["gone", "gone"]
