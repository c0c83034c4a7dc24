"""Nights that a scheduler plays: real sessions, a real store, schedulers that die."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from scheduled import ScheduledLab, killed

from pytest_testlab.store.reads import nights


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_night_that_is_due_is_played(lab: ScheduledLab) -> None:
    """A session of mode nightly in the same store, its log for its owner alone, its end noted, the next one planned."""
    due = lab.due(lab.schedules(nightly=""))
    scheduler = lab.start()
    lab.until(lambda: lab.states().get("nightly") == "finished")
    (night,), (run,) = lab.nights(), lab.runs()
    assert (night.due_at, night.exit_code, night.reason, night.caught_up) == (due, 0, "", False)
    assert (run.run, run.mode, run.trigger, run.state) == (night.run, "nightly", "scheduled-nightly", "finished")
    assert run.counts == {"passed": 3}
    log = lab.log(night)
    assert "3 passed" in log.read_text()
    assert (mode(log), mode(log.parent), mode(log.parent.parent)) == (0o600, 0o700, 0o700)
    assert lab.store.url not in log.read_text()
    with lab.store.engine.connect() as connection:
        (coming,) = nights.upcoming(connection)
    assert coming.at > dt.datetime.now(dt.UTC)
    scheduler.terminate()
    assert scheduler.wait(90) == 0
    assert f"started: run {night.run}" in lab.said(scheduler)


def test_two_servers_never_start_one_night_twice(lab: ScheduledLab) -> None:
    """Both begin in the same moment on a store with a night that is due: one leads, the other stands by."""
    lab.due(lab.schedules(nightly=""))
    both = [lab.start(), lab.start()]
    lab.until(lambda: lab.states().get("nightly") == "finished")
    lab.until(lambda: sum("stands by" in lab.said(one) for one in both) == 1)
    assert len(lab.nights()) == len(lab.runs()) == 1
    assert sum("started" in lab.said(one) for one in both) == 1


def test_when_the_leader_dies_another_takes_over(lab: ScheduledLab) -> None:
    """kill -9 of the leader: the one that stood by notes the end of its night, and plays the next."""
    schedules = lab.schedules(nightly="")
    lab.wait_for_a_word()
    lab.due(schedules, ago_s=5)
    leader = lab.start()
    lab.until(lambda: lab.states().get("nightly") == "started")
    second = lab.start()
    lab.until(lambda: "stands by" in lab.said(second))
    killed(leader)
    lab.go()
    lab.until(lambda: lab.states().get("nightly") == "finished")
    lab.due(schedules)
    lab.until(lambda: len(lab.nights()) == 2 and lab.states()["nightly"] == "finished")
    assert [night.exit_code for night in lab.nights()] == [0, 0]
    assert len(lab.runs()) == 2
    assert lab.said(second).count("started") == 1


def test_a_night_outlives_a_restart_of_the_server(lab: ScheduledLab) -> None:
    """SIGTERM ends the scheduler and leaves the night alone; the next one knows that it runs, and notes its end."""
    lab.due(lab.schedules(nightly=""))
    lab.wait_for_a_word()
    first = lab.start()
    lab.until(lambda: lab.states().get("nightly") == "started")
    (night,) = lab.nights()
    assert night.pid is not None
    assert os.getsid(night.pid) != os.getsid(first.pid)  # so Ctrl-C in the scheduler's terminal doesn't reach it
    assert lab.store.url not in " ".join(psutil.Process(night.pid).cmdline())
    first.terminate()
    assert first.wait(90) == 0
    assert f"its run {night.run} goes on by itself" in lab.said(first)
    second = lab.start()
    lab.until(lambda: "next due" in lab.said(second))
    assert lab.states() == {"nightly": "started"}
    lab.go()
    lab.until(lambda: lab.states() == {"nightly": "finished"})
    assert lab.nights()[0].exit_code == 0
    assert len(lab.runs()) == 1


def test_missed_nights_are_caught_up_once(lab: ScheduledLab) -> None:
    """The server was down for three of them: the last is played, once, and says that it was caught up."""
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    due = [now - dt.timedelta(hours=hours) for hours in (3, 2, 1)]
    cron = f"{now.minute} {','.join(str(at.hour) for at in due)} * * *"
    schedules = lab.schedules(nightly="", cron=cron, zone="UTC")
    lab.due(schedules, at=due[0])
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states().get("nightly") == "finished", scheduler)
    assert [night.due_at for night in lab.nights()] == due[::-1]
    played, *missed = lab.nights()
    assert played.caught_up
    assert len(lab.runs()) == 1
    assert [night.state for night in missed] == ["missed", "missed"]
    assert all("was begun in its place" in night.reason for night in missed)


def test_beyond_the_window_nothing_is_caught_up(lab: ScheduledLab) -> None:
    """A night of long ago stays missed, and says why."""
    schedules = lab.schedules(nightly='catch-up = "1h"')
    lab.due(schedules, ago_s=2 * 3600)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states() == {"nightly": "missed"}, scheduler)
    scheduler.look()
    assert lab.nights()[0].reason == "no scheduler was at work within 1 h of it"
    assert lab.runs() == []
    assert any("missed" in line for line in lab.heard)


@pytest.mark.parametrize(
    ("overlap", "meanwhile", "at_last"), [("refuse", "refused", "refused"), ("wait", "waiting", "finished")]
)
def test_nights_that_overlap(lab: ScheduledLab, overlap: str, meanwhile: str, at_last: str) -> None:
    """While one still runs the next that is due refuses, or waits for its end, as lab.toml says; and says so."""
    schedules = lab.schedules(nightly="", weekly=f'overlap = "{overlap}"')
    lab.wait_for_a_word()
    lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states() == {"nightly": "started"}, scheduler)
    lab.due(schedules, "weekly")
    lab.until(lambda: lab.states() == {"nightly": "started", "weekly": meanwhile}, scheduler)
    other = next(night for night in lab.nights() if night.schedule == "weekly")
    assert "the night nightly of" in other.reason
    assert "still runs" in other.reason
    listed = lab.tell("schedule", "--list").stdout
    assert meanwhile in listed
    assert "still runs" in listed
    assert "CET" in listed or "CEST" in listed  # the schedule's own clocks
    lab.go()
    lab.until(lambda: lab.states() == {"nightly": "finished", "weekly": at_last}, scheduler)
    assert len(lab.runs()) == (2 if overlap == "wait" else 1)


def test_a_night_that_cannot_start_says_so(lab: ScheduledLab) -> None:
    """What pytest doesn't take is a usage error: failed, with the exit code and where its log is."""
    schedules = lab.schedules(nightly='arguments = ["--no-such-flag"]')
    lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states() == {"nightly": "failed"}, scheduler)
    (night,) = lab.nights()
    assert night.exit_code == 4
    assert night.reason.startswith("exit code 4: a mistake in what it was started with; see ")
    assert "unrecognized arguments: --no-such-flag" in lab.log(night).read_text()


def test_a_night_whose_catalog_is_gone_is_not_started(lab: ScheduledLab) -> None:
    """It was there when lab.toml was read: the night fails, its reason names the catalog, and no session begins."""
    schedules = lab.schedules(nightly="")
    (lab.folder / "apps").rename(lab.folder / "elsewhere")
    lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states() == {"nightly": "failed"}, scheduler)
    (night,) = lab.nights()
    assert (night.reason, night.run, night.exit_code) == ("the catalog apps isn't there", None, None)
    assert lab.runs() == []


def test_killed_between_the_claim_and_the_start(lab: ScheduledLab) -> None:
    """A night that was claimed and never started is started by the next scheduler, once."""
    schedules = lab.schedules(nightly="")
    due = lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    claimed = sa.text("""
        INSERT INTO night (schedule, due_at, state, run, place) VALUES ('nightly', :due, 'starting', 'gone', :place)
    """)
    with lab.store.engine.begin() as connection:
        connection.execute(claimed, {"due": due, "place": scheduler.place})
    lab.until(lambda: lab.states() == {"nightly": "finished"}, scheduler)
    assert [run.run for run in lab.runs()] == [lab.nights()[0].run]


def test_without_its_keeper_a_night_goes_on(lab: ScheduledLab) -> None:
    """kill -9 of the process that would have noted its end: the run's own word in the store is taken."""
    schedules = lab.schedules(nightly="")
    lab.wait_for_a_word()
    lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: lab.states() == {"nightly": "started"}, scheduler)
    (night,) = lab.nights()
    assert night.pid is not None
    keeper = psutil.Process(night.pid)
    lab.until(keeper.children)
    keeper.kill()
    scheduler.look()
    assert lab.states() == {"nightly": "started"}
    lab.go()
    lab.until(lambda: lab.states() == {"nightly": "finished"}, scheduler)
    assert lab.nights()[0].reason == "nobody saw its session end; this is its run's own word"


def test_a_session_that_is_killed_is_lost(lab: ScheduledLab) -> None:
    """kill -9 of pytest: the night says by which signal, and who takes in what it had recorded."""
    schedules = lab.schedules(nightly="")
    lab.wait_for_a_word()
    lab.due(schedules)
    scheduler = lab.scheduler(schedules)
    lab.until(lambda: bool(lab.runs()), scheduler)
    (night,) = lab.nights()
    assert night.pid is not None
    (session,) = psutil.Process(night.pid).children()
    session.kill()
    lab.until(lambda: lab.states() == {"nightly": "lost"}, scheduler)
    assert lab.nights()[0].reason.startswith("its session ended by SIGKILL; the next run, or testlab recover, takes in")


def test_the_store_goes_and_comes_back(lab: ScheduledLab) -> None:
    """Without its connections a scheduler no longer leads; it says so, leads again, and catches up."""
    schedules = lab.schedules(nightly="")
    scheduler = lab.scheduler(schedules)
    assert scheduler.look()
    assert scheduler.leads
    with lab.store.engine.connect() as connection:
        lock = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        connection.execute(lock)
    assert not scheduler.look()
    assert not scheduler.leads
    assert lab.heard[-1].startswith("the store is away (")
    lab.due(schedules, ago_s=300)
    lab.until(lambda: lab.states().get("nightly") == "finished", scheduler)
    assert "the store is back" in lab.heard
    assert lab.nights()[0].caught_up


def test_pages_and_nights_from_one_process(lab: ScheduledLab) -> None:
    """`testlab serve` says which lab.toml it found, listens where that says, plays, and leaves its night alone."""
    schedules = lab.schedules(nightly="")
    with (lab.folder / "lab.toml").open("a") as file:
        file.write('[server]\nport = 0\nurl = "http://lab.example.org"\n')
    lab.wait_for_a_word()
    lab.due(schedules)
    server = lab.start("serve")
    lab.until(lambda: lab.states().get("nightly") == "started")
    lab.until(lambda: "Ctrl-C ends" in lab.said(server))
    server.terminate()
    assert server.wait(60) == 0
    said = lab.said(server)
    assert said.startswith(f"As {lab.folder / 'lab.toml'} says.\n")
    assert "http://lab.example.org/login/" in said
    assert f"its run {lab.nights()[0].run} goes on by itself" in said
    assert "Traceback" not in said
    assert lab.states() == {"nightly": "started"}


def test_what_is_told_of_the_next_ones(lab: ScheduledLab) -> None:
    """Each with its zone, and a word on the days on which clocks are changed; the same as JSON."""
    lab.schedules(nightly="", cron="30 2 * 3 SUN")
    told = lab.tell("schedule", "--next", "12")
    lines = [line for line in told.stdout.splitlines() if "the clocks skip 02:30" in line]
    assert lines
    assert all(" 03:00 CEST  nightly" in line for line in lines)
    nights = json.loads(lab.tell("schedule", "--next", "12", "--json").stdout)
    assert len(nights) == 12
    assert {tuple(night) for night in nights} == {("schedule", "at", "zone", "cron", "overlap", "note")}
    assert [night["at"][11:] for night in nights if night["note"]] == ["03:00:00+02:00"] * len(lines)


@pytest.mark.parametrize(
    ("text", "arguments", "say"),
    [
        (None, (), "no lab.toml: looked for"),
        ("[server]\nport = 1\n", (), "has no [schedule]"),
        ("[schedule]\ncron = 1\n", ("--next",), "lab.toml:2: schedule.cron: expected a string, got an integer"),
        ("[schedule]\ncron = 1\n", ("--json",), "lab.toml:1: schedule: time-zone is missing"),
    ],
)
def test_mistakes_are_told(lab: ScheduledLab, text: str | None, arguments: tuple[str, ...], say: str) -> None:
    """Exit 2, a line each, before anything is started."""
    if text is not None:
        (lab.folder / "lab.toml").write_text(text)
    told = lab.tell("schedule", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert say in told.stderr
    assert "Traceback" not in told.stderr
