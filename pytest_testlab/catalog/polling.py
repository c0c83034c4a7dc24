"""Waits with a deadline: for an app to be up, and between two tries. Never a blind sleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pytest_testlab.catalog.transcript import Asker
from pytest_testlab.errors import DeadlinePassed, NoAnswer, NotReady
from pytest_testlab.model import Ready
from pytest_testlab.protocols import HttpClient, Observer

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5
LOOK_EVERY_S = 1.0
"""Between two looks whether the app was given up: each is a command on the target."""


def tries(until: float) -> Iterator[float]:
    """Yields the seconds that are left until a moment of the monotonic clock, at growing intervals; at least once."""
    pause = FIRST_PAUSE_S
    while True:
        yield max(0.001, until - time.monotonic())
        if until - time.monotonic() <= pause:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE_S)


def wait_ready(
    client: HttpClient,
    ready: Ready,
    observe: Observer,
    *,
    deadline: float,
    given_up: Callable[[], str | None] = lambda: None,
) -> None:
    """Poll until the front door gives any answer below 500 for the app, or the platform gave the app up.

    `deadline` is the test's own, by the monotonic clock; `given_up` is `protocols.GivesUp`'s. Raises `NotReady`, or
    `DeadlinePassed` when the test's time was up before it began.
    """
    started = time.monotonic()
    if started >= deadline:
        raise DeadlinePassed("ready", ready.within_s, "time left for the app to get ready")
    asker, until = Asker(client, observe), min(deadline, started + ready.within_s)
    status, say, looked = None, "no answer", started
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
        if time.monotonic() - looked >= LOOK_EVERY_S:
            if (how := given_up()) is not None:
                say = f"the app ended and is started no more ({how}); {say}"
                break
            looked = time.monotonic()
    raise NotReady(ready.http, round(time.monotonic() - started, 1), status, say)
