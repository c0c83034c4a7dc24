"""What a scheduler says of its nights, on a terminal or into a service manager's log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import islice

from pytest_testlab.cli._common import harmless
from pytest_testlab.labfile.due import Due, due_times
from pytest_testlab.labfile.format import LabFile, Schedule
from pytest_testlab.moments import shown, zone
from pytest_testlab.store.views import NightView


def coming(lab: LabFile, most: int, now: dt.datetime) -> list[tuple[Schedule, Due]]:
    """The next nights of all schedules, `most` of each, the soonest first."""
    found = [(schedule, due) for schedule in lab.schedules for due in _due(schedule, most, now)]
    return sorted(found, key=lambda pair: pair[1].at.astimezone(dt.UTC))


def _due(schedule: Schedule, most: int, now: dt.datetime) -> Iterator[Due]:
    return islice(due_times(schedule.cron, schedule.zone, now), most)


def when(at: dt.datetime) -> str:
    """A moment by the clocks of its schedule, the zone named: `Sun 2027-03-28 03:00 CEST`."""
    return f"{at:%a %Y-%m-%d %H:%M} {zone(at)}"


def announce(lab: LabFile) -> None:
    """Say when each schedule is due next."""
    for schedule, due in coming(lab, 1, dt.datetime.now(dt.UTC)):
        say(f"{schedule.name}: next due {when(due.at)}" + (f"; {due.note}" if due.note else ""))


def farewell(night: NightView | None) -> None:
    """Say what goes on without the scheduler."""
    if night is not None:
        say(f"{night.schedule}: its run {night.run} goes on by itself; the next scheduler notes its end")


def say(what: str) -> None:
    """A line of the scheduler's own log."""
    print(f"{shown(dt.datetime.now(dt.UTC), seconds=True)}  {harmless(what)}", flush=True)  # noqa: T201
