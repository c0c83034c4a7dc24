"""Where targets live on this machine, and which account they run as.

An ordinary user's targets run as that user, below the lab's home. Root's run as an unprivileged account, `nobody`
unless TESTLAB_LOCAL_ACCOUNT names another: PostgreSQL refuses root, and an app under test has no business with it. The
lab's home may be closed to that account, so that root's targets live in a system folder instead, apart for each home.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import InfraError, UsageError
from testlab_local.environment import home, temporary

SYSTEM = Path("/var/lib/testlab-targets")
"""Root's own, and traversable; every folder above it is root's too, unlike those below /var/tmp."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who targets run as."""

    name: str
    uid: int
    gid: int

    @property
    def other(self) -> bool:
        """Whether that is somebody else than this process."""
        return self.uid != os.geteuid()


def account() -> Account:
    """The account for targets; raises `UsageError` when the one that was asked for isn't there or is root."""
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return Account(name=own.pw_name, uid=own.pw_uid, gid=own.pw_gid)
    name = os.environ.get("TESTLAB_LOCAL_ACCOUNT") or "nobody"
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(
            f"TESTLAB_LOCAL_ACCOUNT: this machine has no account {name!r}; make one, or unset it"
        ) from None
    if found.pw_uid == 0:
        raise UsageError("TESTLAB_LOCAL_ACCOUNT: targets never run as root; name an ordinary account")
    return Account(name=found.pw_name, uid=found.pw_uid, gid=found.pw_gid)


def base(lab_home: Path) -> Path:
    """The folder of this lab's targets and their records."""
    if os.geteuid() != 0:
        return lab_home / "targets"
    return SYSTEM / hashlib.sha256(bytes(lab_home.absolute())).hexdigest()[:8]


def prepare(lab_home: Path) -> Path:
    """Make the base; raises `UsageError` when it can't be made or another user could get at it."""
    place = base(lab_home)
    try:
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{place}: can't be made for the local targets: {error.strerror}") from error
    status = place.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise UsageError(f"{place}: must be yours and writable by nobody else; mend its owner or mode")
    return place


def check_name(name: str) -> str:
    """A name that is safe as a file's; raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't name a target; allowed: letters, digits, '.', '_' and '-'")
    return name


def furnish(folder: Path, who: Account) -> None:
    """Make a target's folder with its HOME and TMPDIR, closed to others."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for inner in (home(folder), temporary(folder)):
        inner.mkdir(mode=0o700)
        if who.other:
            os.chown(inner, who.uid, who.gid, follow_symlinks=False)
    if who.other:
        os.chown(folder, who.uid, who.gid, follow_symlinks=False)


def empty(folder: Path) -> None:
    """Remove all that is in a folder, whatever modes it was given; raises `InfraError` that names what stays.

    No link is followed: `shutil.rmtree` works on open folders, where nobody can slip one in.
    """
    _remove_content(folder)
    if _names(folder) and os.geteuid() != 0:
        # A folder without write permission (Go's module cache) keeps even its owner out; root needs no permission.
        _open_up(folder)
        _remove_content(folder)
    if left := _names(folder):
        raise InfraError(f"{folder}: can't be emptied; still there: {', '.join(left[:5])}")


def _remove_content(folder: Path) -> None:
    for name in _names(folder):
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _open_up(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, onerror=None):
        for entry in os.scandir(parent):
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).chmod(0o700)


def remove(folder: Path) -> None:
    """Remove a target's folder; gone already = done."""
    if folder.is_dir() and not folder.is_symlink():
        empty(folder)
        folder.rmdir()


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
