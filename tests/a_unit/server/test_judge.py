"""What becomes of nights, from moments and states alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from testlab_server.scheduler.judge import MOST_MISSED, judge_due, judge_end, judge_start

from pytest_testlab.labfile.format import Schedule
from pytest_testlab.moments import shown
from pytest_testlab.store.views import NightView

AT = dt.datetime(2026, 11, 21, 2, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
SCHEDULE = Schedule(name="nightly", cron="30 2 * * *", zone="UTC", catalog=("apps",))
NIGHT = NightView(
    id=1,
    schedule="nightly",
    due_at=AT,
    state="due",
    reason="",
    caught_up=False,
    run=None,
    place=None,
    pid=None,
    started_at=None,
    ended_at=None,
    exit_code=None,
    run_state=None,
)
RUNNING = replace(NIGHT, schedule="weekly", due_at=AT - HOUR, state="started", run="20261121-0130-aaaa")


def test_on_time() -> None:
    """What is begun within a minute is on time."""
    (verdict,) = judge_due([AT], AT + dt.timedelta(seconds=59), 0)
    assert (verdict.state, verdict.caught_up) == ("due", False)


def test_late_within_the_window() -> None:
    """Begun late, and it says so."""
    (verdict,) = judge_due([AT], AT + 2 * HOUR, 2 * 3600)
    assert (verdict.state, verdict.caught_up) == ("due", True)


def test_late_beyond_the_window() -> None:
    """Missed, with the window in its reason."""
    (verdict,) = judge_due([AT], AT + 3 * HOUR, 2 * 3600)
    assert (verdict.state, verdict.reason) == ("missed", "no scheduler was at work within 2 h of it")
    (never,) = judge_due([AT], AT + HOUR, 0)
    assert (never.state, never.reason) == ("missed", "no scheduler was at work within 1 min of it")


def test_of_several_only_the_last_is_caught_up() -> None:
    """The others are missed, and say which one was begun in their place."""
    days = [AT - dt.timedelta(days=days) for days in (2, 1, 0)]
    verdicts = judge_due(days, AT + HOUR, 6 * 3600)
    assert [verdict.state for verdict in verdicts] == ["missed", "missed", "due"]
    assert f"the one of {shown(AT)} was begun in its place" in verdicts[0].reason


def test_a_long_absence_is_bounded() -> None:
    """However many were missed, the last ones only are taken down."""
    minutes = [AT + dt.timedelta(minutes=minute) for minute in range(1000)]
    assert len(judge_due(minutes, minutes[-1], 3600)) == MOST_MISSED + 1


def test_nothing_in_the_way() -> None:
    """It starts."""
    assert judge_start(NIGHT, SCHEDULE, running=None, newer=False, now=AT) == ("start", "")


@pytest.mark.parametrize(("overlap", "what"), [("refuse", "refused"), ("wait", "waiting")])
def test_another_still_runs(overlap: str, what: str) -> None:
    """It refuses or waits as its schedule says, and names the other one."""
    found = judge_start(NIGHT, replace(SCHEDULE, overlap=overlap), running=RUNNING, newer=False, now=AT)
    assert found == (what, f"the night weekly of {shown(AT - HOUR)}, run 20261121-0130-aaaa, still runs")


def test_one_waits_until_the_next_is_due() -> None:
    """At most one night of a schedule waits."""
    waiting = replace(NIGHT, state="waiting")
    found = judge_start(waiting, replace(SCHEDULE, overlap="wait"), running=RUNNING, newer=True, now=AT)
    assert found == ("refused", "it waited until the next one was due")


def test_a_waiting_night_has_no_window() -> None:
    """It waits for hours, and is begun all the same; one that nobody began in time isn't."""
    late = AT + 10 * HOUR
    assert judge_start(replace(NIGHT, state="waiting"), SCHEDULE, running=None, newer=False, now=late)[0] == "start"
    assert judge_start(NIGHT, SCHEDULE, running=None, newer=False, now=late)[0] == "missed"


def test_a_schedule_that_is_gone() -> None:
    """What lab.toml no longer names isn't played."""
    found = judge_start(NIGHT, None, running=None, newer=False, now=AT)
    assert found == ("refused", "lab.toml has no schedule nightly any more")


@pytest.mark.parametrize(
    ("exit_code", "run_state", "state", "words"),
    [
        (0, "finished", "finished", ""),
        (1, "finished", "finished", ""),
        (2, "interrupted", "finished", "it was interrupted"),
        (6, "aborted", "finished", "could not give proven blank targets"),
        (4, None, "failed", "a mistake in what it was started with"),
        (4, "aborted", "failed", "a mistake in what it was started with"),
        (5, "finished", "failed", "nothing was collected"),
        (1, None, "failed", "exit code 1, before its run began"),
        (127, None, "failed", "exit code 127, before its run began"),
        (-9, "running", "lost", "by SIGKILL"),
        (None, None, "lost", "without a word"),
        (None, "running", "lost", "without a word"),
        (None, "kept", "lost", "without a word"),
        (1, "kept", "finished", "takes its record into the store"),
        (None, "finished", "finished", "nobody saw its session end"),
    ],
)
def test_how_it_ended(exit_code: int | None, run_state: str | None, state: str, words: str) -> None:
    """From the session's exit code and the run's state in the store; nothing is read from its text."""
    found, reason = judge_end(exit_code, run_state)
    assert found == state
    assert words in reason
    assert bool(reason) == bool(words)
