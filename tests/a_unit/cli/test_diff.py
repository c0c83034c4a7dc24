"""`testlab diff`, as people read it."""

from __future__ import annotations

import datetime as dt

import pytest

from pytest_testlab.cli import diff
from pytest_testlab.store.views import DiffView, RunView

RUN = "20261130-0230-abcd"


@pytest.mark.parametrize(("state", "said"), [("running", True), ("finished", False)])
def test_a_run_that_goes_on_is_said_to(capsys: pytest.CaptureFixture[str], state: str, said: bool) -> None:
    """Of a night that still runs the diff is what is known of it so far."""
    run = RunView(
        run=RUN,
        mode="nightly",
        lane="nightly/main/procfile/local",
        trigger="scheduled-nightly",
        actor="lab",
        branch="main",
        sha="",
        dirty=False,
        platform="procfile",
        provider="local",
        image="",
        runner_version="1",
        pool=2,
        budget_s=3600.0,
        started_at=dt.datetime(2026, 11, 30, 2, 30, tzinfo=dt.UTC),
        finished_at=None,
        state=state,
        say="",
        exit_code=None,
        planned=9,
        counts={"passed": 4},
    )
    diff._print(DiffView(run=run, previous=None, still_passing=4))
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(
        "(the first of its lane; still running, 4 passed so far)" if said else "(the first of its lane)"
    )
