"""Undoes escapes in a text and remembers where each byte came from, so that what is found can be masked in place.

Which characters are escaped, and how, is the writer's whim (`\\u0026`, `\\x26`, `%26`, `&#38;`), so that the forms of a
value can't all be listed; undoing them can.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/bfnrt])"
    rb"|%[0-9a-fA-F]{2}"
    rb"|&(?:#[0-9]{2,7}|#[xX][0-9a-fA-F]{2,6}|amp|lt|gt|quot|apos);"
)
_ONE_LETTER = {ord(b"b"): b"\b", ord(b"f"): b"\f", ord(b"n"): b"\n", ord(b"r"): b"\r", ord(b"t"): b"\t"}
_NAMED = {b"&amp;": b"&", b"&lt;": b"<", b"&gt;": b">", b"&quot;": b'"', b"&apos;": b"'"}
_LARGEST_CHARACTER = 0x10FFFF


@dataclass(frozen=True)
class Unescaped:
    """A stretch of a text without its escapes."""

    text: bytes
    begin: int
    """Where the stretch begins in the original."""
    starts: list[int]
    """Where each undone escape stands in `text`, ascending."""
    ends: list[int]
    origins: list[tuple[int, int]]
    """Where it stood in the original, from the stretch's beginning."""

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span of `text` came from."""
        return self.begin + self._origin(start, last=False), self.begin + self._origin(end - 1, last=True)

    def _origin(self, position: int, *, last: bool) -> int:
        index = bisect.bisect_right(self.starts, position) - 1
        if index < 0:
            return position + last
        if position < self.ends[index]:
            return self.origins[index][last]
        return self.origins[index][1] + position - self.ends[index] + last


class Escapes:
    """Which escapes are worth undoing: those that may stand for a letter of the values that are looked for."""

    def __init__(self, values: Iterable[bytes]) -> None:
        """Blanks and line ends are not among them: what is looked for has faces of its own with those."""
        letters = {letter for value in values for letter in value} - set(b" \t\r\n")
        pairs = _pairs(letters)
        own = b"".join(re.escape(bytes((letter,))) for letter in b"\"'/\\" if letter in letters)
        named = [name for name, plain in _NAMED.items() if plain[0] in letters]
        self._by_letter = {
            b"\\": re.compile(
                rb"\\(?:\\(?=u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})|u(?:00(?:%s)|(?!00)[0-9a-fA-F]{4})|x(?:%s)%s)"
                % (pairs, pairs, b"|[" + own + b"]" if own else b"")
            ),
            b"%": re.compile(rb"%%(?:25[0-9a-fA-F]{2}|%s)" % pairs),
            b"&": re.compile(b"|".join([rb"&#(?:[0-9]{2,7}|[xX][0-9a-fA-F]{2,6});", rb"&amp;(?=#)", *named])),
        }

    def undone(self, text: bytes) -> Iterator[Unescaped]:
        """Each run of lines that hold such escapes, with all of its escapes undone."""
        begin = end = -1
        for first in sorted(self._places(text)):
            if first < end:
                continue
            start = text.rfind(b"\n", 0, first) + 1
            if start > end + 1 and end >= 0:
                yield _undone(text, begin, end)
                begin = start
            elif begin < 0:
                begin = start
            end = text.find(b"\n", first)
            end = len(text) if end < 0 else end
        if end >= 0:
            yield _undone(text, begin, end)

    def _places(self, text: bytes) -> Iterator[int]:
        """Where they begin; by their first letters one by one, as none of them is the rule and is seen at once."""
        for letter, pattern in self._by_letter.items():
            if letter in text:
                yield from (match.start() for match in pattern.finditer(text))


def _pairs(letters: Iterable[int]) -> bytes:
    """A pattern for the two hexadecimal digits of any of these bytes."""
    lows: dict[int, str] = {}
    for letter in letters:
        high, low = divmod(letter, 16)
        lows[high] = lows.get(high, "") + f"{low:x}{low:X}"
    found = [f"[{high:x}{high:X}][{low}]" for high, low in sorted(lows.items())]
    return "|".join(found).encode() or b"(?!)"


def _undone(text: bytes, begin: int, end: int) -> Unescaped:
    starts: list[int] = []
    ends: list[int] = []
    origins: list[tuple[int, int]] = []
    pieces: list[bytes] = []
    position, length = begin, 0
    for match in _ESCAPE.finditer(text, begin, end):
        plain = _plain(match[0])
        pieces += (text[position : match.start()], plain)
        length += match.start() - position
        starts.append(length)
        length += len(plain)
        ends.append(length)
        origins.append((match.start() - begin, match.end() - begin))
        position = match.end()
    pieces.append(text[position:end])
    return Unescaped(b"".join(pieces), begin, starts, ends, origins)


def _plain(escape: bytes) -> bytes:
    if escape in _NAMED:
        return _NAMED[escape]
    if escape[:1] == b"&":
        digits = escape[2:-1]
        number = int(digits[1:], 16) if digits[:1] in b"xX" else int(digits)
        return chr(number).encode("utf-8", "surrogatepass") if number <= _LARGEST_CHARACTER else escape
    if escape[:1] == b"%" or escape[:2] == b"\\x":
        return bytes((int(escape[-2:], 16),))
    if escape[:2] == b"\\u":
        units = b"".join(int(escape[at : at + 4], 16).to_bytes(2, "big") for at in range(2, len(escape), 6))
        return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    return _ONE_LETTER.get(escape[1], escape[1:])
