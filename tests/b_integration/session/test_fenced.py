"""A target that is taken from a run is used no more, and what came of it doesn't count."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sessions import LabSession

from pytest_testlab.model import LEASE_LOST
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import leases as reads
from pytest_testlab.store.views import LeaseView
from pytest_testlab.store.writes import leases as writes

HELD = """
    import os
    import threading
    import time
    from pathlib import Path

    import pytest
    from pytest_testlab.distribution import private
    from pytest_testlab.pool import leases

    leases.TTL_S = 3.0
    kill = private.kill
    private.kill = lambda *who: threading.Timer(3.0, kill, who).start()  # a machine that takes its time
    HERE = Path(__file__).parent

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        if item.nodeid.startswith("held/") and item.nodeid.endswith("install"):
            (HERE / "at.new").write_text(os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
            (HERE / "at.new").rename(HERE / "at")
            deadline = time.monotonic() + 100
            while not (HERE / "go").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        return (yield)
"""


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("pool", [1, 2])
def test_a_fenced_target_gets_no_further_test(lab: LabSession, store: StoreHandle, pool: int) -> None:
    """Its worker is killed, and what it still said until then doesn't count: its tests are tried again elsewhere.

    With a single target the run is given up.
    """
    lab.conftest(HELD)
    for name in ("held", "other"):
        lab.entry(name)
    process = lab.start(pool=pool)
    lab.wait_for("at", process)

    slot = int((lab.pytester.path / "at").read_text().removeprefix("gw"))

    def held() -> list[LeaseView]:
        with store.engine.connect() as connection:
            return [one for one in reads.held(connection) if one.slot == slot]

    def state() -> object:
        with store.engine.connect() as connection:
            return connection.scalar(sa.text("SELECT state FROM run_target WHERE slot = :slot"), {"slot": slot})

    until(held)
    [lease] = held()
    with store.engine.begin() as connection:
        assert writes.take_away(connection, lease.key)
    until(lambda: state() == "lost")
    (lab.pytester.path / "go").touch()
    output = process.communicate(timeout=100)[0]
    assert f"the lease of {lease.server} was lost: it was ended, under epoch 2" in output
    if pool == 1:
        assert process.returncode == 6, output
        assert lab.attempt("held/testlab.toml::install", 1).result.failure_class == "infra"
        assert lab.latest().state == "aborted"
    else:
        assert process.returncode == 0, output
        assert lab.statuses()["held::install"] == "flaky"
        attempt = lab.attempt("held/testlab.toml::install", 1)
        assert attempt.result.failure_class == "infra"
        assert f"rule: {LEASE_LOST}" in attempt.result.headline
        assert lab.results()["held/testlab.toml::check"].status in ("passed", "flaky")
        assert lab.results()["held/testlab.toml::check"].target != lease.server
    with store.engine.connect() as connection:
        assert reads.held(connection) == []
