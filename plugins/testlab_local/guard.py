"""`python -m testlab_local.guard`: the process that a local target hangs on; its SSH server is this one's child.

It reads its orders as one line of JSON from standard input (so that keys never show in a process list), and lives as
long as that stays open: when the process that started it dies, however it dies, all that runs on the target is killed
and the target's folder removed. Guard and server are both child subreapers, so that whoever of them is killed leaves
the other with everything on the target as its descendants, also what detached itself and cleared its environment.

It is the guard who makes the target's record and folder: so there is never one without a process that will remove it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pytest_testlab.errors import InfraError
from testlab_local import cleaning, places, processes, records
from testlab_local.records import Record

log = logging.getLogger("testlab_local.guard")


class Guard:
    """Waits for the SSH server's end, then for that of whoever gave the orders."""

    def __init__(self, base: Path, record: Record, server: int) -> None:
        self._base = base
        self._record = record
        self._server: int | None = server
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_end)

    def stand(self) -> int:
        """Stay until nobody needs the target any more, and leave nothing of it; returns the exit code."""
        _, status = os.waitpid(self._server or -1, 0)
        self._server, code = None, os.waitstatus_to_exitcode(status)
        try:
            if code != 0:
                # What it said, and its folder, are still of use to whoever made the target.
                log.error("the SSH server ended with %s", f"exit code {code}" if code > 0 else f"signal {-code}")
                cleaning.kill(self._record, os.getpid())
                _until_closed()
        finally:
            clean(self._base, self._record)
        return code

    def _asked_to_end(self, number: int, frame: object) -> None:
        if self._server is None:
            sys.exit(0)
        os.kill(self._server, signal.SIGTERM)


def clean(base: Path, record: Record) -> None:
    """Kill what descends from this process or carries the target's mark, and remove the target."""
    try:
        cleaning.kill(record, os.getpid())
        now = records.read(base, record.name)
        if now is None or now.word == record.word:  # else it is another target of that name by now
            cleaning.remove(base, record)
    except (InfraError, OSError) as error:
        log.error("left behind: %s", error)  # noqa: TRY400 - the text says all


def _until_closed() -> None:
    while os.read(0, 4096):
        pass


def _serve(orders: dict[str, Any], guard: int) -> int:
    """The SSH server's process; does the guard's work too where that was killed."""
    processes.become_subreaper()
    processes.hear_of_parents_death(signal.SIGTERM)
    from testlab_local import sshd  # the guard itself stays small

    code = 1 if os.getppid() != guard else sshd.run(orders)
    if os.getppid() != guard:
        clean(Path(orders["base"]), Record(**orders["record"]))
    return code


def main() -> int:
    """Take the orders, make the target, start its SSH server, and stand guard."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    processes.become_subreaper()
    line = sys.stdin.buffer.readline(65_536)
    if not line.endswith(b"\n"):
        return 1  # whoever was to give the orders died, and there is nothing yet
    orders = json.loads(line)
    base, record = Path(orders["base"]), Record(**orders["record"])
    try:
        _make(base, record, places.Account(name=record.user, uid=orders["uid"], gid=orders["gid"]))
    except OSError as error:
        log.error("%s", error)  # noqa: TRY400 - the text says all
        return 1
    guard = os.getpid()
    server = os.fork()
    if server == 0:
        return _serve(orders, guard)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the server's end is the end of its output
    return Guard(base, record, server).stand()


def _make(base: Path, record: Record, who: places.Account) -> None:
    records.write(base, record)
    handle = os.open(records.log_of(base, record.name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(handle, 2)
    os.close(handle)
    places.furnish(Path(record.folder), who)


if __name__ == "__main__":
    sys.exit(main())
