"""What becomes of nights: decided from moments and states alone, without a clock, a store or a process."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_testlab.labfile.format import Schedule
from pytest_testlab.moments import shown
from pytest_testlab.store.views import NightView

PUNCTUAL_S = 60.0
"""A night begun later than this after its time was caught up."""
MOST_MISSED = 30
"""Nights of one schedule that are taken down as missed at once: the last ones."""
KEPT = "kept"
"""The state of a run that is in its folder on disk, and not in the store yet."""
DID_NOT_BEGIN = {4: "a mistake in what it was started with", 5: "nothing was collected"}
SAYS = {
    2: "it was interrupted",
    3: "pytest met an error of its own",
    6: "the lab could not give proven blank targets",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to take down of a night that was due."""

    due_at: dt.datetime
    state: Literal["due", "missed"]
    reason: str = ""
    caught_up: bool = False


def judge_due(due: Sequence[dt.datetime], now: dt.datetime, catch_up_s: float) -> list[Verdict]:
    """Of the moments that have passed since somebody last looked, oldest first, the last counts; the others are missed.

    So several nights that were missed are caught up once, and only within the window.
    """
    *others, last = due
    late_s = (now - last).total_seconds()
    if late_s <= max(catch_up_s, PUNCTUAL_S):
        verdict = Verdict(due_at=last, state="due", caught_up=late_s > PUNCTUAL_S)
        why = f"no scheduler was at work then; the one of {shown(last)} was begun in its place"
    else:
        why = f"no scheduler was at work within {_hours(catch_up_s)} of it"
        verdict = Verdict(due_at=last, state="missed", reason=why)
    return [*(Verdict(due_at=at, state="missed", reason=why) for at in others[-MOST_MISSED:]), verdict]


def judge_start(
    night: NightView, schedule: Schedule | None, *, running: NightView | None, newer: bool, now: dt.datetime
) -> tuple[Literal["start", "waiting", "refused", "missed"], str]:
    """(what a night that is due or waits may do now, why); `newer`: the next one of its schedule is due as well."""
    if schedule is None:
        return "refused", f"lab.toml has no schedule {night.schedule} any more"
    if newer:
        return "refused", "it waited until the next one was due"
    if running is not None:
        words = f"the night {running.schedule} of {shown(running.due_at)}, run {running.run}, still runs"
        return ("waiting" if schedule.overlap == "wait" else "refused"), words
    if night.state == "due" and (now - night.due_at).total_seconds() > max(schedule.catch_up_s, PUNCTUAL_S):
        return "missed", f"no scheduler was at work within {_hours(schedule.catch_up_s)} of it"
    return "start", ""


def judge_end(exit_code: int | None, run_state: str | None) -> tuple[Literal["finished", "failed", "lost"], str]:
    """(what a night that is over is called, why), from its session's exit code and what the store knows of its run.

    `exit_code` None: nobody saw it end.
    """
    if exit_code is None or exit_code < 0:
        if exit_code is None and run_state not in (None, "running", KEPT):
            return "finished", "nobody saw its session end; this is its run's own word"
        how = "without a word" if exit_code is None else f"by {_signal(-exit_code)}"
        return "lost", f"its session ended {how}; the next run, or testlab recover, takes in what it had recorded"
    if exit_code in DID_NOT_BEGIN:
        return "failed", f"exit code {exit_code}: {DID_NOT_BEGIN[exit_code]}"
    if run_state is None:
        return "failed", f"exit code {exit_code}, before its run began"
    if run_state == KEPT:
        return "finished", f"exit code {exit_code}; the next run, or testlab recover, takes its record into the store"
    return "finished", f"exit code {exit_code}: {SAYS[exit_code]}" if exit_code in SAYS else ""


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{max(seconds, PUNCTUAL_S) / 60:g} min"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
