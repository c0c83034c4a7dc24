"""What the lab itself sees of one attempt: how long its phases took, and its own transcripts, bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_testlab.model import Section
from pytest_testlab.target.commands import Tail

HEAD = 16 * 1024
TAIL = 64 * 1024
"""Bytes kept of the beginning and of the end of each transcript."""
MAX_SECTIONS = 32


class _Transcript:
    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = Tail(TAIL)

    def add(self, data: bytes) -> None:
        room = HEAD - len(self._head)
        self._head += data[:room]
        if data[room:]:
            self._tail.add(data[room:])

    def __bytes__(self) -> bytes:
        kept = bytes(self._tail)
        dropped = self._tail.size - len(kept)
        gap = f"\n[… {dropped} bytes left out …]\n".encode() if dropped else b""
        return bytes(self._head) + gap + kept


class Observations:
    """Implements `protocols.Observer`; safe to use from several threads."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        """Phase → seconds; those of one name add up."""
        self.concealed: set[str] = set()
        """What must be masked."""
        self.now = ""
        """The phase that it is in."""
        self.heard: Callable[[str, bytes], None] = lambda section, data: None
        """Told of whatever is written to a transcript, as it is."""
        self._transcripts: dict[str, _Transcript] = {}
        self._lock = threading.Lock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase, also one that ends by an exception."""
        started, before = time.monotonic(), self.now
        self.now = name
        try:
            yield
        finally:
            self.now = before
            with self._lock:
                self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started

    def write(self, section: str, text: str | bytes) -> None:
        """Append to a transcript: its first 16 KiB and last 64 KiB are kept, and the gap is marked."""
        data = text.encode(errors="replace") if isinstance(text, str) else text
        with self._lock:
            if section not in self._transcripts and len(self._transcripts) >= MAX_SECTIONS:
                raise ValueError(f"an attempt has at most {MAX_SECTIONS} transcripts; {section!r} is one too many")
            self._transcripts.setdefault(section, _Transcript()).add(data)
        self.heard(section, data)

    def conceal(self, *values: str) -> None:
        """Have these masked wherever they turn up."""
        with self._lock:
            self.concealed.update(values)

    def sections(self) -> list[Section]:
        """The transcripts as sections of a bundle, in the order in which they began."""
        with self._lock:
            return [
                Section(
                    name=name, source="the lab's own record", content=bytes(transcript), tail_bytes=HEAD + TAIL + 256
                )
                for name, transcript in self._transcripts.items()
            ]
