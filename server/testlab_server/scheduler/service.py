"""The scheduler of a lab: leads if nobody else does, begins what is due, and notes what becomes of it.

All of its state is in the store, in the nights' folders and in locks, so it may be killed at any moment; the next one,
or another server that waits beside it, goes on from there.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pytest_testlab.errors import TestlabError
from pytest_testlab.labfile.format import LabFile, is_there
from pytest_testlab.model import new_run_id
from pytest_testlab.moments import shown
from pytest_testlab.options import Settings, parse_duration
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.engine import one_line
from pytest_testlab.store.reads import nights as reads
from pytest_testlab.store.views import NightView
from pytest_testlab.store.writes import nights as writes
from testlab_server.scheduler.folder import NightFolder, prune
from testlab_server.scheduler.jobs import Jobs
from testlab_server.scheduler.judge import KEPT, judge_due, judge_end, judge_start
from testlab_server.scheduler.leader import Leadership
from testlab_server.scheduler.start import start

TICK_S = 1.0
AWAY_S = 2.0
"""How long to wait before the store is asked again."""
UNHEARD_OF_S = 2 * 3600.0
"""A night that was started elsewhere is given up so long after its budget, if its run hasn't ended by then."""


def _utcnow() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Scheduler:
    """The nights of a lab.toml on a store."""

    def __init__(
        self,
        lab: LabFile,
        store: StoreHandle,
        settings: Settings,
        *,
        say: Callable[[str], None],
        now: Callable[[], dt.datetime] = _utcnow,
    ) -> None:
        self._lab = lab
        self._store = store
        self._settings = settings
        self._say = say
        self._now = now
        self._schedules = {schedule.name: schedule for schedule in lab.schedules}
        self._leadership = Leadership(store.engine)
        self._jobs: Jobs | None = None
        self._away = ""
        self._stood_by = False
        self.place = f"{socket.gethostname()}:{store.home}"
        """Nights of this place have their folders and processes here."""

    @property
    def leads(self) -> bool:
        """Whether this one plays the nights; another one of the same store may."""
        return self._jobs is not None

    def run(self, stop: threading.Event) -> None:
        """Be at work until `stop`; nights that run then go on."""
        try:
            while not stop.is_set():
                stop.wait(AWAY_S if not self.look() else TICK_S)
        finally:
            self._step_down()

    def look(self) -> bool:
        """Do what there is to do now; False while the store is away, which is said once."""
        try:
            self._tend()
            self._lead()
        except (DBAPIError, TestlabError) as error:
            self._step_down()
            self._gone(one_line(error))
            return False
        if self._away:
            self._say("the store is back")
            self._away = ""
        return True

    def running(self) -> NightView | None:
        """The night that runs now, of this place."""
        with self._store.engine.connect() as connection:
            open_nights = reads.not_over(connection)
        return next((night for night in open_nights if night.state in reads.RUNNING and self._is_here(night)), None)

    def _gone(self, why: str) -> None:
        if not self._away:
            self._say(f"the store is away ({why}): nights that become due are caught up once it is back")
        self._away = why
        try:
            self._store.revive()
        except (TestlabError, OSError) as error:
            self._away = str(error)

    # --- leading ------------------------------------------------------------------------------------------------------

    def _lead(self) -> None:
        if not self._leadership.seek():
            if not self._stood_by:
                self._say("another server of this store plays its nights; this one stands by")
            self._stood_by = True
            return
        self._leadership.keep()
        if self._jobs is None:
            self._stood_by = False
            self._jobs = Jobs(self._store.engine, self._took_down)
            self._jobs.plan(self._lab.schedules)
            self._prune()
        self._jobs.look()
        self._begin()

    def _step_down(self) -> None:
        self._jobs = None
        self._leadership.give_up()

    def _took_down(self, name: str, due: Sequence[dt.datetime]) -> None:
        """A schedule's moments have passed: write down what becomes of them, before its job moves on."""
        schedule = self._schedules[name]
        verdicts = judge_due(due, self._now(), schedule.catch_up_s)
        with self._store.engine.begin() as connection:
            for verdict in verdicts:
                writes.note_due(
                    connection,
                    name,
                    verdict.due_at,
                    state=verdict.state,
                    reason=verdict.reason,
                    caught_up=verdict.caught_up,
                )
        for verdict in verdicts:
            if verdict.state == "missed":
                self._tell(name, verdict.due_at, f"missed: {verdict.reason}")

    def _begin(self) -> None:
        """Begin what is due, or say why not."""
        with self._store.engine.connect() as connection:
            open_nights = reads.not_over(connection)
        running = next((night for night in open_nights if night.state in reads.RUNNING), None)
        ahead = [night for night in open_nights if night.state not in reads.RUNNING]
        for place, night in enumerate(ahead):
            newer = any(other.schedule == night.schedule for other in ahead[place + 1 :])
            schedule = self._schedules.get(night.schedule)
            what, why = judge_start(night, schedule, running=running, newer=newer, now=self._now())
            if what == "start":
                running = self._start(night)
            elif (what, why) != (night.state, night.reason):
                self._put_off(night, what, why)

    def _put_off(self, night: NightView, state: str, why: str) -> None:
        with self._store.engine.begin() as connection:
            noted = writes.put_off(connection, night.id, state=state, reason=why)
        if noted:
            self._tell(night.schedule, night.due_at, f"{state}: {why}")

    def _start(self, night: NightView) -> NightView | None:
        """The lock first, then the claim, then the process: killed at any point, the next scheduler knows what is.

        Returns the night, as far as it was begun.
        """
        schedule = self._schedules[night.schedule]
        gone = [path for path in schedule.catalog if not is_there(path, self._lab.folder)]
        if gone:
            self._put_off(night, "failed", f"the catalog {gone[0]} isn't there")
            return None
        folder = NightFolder(self._store.home, night.schedule, night.due_at)
        run = new_run_id(self._now())
        try:
            lock = folder.begin()
        except (OSError, TestlabError) as error:
            self._put_off(night, "failed", f"its folder can't be made: {error}")
            return None
        try:
            with self._store.engine.begin() as connection:
                if not writes.claim(connection, night.id, run=run, place=self.place, at=self._now()):
                    return None
            night = replace(night, state="starting", run=run)
            try:
                pid = start(
                    schedule,
                    self._lab.folder,
                    folder,
                    lock,
                    run=run,
                    home=self._store.home,
                    settings=self._settings,
                )
            except OSError as error:
                self._end(night, "failed", f"it can't be started: {error}", None, self._now())
                return None
        finally:
            os.close(lock)
        with self._store.engine.begin() as connection:
            writes.started(connection, night.id, pid)
        late = ", caught up" if night.caught_up else ""
        self._tell(night.schedule, night.due_at, f"started{late}: run {run}, its terminal log is {folder.log}")
        return night

    # --- what became of nights ----------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """Note the end of nights: those of this place by their processes, others by what the store knows of them."""
        with self._store.engine.connect() as connection:
            running = [night for night in reads.not_over(connection) if night.state in reads.RUNNING]
        for night in running:
            if self._is_here(night):
                self._tend_here(night)
            elif self._jobs is not None:
                self._tend_elsewhere(night)

    def _is_here(self, night: NightView) -> bool:
        return night.place == self.place

    def _tend_here(self, night: NightView) -> None:
        folder = NightFolder(self._store.home, night.schedule, night.due_at)
        if folder.runs():
            if night.state == "starting":
                with self._store.engine.begin() as connection:
                    writes.started(connection, night.id, None)
            return
        ended = folder.ended(night.run)
        began = self._run_state(night) or self._kept_on_disk(night)
        if ended is None and began is None and night.state == "starting":
            with self._store.engine.begin() as connection:
                writes.unclaim(connection, night.id, night.run)
            return
        state, reason = judge_end(ended.exit_code if ended else None, began)
        log = f"; see {folder.log}" if state != "finished" else ""
        at = ended.at if ended else self._now()
        self._end(night, state, reason + log, ended.exit_code if ended else None, at)
        self._prune()

    def _tend_elsewhere(self, night: NightView) -> None:
        run_state = self._run_state(night)
        if run_state not in (None, "running"):
            self._end(night, *judge_end(None, run_state), None, self._now())
        elif self._now() - (night.started_at or night.due_at) > self._longest(night):
            say = f"nothing was heard of it; it was started at {night.place}"
            self._end(night, "lost", say, None, self._now())

    def _longest(self, night: NightView) -> dt.timedelta:
        schedule = self._schedules.get(night.schedule)
        budget = parse_duration(schedule.options.get("budget", "6h") if schedule else "6h")
        return dt.timedelta(seconds=budget + UNHEARD_OF_S)

    def _kept_on_disk(self, night: NightView) -> str | None:
        """A run whose session ended while the store was away is in its folder only, until the next one takes it in."""
        return KEPT if night.run and (self._store.home / "runs" / night.run).is_dir() else None

    def _run_state(self, night: NightView) -> str | None:
        """Asked anew, after the session's end was seen: its last word may have come between."""
        with self._store.engine.connect() as connection:
            state: str | None = connection.scalar(
                sa.text("SELECT state FROM run WHERE name = :run"), {"run": night.run}
            )
        return state

    def _end(self, night: NightView, state: str, reason: str, exit_code: int | None, at: dt.datetime) -> None:
        with self._store.engine.begin() as connection:
            noted = writes.end(
                connection, night.id, run=night.run, state=state, reason=reason, exit_code=exit_code, at=at
            )
        if noted:
            code = "" if exit_code is None or reason else f", exit code {exit_code}"
            self._tell(night.schedule, night.due_at, f"{state}{code}{': ' + reason if reason else ''}")

    def _prune(self) -> None:
        removed = prune(self._store.home, self._lab.schedules, self._now())
        if removed:
            self._say(f"terminal logs removed: {', '.join(removed)}")

    def _tell(self, name: str, due_at: dt.datetime, what: str) -> None:
        self._say(f"{name} of {shown(due_at)}: {what}")
