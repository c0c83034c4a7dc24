"""The nights of a schedule, as the morning page tells of them: the next one, the last one, and what went wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_testlab.store.views import NextView, NightView

SAID = {
    "due": "is due",
    "waiting": "waits",
    "starting": "begins",
    "started": "runs",
    "finished": "finished",
    "refused": "was refused",
    "missed": "was missed",
    "failed": "failed to start",
    "lost": "was lost",
}
TROUBLE = ("waiting", "refused", "missed", "failed", "lost")
PATIENCE = dt.timedelta(minutes=2)
"""A scheduler that is at work takes down what is due well within it."""


@dataclass(frozen=True, kw_only=True)
class Nights:
    """All that the page shows of them."""

    last: NightView | None
    said: str
    """What became of the last one, e.g. `finished, caught up`."""
    coming: tuple[NextView, ...]
    overdue: bool
    """The next one has been due for a while, and nobody took it down."""
    unattended: bool
    """Nobody is at work to play the next one, which isn't overdue yet."""
    trouble: tuple[NightView, ...]
    """The last one of each schedule that did not run as it should have."""


def nights(recent: Sequence[NightView], coming: Sequence[NextView], now: dt.datetime, *, led: bool) -> Nights | None:
    """`recent` is newest first, `coming` soonest first; None where nothing was ever scheduled.

    `led`: a scheduler is at work.
    """
    if not recent and not coming:
        return None
    scheduled = {night.schedule for night in coming}
    newest: dict[str, NightView] = {}
    for night in recent:
        newest.setdefault(night.schedule, night)
    last = recent[0] if recent else None
    overdue = bool(coming) and now - coming[0].at > PATIENCE
    return Nights(
        last=last,
        said="" if last is None else SAID.get(last.state, last.state) + (", caught up" if last.caught_up else ""),
        coming=tuple(coming),
        overdue=overdue,
        unattended=bool(coming) and not led and not overdue,
        trouble=tuple(night for name, night in newest.items() if night.state in TROUBLE and name in scheduled),
    )
