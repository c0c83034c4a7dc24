"""The parent of a night's session: outlives the server, bounds the session's terminal log, notes how it ended.

    python -m testlab_server.scheduler.keeper FOLDER LOCK COMMAND…

The session writes to the log itself, so that it goes on even if its keeper is killed. Only the standard library is
imported: this process lies about for hours.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

LARGEST = 16 * 1024 * 1024
"""Bytes of a log: looked at every second; what is beyond is left out in its middle."""
HEAD = LARGEST // 2
TAIL = 64 * 1024
LOOK_EVERY_S = 1.0


def main(arguments: list[str]) -> int:
    """Run the command, its output to FOLDER/log, and write FOLDER/end. LOCK is the number of an open file."""
    folder, lock, command = Path(arguments[0]), int(arguments[1]), arguments[2:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Who ends a whole service tells the session too; an ignored signal would be ignored there as well.
        signal.signal(number, lambda *_: None)
    log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _say(log, f"$ {shlex.join(command)}")
    try:
        code = _run(command, log, lock)
    except OSError as error:
        _say(log, f"it can't be started: {error}")
        code = 127
    _note(folder, code)
    return 0


def _run(command: list[str], log: int, lock: int) -> int:
    """The session holds the lock as well: who sees it free knows that neither lives."""
    session = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,))
    while True:
        try:
            return session.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            bound(log)


def bound(log: int, largest: int = LARGEST, head: int = HEAD, tail: int = TAIL) -> None:
    """Cut the middle out of a log that is too large. What is written to it in just this moment may be lost."""
    size = os.fstat(log).st_size
    if size <= largest:
        return
    end = os.pread(log, tail, size - tail)
    os.ftruncate(log, head)
    _say(log, f"\n[… {size - head - len(end)} bytes left out …]")
    _write(log, end)


def _say(log: int, text: str) -> None:
    _write(log, f"{text}\n".encode("utf-8", "replace"))


def _write(log: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the log is a breadcrumb: a full disk must not end what it tells of
        os.write(log, data)


def _note(folder: Path, code: int) -> None:
    note = {"run": os.environ.get("TESTLAB_RUN", ""), "exit_code": code, "at": dt.datetime.now(dt.UTC).isoformat()}
    new = folder / "end.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(note, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / "end")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
