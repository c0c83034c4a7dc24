"""A scheduler at work beside the pages of `testlab serve`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from pytest_testlab.labfile.format import LabFile
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle
from testlab_server.scheduler.service import Scheduler
from testlab_server.scheduler.telling import announce, farewell, say

END_WITHIN_S = 20.0
"""What a scheduler does at once takes less; a store that doesn't answer must not hold up the end of the pages."""


@contextmanager
def playing(lab: LabFile, store: StoreHandle, settings: Settings) -> Iterator[None]:
    """Play the nights of a lab.toml meanwhile; one that runs at the end goes on, which is said."""
    scheduler = Scheduler(lab, store, settings, say=say)
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=(stop,), name="scheduler", daemon=True)
    announce(lab)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_WITHIN_S)
        tell_what_goes_on(scheduler)


def tell_what_goes_on(scheduler: Scheduler) -> None:
    """Say which night goes on without its scheduler, as far as the store can be asked."""
    try:
        farewell(scheduler.running())
    except DBAPIError:
        say("the store is away; a night that runs goes on by itself")
