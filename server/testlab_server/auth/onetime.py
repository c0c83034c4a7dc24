"""Login links: signed, good for ten minutes, for one server and for one use, restarts included."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

LIFETIME_S = 600
_ID = re.compile(r"[0-9a-f]{32}")


class Refused(Exception):
    """A login link that doesn't open; its text says why."""


class LoginLinks:
    """Makes login links and takes each of them once.

    The ids of links that were used are files below `folder`, made with O_EXCL: a second use fails even when two
    requests, two servers or a restart come between. `origin` is part of what is signed, so that a link of one server
    doesn't open another that shares its secret.
    """

    def __init__(self, secret: bytes, folder: Path, origin: str) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt="testlab-login-link")
        self._folder = folder
        self._origin = origin

    def make(self) -> str:
        """A fresh link, whole."""
        token = self._serializer.dumps({"id": secrets.token_hex(16), "for": self._origin})
        return f"{self._origin}/login/{token}"

    def check(self, token: str) -> str:
        """The id of a link that would open now, which this leaves unspent; raises `Refused`."""
        try:
            said = self._serializer.loads(token, max_age=LIFETIME_S)
        except SignatureExpired:
            raise Refused("this link has expired: links are good for ten minutes") from None
        except BadSignature:
            raise Refused("this link was not made by this server, or was cut off when it was copied") from None
        if not isinstance(said, dict) or said.get("for") != self._origin or not _ID.fullmatch(str(said.get("id"))):
            raise Refused("this link was made for another server")
        identity = str(said["id"])
        if (self._folder / identity).exists():
            raise Refused("this link has been used: each opens the dashboard once")
        return identity

    def spend(self, token: str) -> None:
        """Use a link up; raises `Refused` if it doesn't open. It is on disk before this returns."""
        identity = self.check(token)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self._folder / identity, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise Refused("this link has been used: each opens the dashboard once") from None
        _sync(self._folder)
        self._forget_expired()

    def _forget_expired(self) -> None:
        # Twice the lifetime, so that a clock set back a little doesn't revive a link.
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # two logins at once forget the same ones
                if path.stat().st_mtime < time.time() - 2 * LIFETIME_S:
                    path.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
