"""Starts a night's session: a process of its own, in a session of its own, that a restart of the server doesn't end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from pytest_testlab.labfile.format import Schedule
from pytest_testlab.labfile.session import command
from pytest_testlab.options import Settings
from pytest_testlab.session.provenance import RUN, TRIGGER
from testlab_server.scheduler.folder import NightFolder

KEEPER = (sys.executable, "-P", "-m", "testlab_server.scheduler.keeper")


def start(
    schedule: Schedule, lab_folder: Path, night: NightFolder, lock: int, *, run: str, home: Path, settings: Settings
) -> int:
    """Start the keeper of a night's session, and return its number; the session's output goes to the night's folder.

    Raises `OSError` when it can't be started, for instance because the lab's folder is gone.
    """
    keeper = subprocess.Popen(
        [*KEEPER, str(night.path), str(lock), *command(schedule, lab_folder)],
        cwd=lab_folder,
        env=environment(os.environ, run=run, home=home, settings=settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    )
    # Its parent must take note of its end, whoever of the scheduler's is gone by then; nobody waits for that.
    threading.Thread(target=keeper.wait, name=f"keeper-{keeper.pid}", daemon=True).start()
    return keeper.pid


def environment(environ: Mapping[str, str], *, run: str, home: Path, settings: Settings) -> dict[str, str]:
    """What a session by hand would have, with the server's own home and store, and without a pytest's around it.

    The session takes the lab's secrets out of it before it starts anything; no command line has them.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    store = {} if settings.db is None else {"TESTLAB_DATABASE_URL": settings.db}
    return {**kept, **store, "TESTLAB_HOME": str(home), TRIGGER: "scheduled-nightly", RUN: run}
