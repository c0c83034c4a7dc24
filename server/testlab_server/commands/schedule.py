"""`testlab schedule`: the nights of lab.toml without the pages; when the next ones are due, what became of the last."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import signal
import threading
from typing import Any
from zoneinfo import ZoneInfo

from pytest_testlab.cli._common import connection, count, exits, harmless, local, paint, print_json, settings_of
from pytest_testlab.errors import UsageError
from pytest_testlab.labfile.due import Due
from pytest_testlab.labfile.find import find_lab_file, need_lab_file
from pytest_testlab.labfile.format import LabFile, Schedule
from pytest_testlab.store.views import NightView
from testlab_server.scheduler.telling import announce, coming, say, when

NEXT = 7
COLOUR = {"finished": "green", "started": "bold", "waiting": "yellow", "due": "yellow", "starting": "bold"}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `schedule` to the commands of `testlab`."""
    parser = commands.add_parser("schedule", help="play the nights of lab.toml, or tell of them")
    parser.add_argument(
        "--config", metavar="FILE", help="the lab.toml; default: TESTLAB_CONFIG, this folder's, the home's"
    )
    parser.add_argument("--db", metavar="URL", help="the store; default: TESTLAB_DATABASE_URL, else embedded")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--next", nargs="?", type=count, const=NEXT, metavar="N", help="when the next N nights are due")
    what.add_argument("--list", nargs="?", type=count, const=20, metavar="N", help="what became of the last N nights")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else; for --next and --list")
    exits(parser, fine="it was told, or the scheduler was ended")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Tell, or play until Ctrl-C or SIGTERM; raises `UsageError` where there is no lab.toml or no [schedule] in it."""
    if args.list is not None:
        return _list(args)
    lab = need_lab_file(args.config, settings_of(args))
    if not lab.schedules:
        raise UsageError(f"{lab.file} has no [schedule]")
    if args.next is not None:
        return _next(lab, args.next, as_json=args.json)
    if args.json:
        raise UsageError("--json goes with --next or --list")
    return _play(args, lab)


# --- when the next ones are due --------------------------------------------------------------------------------------


def _next(lab: LabFile, most: int, *, as_json: bool) -> int:
    nights = coming(lab, most, dt.datetime.now(dt.UTC))
    if as_json:
        return print_json([_next_json(schedule, due) for schedule, due in nights])
    print(f"{lab.file}:")
    for schedule, due in nights:
        note = f"  {paint(due.note, 'yellow')}" if due.note else ""
        print(f"{when(due.at)}  {schedule.name}{note}")
    return 0


def _next_json(schedule: Schedule, due: Due) -> dict[str, Any]:
    return {
        "schedule": schedule.name,
        "at": due.at,
        "zone": schedule.zone,
        "cron": schedule.cron,
        "overlap": schedule.overlap,
        "note": due.note,
    }


# --- what became of the last -----------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    from pytest_testlab.store.reads import nights

    with connection(args) as store:
        found = nights.recent(store, args.list)
    if args.json:
        return print_json([_night_json(night) for night in found])
    zones = _zones(args)
    for night in found:
        due = when(night.due_at.astimezone(zones[night.schedule])) if night.schedule in zones else local(night.due_at)
        state = paint(f"{night.state:<8}", COLOUR.get(night.state, "red"))
        late = "caught up  " if night.caught_up else ""
        print(f"{due}  {night.schedule:<10} {state}  {late}{harmless(night.run or '')}".rstrip())
        if night.reason:
            print(f"    {paint(harmless(night.reason), 'dim')}")
    if not found:
        print("no night was due yet; when the next ones are: testlab schedule --next")
    return 0


def _zones(args: argparse.Namespace) -> dict[str, ZoneInfo]:
    """Of the schedules that lab.toml has: a night is told by the clocks that it was due by, as `--next` does."""
    lab = find_lab_file(args.config, settings_of(args))
    return {schedule.name: ZoneInfo(schedule.zone) for schedule in lab.schedules} if lab else {}


def _night_json(night: NightView) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(night).items() if name not in ("id", "pid")}


# --- playing them ----------------------------------------------------------------------------------------------------


def _play(args: argparse.Namespace, lab: LabFile) -> int:
    try:
        from testlab_server.reaping import reaping
        from testlab_server.scheduler.beside import tell_what_goes_on
        from testlab_server.scheduler.service import Scheduler
    except ImportError as error:
        raise UsageError(f"schedule needs {error.name}: pip install 'pytest-testlab[server]'") from None
    from pytest_testlab.store.embedded import open_store

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = settings_of(args)
    with open_store(settings) as store:
        say(f"as {lab.file} says; Ctrl-C ends the scheduler, and no night that runs")
        announce(lab)
        scheduler = Scheduler(lab, store, settings, say=say)
        with reaping(settings, say):
            scheduler.run(stop)
        tell_what_goes_on(scheduler)
    return 0
