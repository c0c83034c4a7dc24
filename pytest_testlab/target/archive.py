"""A folder as a stream of tar blocks: no owners, no times, nothing that leads out of it."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from pytest_testlab.errors import UsageError

SKIPPED = frozenset({".git", "__pycache__"})
CHUNK = 256 * 1024
"""Bytes handed on at a time."""
MOST_MEMBERS = 50_000
MOST_BYTES = 2 * 1024**3
"""Of a folder's files together, holes counted: the target would have to hold them."""


class _Sink:
    """A file to tarfile; hands on pieces of at least `CHUNK` bytes."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self._buffer += data
        if len(self._buffer) >= CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer:
            self._send(bytes(self._buffer))
            self._buffer.clear()


def pack(folder: Path, send: Callable[[bytes], None]) -> int:
    """Stream a folder's content to `send`, which may block; returns the number of members.

    Skips `.git`, `__pycache__`, sockets, FIFOs and devices. Raises `UsageError` for a symbolic link that leads out of
    the folder, a file that can't be read, one that changes meanwhile, or more than `MOST_MEMBERS` or `MOST_BYTES`.
    """
    _check_size(folder)
    sink = _Sink(send)
    count = 0
    with tarfile.open(fileobj=cast("IO[bytes]", sink), mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive:
        for path in _members(folder):
            _add(archive, folder, path)
            count += 1
    sink.flush()
    return count


def _check_size(folder: Path) -> None:
    """Before the first byte is sent, so that nothing is uploaded in vain."""
    size = 0
    for count, path in enumerate(_members(folder), start=1):
        status = path.lstat()
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if count > MOST_MEMBERS:
            raise UsageError(f"{folder}: holds more than {MOST_MEMBERS} files, too many to upload")
        if size > MOST_BYTES:
            raise UsageError(f"{folder}: holds more than {MOST_BYTES // 1024**2} MiB, too much to upload; see {path}")


def _members(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder that can be uploaded")
    for parent, names, files in os.walk(folder, onerror=_unreadable):
        names[:] = sorted(name for name in names if name not in SKIPPED)
        yield from (Path(parent, name) for name in names)
        yield from (Path(parent, name) for name in sorted(files) if name not in SKIPPED)


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename}: can't be read: {error.strerror}") from error


def _add(archive: tarfile.TarFile, folder: Path, path: Path) -> None:
    info = tarfile.TarInfo(path.relative_to(folder).as_posix())
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, _inside(folder, path)
        archive.addfile(info)
    elif stat.S_ISDIR(status.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o111 else 0o644
        _add_file(archive, info, path)


def _inside(folder: Path, link: Path) -> str:
    target = link.readlink()
    reached = Path(os.path.realpath(link.parent / target))  # unlike resolve(), doesn't raise for a loop
    if target.is_absolute() or not reached.is_relative_to(os.path.realpath(folder)):
        raise UsageError(f"{link}: the link leads out of the folder, to {target}; only what is inside is uploaded")
    return str(target)


def _add_file(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    try:
        # What was a file a moment ago must not have become a link that leads out, or a pipe that never ends.
        content = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    with content:
        before = archive.offset
        try:
            archive.addfile(info, content)
        except OSError as error:
            if archive.offset != before and not isinstance(error, ConnectionError):
                raise UsageError(f"{path}: changed while it was uploaded") from error
            raise
