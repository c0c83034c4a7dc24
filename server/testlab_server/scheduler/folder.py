"""A night's own folder below the lab's home: its terminal log, how it ended, and a lock that it holds while it runs.

Whoever looks, after whatever restart, sees by the lock whether the night still runs: the kernel drops it with the last
of its processes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import InfraError
from pytest_testlab.labfile.format import Schedule
from pytest_testlab.recording.journal import is_being_written
from pytest_testlab.store.home import make_folder

STAMP = "%Y%m%dT%H%M%SZ"
LOCK_WITHIN_S = 5.0
_NAME = re.compile(r"([a-z][a-z0-9-]*)-(\d{8}T\d{6}Z)")
_LARGEST_NOTE = 10_000


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a session ended."""

    exit_code: int
    """Below 0: by that signal."""
    at: dt.datetime


class NightFolder:
    """`<home>/nights/<schedule>-<when it was due, in UTC>/`; only its owner may enter."""

    def __init__(self, home: Path, schedule: str, due_at: dt.datetime) -> None:
        self.path = home / "nights" / f"{schedule}-{due_at.astimezone(dt.UTC):{STAMP}}"
        self.log = self.path / "log"

    def begin(self, within_s: float = LOCK_WITHIN_S) -> int:
        """Make the folder, and take its lock: the file to hand on to the night's processes.

        Raises `UsageError` when the folder can't be made, `InfraError` when somebody has the lock.
        """
        make_folder(self.path.parent, 0o700)
        make_folder(self.path, 0o700)
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + within_s  # who only looks whether it runs has it for a moment
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise InfraError(f"{self.path} is in use by another night's processes") from None
                time.sleep(0.01)

    def runs(self) -> bool:
        """Whether any of the night's processes lives."""
        return is_being_written(self.path / "lock")

    def ended(self, run: str | None) -> Ended | None:
        """What the keeper of a run's session wrote down; None when it could not, or had another run's."""
        try:
            with (self.path / "end").open("rb") as file:
                note = json.loads(file.read(_LARGEST_NOTE))
            found = Ended(exit_code=int(note["exit_code"]), at=dt.datetime.fromisoformat(note["at"]))
            return found if note["run"] == run else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def prune(home: Path, schedules: Iterable[Schedule], now: dt.datetime) -> list[str]:
    """Remove the folders of nights that are too many or too old; those of schedules that are gone as by default.

    Returns their names. A night that runs keeps its folder.
    """
    rules = {schedule.name: schedule for schedule in schedules}
    removed = []
    for name, nights in _by_schedule(home).items():
        rule = rules.get(name) or _BY_DEFAULT
        oldest = now - dt.timedelta(days=rule.keep_logs_days)
        for place, (at, path) in enumerate(sorted(nights.items(), reverse=True)):
            if (place >= rule.keep_logs or at < oldest) and not is_being_written(path / "lock"):
                with contextlib.suppress(OSError):  # another server's, which prunes too
                    shutil.rmtree(path)
                    removed.append(path.name)
    return removed


_BY_DEFAULT = Schedule(name="gone", cron="", zone="UTC", catalog=())


def _by_schedule(home: Path) -> Mapping[str, dict[dt.datetime, Path]]:
    found: dict[str, dict[dt.datetime, Path]] = defaultdict(dict)
    for path in _folders(home):
        if (match := _NAME.fullmatch(path.name)) is not None:
            with contextlib.suppress(ValueError):
                found[match[1]][dt.datetime.strptime(match[2], STAMP).replace(tzinfo=dt.UTC)] = path
    return found


def _folders(home: Path) -> Iterator[Path]:
    nights = home / "nights"
    if nights.is_dir():
        yield from (path for path in nights.iterdir() if path.is_dir() and not path.is_symlink())
