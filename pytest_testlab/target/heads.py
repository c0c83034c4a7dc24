"""The head of an HTTP/1 message: read, changed the way a proxy must, and written again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

_HOP = frozenset({"connection", "proxy-connection", "keep-alive", "proxy-authorization", "upgrade"})
"""Fields that are for the next hop only."""


class HeadError(Exception):
    """What came is no HTTP head, or ended before it was whole."""


@dataclass(kw_only=True)
class Head:
    """A first line and the fields after it, in their order."""

    first: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The first value of a field; `name` in lower case."""
        return next((value for key, value in self.fields if key.lower() == name), None)

    def put(self, name: str, value: str) -> None:
        """Set a field, whatever it was."""
        self.fields = [(name, value), *((key, old) for key, old in self.fields if key.lower() != name.lower())]

    def onward(self) -> Head:
        """As a request goes on to the next hop: for one exchange, or for a protocol that it switches to."""
        kept = [(name, value) for name, value in self.fields if name.lower() not in _HOP]
        upgrade = self.get("upgrade")
        if upgrade:
            return Head(first=self.first, fields=[*kept, ("Connection", "Upgrade"), ("Upgrade", upgrade)])
        return Head(first=self.first, fields=[*kept, ("Connection", "close")])

    def last(self) -> Head:
        """As an answer goes back when the connection ends with it; a switch of protocols is left as it is."""
        if self.status == 101:
            return self
        kept = [(name, value) for name, value in self.fields if name.lower() not in _HOP]
        return Head(first=self.first, fields=[*kept, ("Connection", "close")])

    @property
    def status(self) -> int:
        """Of an answer; 0 where the first line has none."""
        parts = self.first.split(" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0

    @property
    def interim(self) -> bool:
        """Whether the answer proper is still to come (100 Continue, 103 Early Hints)."""
        return 100 <= self.status < 200 and self.status != 101

    def __bytes__(self) -> bytes:
        lines = [self.first, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read one; raises `HeadError`. The reader's limit bounds its size."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise HeadError("the connection was closed" if not error.partial else "the head was cut off") from None
    except asyncio.LimitOverrunError:
        raise HeadError("the head is too long") from None
    first, *rows = text[:-4].split("\r\n")
    pairs = [row.partition(":") for row in rows]
    if any(not colon or not name or name != name.strip() for name, colon, _ in pairs):
        raise HeadError("a field without a name")
    return Head(first=first, fields=[(name, value.strip()) for name, _, value in pairs])
