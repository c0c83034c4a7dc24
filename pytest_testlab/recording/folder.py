"""A run's folder below the lab's home: its journal, a lock that its controller holds, and a mark once it is closed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_testlab.errors import UsageError
from pytest_testlab.recording.journal import SUFFIX, is_being_written, journal_folder

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class RunFolder:
    """`<home>/runs/<run>/`; only its owner may enter."""

    def __init__(self, path: Path, lock: int | None = None) -> None:
        self.path = path
        self.run = path.name
        self._lock = lock

    @classmethod
    def create(cls, home: Path, run: str) -> RunFolder:
        """A new folder, locked by this process until `close` or its end.

        It appears under its name with the lock held, so nobody takes it for one that was left behind.
        """
        final = _path(home, run)
        try:
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".new-", dir=final.parent))
        except OSError as error:
            raise UsageError(f"a run's folder can't be made in {final.parent}: {error.strerror}") from error
        try:
            journal_folder(made).mkdir(mode=0o700)
            lock = os.open(made / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            made.rename(final)
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            if final.exists():
                raise UsageError(f"the run {run} has a folder already: {final}") from None
            raise UsageError(f"a run's folder can't be made in {final.parent}: {error.strerror}") from error
        return cls(final, lock)

    @classmethod
    def open(cls, home: Path, run: str) -> RunFolder:
        """The folder of a run, without its lock; raises `UsageError` when there is none."""
        path = _path(home, run)
        if not path.is_dir():
            raise UsageError(f"the run {run} has no folder in {path.parent}")
        return cls(path)

    @classmethod
    def all(cls, home: Path) -> Iterator[RunFolder]:
        """Every run's folder, oldest name first."""
        runs = home / "runs"
        for path in sorted(runs.iterdir()) if runs.is_dir() else ():
            if RUN_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield cls(path)

    def segments(self) -> list[Path]:
        """The journal's segments."""
        return sorted(journal_folder(self.path).glob("*" + SUFFIX))

    def is_live(self) -> bool:
        """Whether the controller, or anyone who writes to the journal, still lives."""
        return self._lock is not None or is_being_written(self.path / "lock") or self.has_writers()

    def has_writers(self) -> bool:
        """Whether a segment is still open; workers outlive a controller that was killed by some seconds."""
        return any(is_being_written(path) for path in self.segments())

    def try_lock(self) -> bool:
        """Take the controller's lock; False when somebody has it."""
        if self._lock is not None:
            return True
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock = fd
        return True

    def remove(self) -> None:
        """Take back what `create` made."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    # --- room for the last words --------------------------------------------------------------------------------------

    def reserve(self, size: int) -> None:
        """Keep some bytes of the disk free for this run; raises `UsageError` when there aren't as many."""
        fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                free = shutil.disk_usage(self.path).free
                raise UsageError(
                    f"no run can be recorded below {self.path.parent}: {error.strerror}; a run needs {size:,} bytes at "
                    f"the least, {free:,} are free: make room there, or set TESTLAB_HOME to a folder of another disk"
                ) from error
        finally:
            os.close(fd)

    def release_reserve(self) -> None:
        """Give the bytes to whoever writes next; may be called twice."""
        self._reserve.unlink(missing_ok=True)

    @property
    def _reserve(self) -> Path:
        return self.path / "reserve"

    # --- which store it belongs to ------------------------------------------------------------------------------------

    def take_note_of_store(self, identity: str) -> None:
        """Remember which database has the run; an empty identity is none."""
        if identity:
            fd = os.open(self.path / "store", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(identity)

    def belongs_to(self, identity: str) -> bool:
        """Whether that database may take the run in: no other is known to have it."""
        try:
            noted = (self.path / "store").read_text(encoding="ascii")
        except (OSError, ValueError):
            return True
        return not identity or not noted or noted == identity

    # --- its end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the lock; may be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def closed(self) -> bool:
        """Whether all of it is in the store, and nothing more will come."""
        return (self.path / "closed").exists()

    def mark_closed(self) -> None:
        """Say that all of it is in the store. Where the disk has no room for that, it is found out again later."""
        self.release_reserve()
        with contextlib.suppress(OSError):
            (self.path / "closed").touch(mode=0o600)


def _path(home: Path, run: str) -> Path:
    if not RUN_NAME.fullmatch(run):
        raise UsageError(f"{run!r} can't name a run; allowed: letters, digits, '.', '_' and '-', at most 80")
    return home / "runs" / run
