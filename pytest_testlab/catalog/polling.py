"""Waits with a deadline: for an app to be up, and between two tries. Never a blind sleep."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pytest_testlab.catalog.transcript import Asker
from pytest_testlab.errors import DeadlinePassed, NoAnswer, NotReady
from pytest_testlab.model import Ready
from pytest_testlab.protocols import HttpClient, Observer

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5


def tries(until: float) -> Iterator[float]:
    """Yields the seconds that are left until a moment of the monotonic clock, at growing intervals; at least once."""
    pause = FIRST_PAUSE_S
    while True:
        yield max(0.001, until - time.monotonic())
        if until - time.monotonic() <= pause:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE_S)


def wait_ready(client: HttpClient, ready: Ready, observe: Observer, *, deadline: float) -> None:
    """Poll until the front door gives any answer below 500 for the app.

    `deadline` is the test's own, by the monotonic clock. Raises `NotReady`, or `DeadlinePassed` when the test's time
    was up before it began.
    """
    started = time.monotonic()
    if started >= deadline:
        raise DeadlinePassed("ready", ready.within_s, "time left for the app to get ready")
    asker, until = Asker(client, observe), min(deadline, started + ready.within_s)
    status, say = None, "no answer"
    for left in tries(until):
        try:
            # Half of the time for one request: a slow first answer is waited for, a lost one is asked for again.
            status = asker.ask("GET", ready.http, max(left / 2, min(left, 1.0))).status
            say = f"status {status}"
        except NoAnswer as failure:
            say = f"no answer ({failure.kind})"
        else:
            if status < 500:
                return
    raise NotReady(ready.http, round(time.monotonic() - started, 1), status, say)
