"""APScheduler, as far as a lab needs it: jobs in the store, a trigger of our own, and no threads.

Its own cron trigger numbers weekdays from Monday and leaves the days on which clocks change to chance.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from pytest_testlab.labfile.due import due_times
from pytest_testlab.labfile.format import Schedule

TABLE = "schedule_job"
LOOKED_BACK = dt.timedelta(days=7)
"""Nights that were due longer ago are passed over, but for the first one."""
TookDown = Callable[[str, Sequence[dt.datetime]], None]

# It reports the store's absence at length; the scheduler around it says so in a line.
logging.getLogger("apscheduler").addHandler(logging.NullHandler())
logging.getLogger("apscheduler").propagate = False


class NightTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A cron in a time zone; stored with its job, so that a changed one is noticed."""

    def __init__(self, cron: str, zone: str) -> None:
        self.cron, self.zone = cron, zone

    def get_next_fire_time(self, previous: dt.datetime | None, now: dt.datetime) -> dt.datetime | None:
        """The next moment, in UTC: of two moments in one zone Python compares what the clocks show."""
        after = now if previous is None else max(previous, now - LOOKED_BACK)
        due = next(due_times(self.cron, self.zone, after.astimezone(dt.UTC)), None)
        return None if due is None else due.at.astimezone(dt.UTC)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NightTrigger) and (self.cron, self.zone) == (other.cron, other.zone)

    def __hash__(self) -> int:
        return hash((self.cron, self.zone))


def night(schedule: str) -> None:
    """What a job stands for; `_TakesDown` does it, which is told of all moments that have passed."""
    raise NotImplementedError(schedule)


class _TakesDown(BaseExecutor):  # type: ignore[misc]
    """Hands on the moments that have passed, before APScheduler moves the job to its next one."""

    def __init__(self, took: TookDown) -> None:
        super().__init__()
        self._took = took
        self.failed: BaseException | None = None

    def _do_submit_job(self, job: Any, run_times: Sequence[dt.datetime]) -> None:
        try:
            self._took(job.id, [at.astimezone(dt.UTC) for at in run_times])
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._run_job_success(job.id, [])


class _Jobs(SQLAlchemyJobStore):  # type: ignore[misc]
    """Moves no job on whose night could not be taken down: APScheduler itself only logs that."""

    def __init__(self, engine: sa.Engine, executor: _TakesDown) -> None:
        super().__init__(engine=engine, tablename=TABLE)
        self._executor = executor

    def update_job(self, job: Any) -> None:
        """As always, or raise what kept the night from being taken down."""
        if self._executor.failed is not None:
            raise self._executor.failed
        super().update_job(job)

    def shutdown(self) -> None:
        """Leave the engine alone: it isn't ours."""


class Jobs(BaseScheduler):  # type: ignore[misc]
    """The schedules as jobs. Only one process may have them at work; it calls `look` again and again."""

    def __init__(self, engine: sa.Engine, took: TookDown) -> None:
        executor = _TakesDown(took)
        super().__init__(
            timezone=dt.UTC,
            jobstores={"default": _Jobs(engine, executor)},
            executors={"default": executor},
            job_defaults={"coalesce": False, "misfire_grace_time": None, "max_instances": 1},
        )

    def plan(self, schedules: Iterable[Schedule]) -> None:
        """Begin, with a job for each schedule. One that is as it was keeps its next moment, also if that has passed."""
        self.start(paused=True)
        known = {job.id: job for job in self.get_jobs()}
        for schedule in schedules:
            trigger = NightTrigger(schedule.cron, schedule.zone)
            job = known.pop(schedule.name, None)
            if job is None or job.trigger != trigger:
                self.add_job(night, trigger, args=[schedule.name], id=schedule.name, replace_existing=True)
        for name in known:
            self.remove_job(name)
        self.resume()

    def look(self) -> None:
        """Take down what is due by now; raises what `took` raised, or SQLAlchemy's errors."""
        self._process_jobs()

    def wakeup(self) -> None:
        """Nothing sleeps in here."""

    def shutdown(self, wait: bool = True) -> None:
        """Nothing has to be ended: there is no thread, and all state is in the store."""
