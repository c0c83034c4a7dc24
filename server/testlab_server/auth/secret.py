"""The server's own secret, which signs login links and session cookies."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from pytest_testlab.errors import UsageError

_BYTES = 32


def server_secret(folder: Path) -> bytes:
    """The secret kept in `folder`, made at the first call; only its owner can read it.

    Two servers that start at once agree on one, and a kill while it is written leaves no half of it: it is written
    aside and linked into place. Raises `UsageError` when the file is another's, open to others, or damaged.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "secret"
    if not path.exists():
        _create(path)
    secret = _read(path)
    if len(secret) != _BYTES:
        raise UsageError(f"{path} is damaged; delete it, and everyone logs in anew")
    return secret


def _read(path: Path) -> bytes:
    """What is looked at is what is read, and no link, pipe or other account's file: its maker would know the secret."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}; delete it, and everyone logs in anew") from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            raise UsageError(f"{path} is not a file of yours; delete it, and everyone logs in anew")
        if facts.st_mode & 0o077:
            raise UsageError(f"{path} can be read by others; make it private: chmod 600 {path}")
        return file.read(_BYTES + 1)


def _create(path: Path) -> None:
    aside = path.with_name(f".secret-{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return  # another server was first: its secret counts
    finally:
        aside.unlink()
