"""A run's durable event log: segments on the lab host's disk, one a process, that only ever grow.

A segment is a header and records. A record is four little-endian numbers (length of the event, length of the blob, the
blob's CRC-32, and one over these numbers and the event), the event as JSON, and the blob. It goes out in one write, so
whoever is killed leaves at most one incomplete record, at the end.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_testlab.errors import TestlabError, UsageError

MAGIC = b"TLJRNL"
VERSION = 1
HEADER = MAGIC + struct.pack("<H", VERSION)
SUFFIX = ".tlj"
LARGEST = 256 * 1024 * 1024
"""Bytes of an event or a blob; anything above is a mistake, or not a journal."""
_NUMBERS = struct.Struct("<IIII")

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


class Journal:
    """A segment open for appending, by one process; locked until it is closed, so that others see it is alive."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Open a new segment below the run's `folder`; a name that was used already gets a number."""
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", writer) or writer.startswith("."):
            raise UsageError(f"{writer!r} can't name a journal's segment; allowed: letters, digits, '.', '_' and '-'")
        journal_folder(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._fd = _open_new(journal_folder(folder), writer)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        _write_all(self._fd, HEADER)

    def append(self, event: Mapping[str, Any], blob: bytes = b"", *, sync: bool = True) -> None:
        """Append an event and what belongs to it; with `sync` it is on disk when this returns.

        Raises `OSError` when the disk is full or gone; nothing that was appended before is lost then.
        """
        payload = json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")
        if max(len(payload), len(blob)) > LARGEST:
            raise ValueError(f"an event of {len(payload)} bytes with {len(blob)} more is too large for the journal")
        blob_crc = zlib.crc32(blob)
        crc = _crc(len(payload), len(blob), blob_crc, payload)
        record = b"".join((_NUMBERS.pack(len(payload), len(blob), blob_crc, crc), payload, blob))
        _write_all(self._fd, record)
        if sync:
            self.sync()

    def sync(self) -> None:
        """Put everything that was appended on disk; one call may stand for several appends without `sync`."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Put all of it on disk and let go; may be called twice."""
        if self._fd >= 0:
            os.fdatasync(self._fd)
            os.close(self._fd)
            self._fd = -1


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
    path: Path, offset: int = 0, *, final: bool = False, blobs: bool = True
) -> Iterator[tuple[Event, bytes, int]]:
    """Each complete record from `offset` on: the event, its blob, and the offset to go on from.

    Stops at an incomplete record: its writer is still at it, or was killed. Without `blobs` they are left unread, and
    come as b"". Anything that can't be read ends it too, and with `final`, when nobody writes any more, raises
    `JournalError`; so does another version of the format, always.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(HEADER):
            return
        _check_header(path, file.read(len(HEADER)))
        at = max(offset, len(HEADER))
        file.seek(at)
        while at + _NUMBERS.size <= size:
            length, blob_length, blob_crc, crc = _NUMBERS.unpack(file.read(_NUMBERS.size))
            end = at + _NUMBERS.size + length + blob_length
            if max(length, blob_length) > LARGEST:
                return _unreadable(path, at, "a record of impossible length", final)
            if end > size:
                return None
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
            yield json.loads(payload), blob, end
            at = end


def _check_header(path: Path, header: bytes) -> None:
    if header[: len(MAGIC)] != MAGIC:
        raise JournalError(path, 0, "this is no journal")
    version = int.from_bytes(header[len(MAGIC) :], "little")
    if version != VERSION:
        raise JournalError(path, 0, f"its format has version {version}, and this program reads version {VERSION}")


def _unreadable(path: Path, at: int, say: str, final: bool) -> None:
    if final:
        raise JournalError(path, at, say)


def is_being_written(path: Path) -> bool:
    """Whether the process that opened a segment still lives."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
