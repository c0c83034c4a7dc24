"""A run's durable event log: segments on the lab host's disk, one a process, that only ever grow.

A segment is a header and records. A record is four little-endian numbers (length of the event, length of the blob, the
blob's CRC-32, and one over these numbers and the event), the event as JSON, and the blob. It goes out in one write, so
whoever is killed leaves at most one incomplete record, at the end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pytest_testlab.errors import TestlabError, UsageError

MAGIC = b"TLJRNL"
VERSION = 1
HEADER = MAGIC + struct.pack("<H", VERSION)
SUFFIX = ".tlj"
LARGEST = 256 * 1024 * 1024
"""Bytes of an event or a blob; anything above is a mistake, or not a journal."""
_NUMBERS = struct.Struct("<IIII")
TORN = "it ends in the middle of a record"

Event = dict[str, Any]


class JournalError(TestlabError):
    """A segment can't be read on from a place; `say` tells why."""

    def __init__(self, path: Path, offset: int, say: str) -> None:
        super().__init__(f"{path}, byte {offset}: {say}")
        self.path = path
        self.offset = offset
        self.say = say


def journal_folder(run_folder: Path) -> Path:
    """Where a run's segments are."""
    return run_folder / "journal"


class OtherVersion(JournalError):
    """A segment of another version of the format: whole, but for another program to read."""


class JournalFull(TestlabError):
    """The journal can't be written any further: its disk is full, or gone. What it holds already is kept."""

    def __init__(self, path: Path, needed: int, error: OSError) -> None:
        super().__init__(f"{_what_is_full(path, error)}; the next {needed:,} bytes of {path} could not be written")
        self.path = path
        self.needed = needed
        """Bytes."""


def _what_is_full(path: Path, error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return f"a file of the lab may grow no further (ulimit -f): {error.strerror}"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"the lab's disk can't be written: {error.strerror}"
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return f"the lab's disk is full: {error.strerror}"
    return f"the lab's disk is full: {error.strerror}, {free:,} bytes are free at {path.parent}"


class Journal:
    """A segment open for appending, by one process; locked until it is closed, so that others see it is alive."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Open a new segment below the run's `folder`; a name that was used already gets a number.

        Raises `JournalFull` when the disk takes none.
        """
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", writer) or writer.startswith("."):
            raise UsageError(f"{writer!r} can't name a journal's segment; allowed: letters, digits, '.', '_' and '-'")
        self._fd = -1
        self.path = journal_folder(folder) / f"{writer}{SUFFIX}"
        with self._or_full(len(HEADER)):
            journal_folder(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path, self._fd = _open_new(journal_folder(folder), writer)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._begin()

    def _begin(self) -> None:
        try:
            _write_all(self._fd, HEADER)
        except OSError:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1
            raise

    def append(self, event: Mapping[str, Any], blob: bytes = b"", *, sync: bool = True) -> None:
        """Append an event and what belongs to it; with `sync` it is on disk when this returns.

        Raises `JournalFull` when the disk is full or gone; nothing that was appended before is lost then, and half a
        record isn't left behind: when there is room again, it can be appended to.
        """
        payload = json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")
        if max(len(payload), len(blob)) > LARGEST:
            raise ValueError(f"an event of {len(payload)} bytes with {len(blob)} more is too large for the journal")
        blob_crc = zlib.crc32(blob)
        crc = _crc(len(payload), len(blob), blob_crc, payload)
        record = b"".join((_NUMBERS.pack(len(payload), len(blob), blob_crc, crc), payload, blob))
        with self._or_full(len(record)):
            _write_all(self._fd, record)
            if sync:
                os.fdatasync(self._fd)

    def sync(self) -> None:
        """Put everything that was appended on disk; one call may stand for several appends without `sync`."""
        with self._or_full(0):
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Put all of it on disk and let go; may be called twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                with self._or_full(0):
                    os.fdatasync(fd)
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def _or_full(self, needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalFull(self.path, needed, error) from error


def _open_new(folder: Path, writer: str) -> tuple[Path, int]:
    number = 1
    while True:
        path = folder / (f"{writer}{SUFFIX}" if number == 1 else f"{writer}~{number}{SUFFIX}")
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1


def _write_all(fd: int, data: bytes) -> None:
    """One write; the rest in further ones where the kernel took less, which it does for a full disk or a signal.

    A record that can't be finished is cut off again: what is appended later must not follow half a record.
    """
    start = os.fstat(fd).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        os.ftruncate(fd, start)
        raise


def _crc(length: int, blob_length: int, blob_crc: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<III", length, blob_length, blob_crc)))


def read_segment(
    path: Path,
    offset: int = 0,
    *,
    final: bool = False,
    blobs: bool = True,
    load: Callable[[bytes], Event] = json.loads,
) -> Iterator[tuple[Event, bytes, int]]:
    """Each complete record from `offset` on: the event, its blob, and the offset to go on from.

    Stops at an incomplete record: its writer is still at it, or was killed. Without `blobs` they are left unread, and
    come as b"". `load` reads an event's JSON. Anything that can't be read ends it too, and with `final`, when nobody
    writes any more, raises `JournalError`; so does what is no segment, or one of another version of the format, always.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(HEADER):
            return _unreadable(path, 0, "it was begun, and holds no record" if size == 0 else TORN, final)
        _check_header(path, file.read(len(HEADER)))
        at = max(offset, len(HEADER))
        file.seek(at)
        while at + _NUMBERS.size <= size:
            length, blob_length, blob_crc, crc = _NUMBERS.unpack(file.read(_NUMBERS.size))
            end = at + _NUMBERS.size + length + blob_length
            if max(length, blob_length) > LARGEST:
                return _unreadable(path, at, "a record of impossible length", final)
            if end > size:
                break
            payload = file.read(length)
            if _crc(length, blob_length, blob_crc, payload) != crc:
                return _unreadable(path, at, "a record whose checksum is wrong", final)
            blob = b""
            if blob_length and not blobs:
                file.seek(blob_length, os.SEEK_CUR)
            elif blob_length:
                blob = file.read(blob_length)
                if zlib.crc32(blob) != blob_crc:
                    return _unreadable(path, at, "a bundle whose checksum is wrong", final)
            yield load(payload), blob, end
            at = end
        if at < size:
            _unreadable(path, at, TORN, final)
        return None


def count_records(path: Path, offset: int = 0) -> int:
    """How many whole records there are from `offset` on; 0 for what can't be read."""
    count = 0
    # Whoever reads it for good says what is wrong with it; this is only a number to show.
    with contextlib.suppress(JournalError, OSError, struct.error), _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        at = max(offset, len(HEADER))
        while at + _NUMBERS.size <= size:
            length, blob_length, _, _ = _NUMBERS.unpack(os.pread(file.fileno(), _NUMBERS.size, at))
            at += _NUMBERS.size + length + blob_length
            count += at <= size
    return count


def _open(path: Path) -> BinaryIO:
    """Links and pipes are no segments: to follow one could lead anywhere, and to wait for one could take for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        say = "it is a symbolic link" if error.errno == errno.ELOOP else f"it can't be opened: {error.strerror}"
        raise JournalError(path, 0, say) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise JournalError(path, 0, "it is no regular file")
    return os.fdopen(fd, "rb")


def _check_header(path: Path, header: bytes) -> None:
    if header[: len(MAGIC)] != MAGIC:
        raise JournalError(path, 0, "this is no journal")
    version = int.from_bytes(header[len(MAGIC) :], "little")
    if version != VERSION:
        raise OtherVersion(path, 0, f"its format has version {version}, and this program reads version {VERSION}")


def _unreadable(path: Path, at: int, say: str, final: bool) -> None:
    if final:
        raise JournalError(path, at, say)


def is_being_written(path: Path) -> bool:
    """Whether the process that opened a segment still lives."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # gone, or no file of ours: nobody of the lab writes to it
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
