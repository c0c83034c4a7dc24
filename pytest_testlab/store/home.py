"""Where the lab keeps its runs, bundles and embedded store, and which account may reach what of it."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings

SYSTEM_HOME = Path("/var/lib/testlab")
ACCOUNTS = ("postgres", "nobody")
"""Whom PostgreSQL runs as when the lab is root; the first that exists."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the machine."""

    name: str
    uid: int
    gid: int


def home(settings: Settings) -> Path:
    """The lab's home, made if need be; as root others may pass through it, and list nothing.

    Raises `UsageError` that names the directory which bars the way, or a home that others may write to.
    """
    path = home_path(settings)
    _refuse_shared(path)  # before it is closed: what lies there already may be anybody's
    make_folder(path, 0o711 if os.geteuid() == 0 else 0o700)
    make_folder(path / "runs", 0o700)
    return path


def _refuse_shared(path: Path) -> None:
    """Whoever may write to the home could put a run, a key or a store of their own in the place of the lab's."""
    try:
        found = path.stat()
    except OSError:
        return  # it is still to be made, or can't be, which is said then
    if found.st_mode & stat.S_IWOTH:
        raise UsageError(f"the lab's home {path} can be written to by every user; make it yours: chmod o-w {path}")
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"the lab's home {path} belongs to another user; set TESTLAB_HOME to a folder of your own")


def home_path(settings: Settings) -> Path:
    """Where the lab's home is or would be, without making it."""
    if settings.home:
        return Path(os.path.abspath(Path(settings.home).expanduser()))  # noqa: PTH100  links stay as the user wrote them
    if os.geteuid() == 0:
        return SYSTEM_HOME
    return platformdirs.user_data_path("testlab")


def make_folder(path: Path, mode: int, owner: Account | None = None) -> None:
    """Make a folder with just this mode, and its parents, which nobody else may write to whatever the umask.

    One that is there keeps its mode, unless it is to be private and ours to close.

    Raises `UsageError` that names the directory which bars the way.
    """
    try:
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir(mode=0o755, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
        found = path.lstat()
        if mode == 0o700 and stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077 and found.st_uid == os.geteuid():
            path.chmod(mode)
        if owner is not None and path.lstat().st_uid != owner.uid:
            # A link that the account left in a folder of its own must not make root give a folder away.
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    except OSError as error:
        raise UsageError(f"the lab's home {path} can't be made: {_who_bars(path)}: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"the lab's home {path} is not yours to write to; set TESTLAB_HOME to a folder that is")


def _who_bars(path: Path) -> Path:
    """The nearest folder above that is there."""
    for parent in path.parents:
        try:
            parent.stat()
        except OSError:
            continue
        return parent
    return path


def database_account() -> Account | None:
    """Whom PostgreSQL must run as; None = as ourselves, because we aren't root.

    Raises `UsageError` when root has no account to hand it to.
    """
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise UsageError("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as")


def check_reachable(path: Path, account: Account) -> None:
    """Raises `UsageError` that names the first directory above `path` which bars an account from it."""
    for parent in reversed(path.parents):
        if not _may_pass(parent.stat(), account):
            raise UsageError(
                f"the account {account.name}, which runs the embedded PostgreSQL, can't pass {parent} to reach {path}: "
                f"set TESTLAB_HOME to a folder that all may reach, or chmod o+x {parent}"
            )


def _may_pass(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
