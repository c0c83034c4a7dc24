"""Where hosts live on this machine: one folder of root's, and files in it that are whole or not there.

images/NAME-DIGEST/       what hosts are made from: root/, image.json
machine/NAME-DIGEST/      what this machine's own configuration adds to an image
hosts/NAME/               a host: host.json, key, upper/, work/, root/ (where it is mounted), console.log
layers/ID/                a golden snapshot: layer.json, upper/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_testlab.errors import InfraError, UsageError

SYSTEM = Path("/var/lib/testlab/nspawn")
VARIABLE = "TESTLAB_NSPAWN_DIR"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folder that all is in."""

    base: Path

    @property
    def images(self) -> Path:
        """May be a link: images can be shared by several such folders."""
        return self.base / "images"

    @property
    def machine(self) -> Path:
        """What is made of this machine's configuration."""
        return self.base / "machine"

    @property
    def hosts(self) -> Path:
        """A folder a host."""
        return self.base / "hosts"

    @property
    def layers(self) -> Path:
        """A folder a snapshot."""
        return self.base / "layers"

    def host(self, name: str) -> Path:
        """A host's folder; raises `UsageError` for what can't be a host's name."""
        return self.hosts / check_name(name)

    def layer(self, name: str) -> Path:
        """A snapshot's folder; raises `UsageError` likewise."""
        return self.layers / check_name(name)


def check_name(name: str) -> str:
    """A name that is safe as a file's and as a host's; raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't name a host; allowed: at most 63 letters, digits, '.' and '-'")
    return name


def prepare(base: Path | None = None) -> Places:
    """Make the folders; raises `UsageError` when another user could get at them."""
    base = base or Path(os.environ.get(VARIABLE) or SYSTEM)
    if not base.is_absolute():
        raise UsageError(f"{VARIABLE}: {str(base)!r} is not an absolute path")
    places = Places(base=base)
    try:
        if base == SYSTEM:
            base.parent.mkdir(mode=0o711, exist_ok=True)
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (places.images, places.machine, places.hosts, places.layers):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{base}: can't be made for the hosts of nspawn: {error.strerror}") from error
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o077:
        raise UsageError(f"{base}: must be a folder of root's that is closed to others: chown root, chmod 700")
    return places


def write_json(file: Path, content: Any) -> None:
    """Put a file in place, whole or not at all, and on the disk before this returns."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with draft.open("w") as out:
        json.dump(content, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def read_json(file: Path) -> dict[str, Any] | None:
    """A file's table; None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        return found if isinstance(found, dict) else None
    return None


@contextlib.contextmanager
def locked(path: Path, within_s: float, *, doing: str) -> Iterator[int]:
    """Hold the lock on a file or a folder that is there, against threads and processes alike.

    It ends with the process, however that ends. Gives the open file's number; raises `InfraError` when the time is up,
    `FileNotFoundError` when there is no such file, or no longer.
    """
    deadline = time.monotonic() + within_s
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _take(handle, deadline, f"{doing}: somebody else holds {path} for more than {within_s:g} s")
            if _is(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


def lock_file(path: Path) -> Path:
    """A file to hold the lock on, made if need be."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def _take(handle: int, deadline: float, say: str) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InfraError(say) from None
            time.sleep(_POLL_S)
        else:
            return


def _is(handle: int, path: Path) -> bool:
    """Whether the path still leads to the open file: who waited may have got the lock of what was removed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def mounts_below(folder: Path) -> list[str]:
    """What is mounted at or below a folder in this process's view, the innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        at = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4])
        if at == str(folder) or at.startswith(f"{folder}/"):
            found.append(at)
    return found[::-1]


def remove(folder: Path) -> None:
    """Remove a folder and all in it; gone already = done. Raises `InfraError` that says what stays.

    Never below a mount: that would empty what is mounted.
    """
    if left := mounts_below(folder):
        raise InfraError(f"{folder}: something is still mounted there: {', '.join(left[:3])}")
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)  # something was put there meanwhile
    if folder.exists():
        left = sorted(path.name for path in folder.iterdir())
        raise InfraError(f"{folder}: can't be removed; still there: {', '.join(left[:5])}")
