"""Who is logged in: a file for each session on the server, so that logging out ends it wherever its cookie went."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path


class Sessions:
    """Begins sessions, knows them again and ends them, restarts included.

    A session is an empty file below `folder`, named by a digest of its id: who reads the folder learns no id. To end
    one by hand, delete its file; to end all of them, delete the folder.
    """

    def __init__(self, folder: Path, lifetime_s: float) -> None:
        self._folder = folder
        self._lifetime_s = lifetime_s

    def begin(self) -> str:
        """The id of a new session, for the cookie of one browser."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_expired()
        identity = secrets.token_hex(16)
        os.close(os.open(self._file(identity), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return identity

    def is_open(self, identity: object) -> bool:
        """Whether this is the id of a session that was begun, and has neither ended nor expired."""
        if not isinstance(identity, str):
            return False
        try:
            return self._file(identity).stat().st_mtime > time.time() - self._lifetime_s
        except FileNotFoundError:
            return False

    def end(self, identity: object) -> None:
        """End a session; ended already = done."""
        if isinstance(identity, str):
            self._file(identity).unlink(missing_ok=True)

    def _file(self, identity: str) -> Path:
        return self._folder / hashlib.sha256(identity.encode(errors="replace")).hexdigest()

    def _forget_expired(self) -> None:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # two logins at once forget the same ones
                if path.stat().st_mtime <= time.time() - self._lifetime_s:
                    path.unlink()
