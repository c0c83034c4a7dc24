"""Masks secrets before a bundle leaves the worker: the values that the lab knows, and well-known shapes of others.

Known values are found in whatever face logs show them. Shapes are searched for by literal words first and by pattern
only on the lines that hold one, which keeps it several times faster than one large pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from pytest_testlab.diagnosis.known import KnownValues, Span, merged
from pytest_testlab.protocols import RedactionShape

MARKER = b"[redacted]"
_BRIEF = 4_096
"""A text with fewer bytes is first searched for all words at once; in longer ones, word by word is faster."""
_BLOCK = 16_384
"""A pattern that may cross lines (`re.DOTALL`) sees this many bytes before and behind the line that holds its word."""
_Line = tuple[int, int, int]
"""Where a line begins and ends, and where the word first stands in it."""


class Redactor:
    """Masks `known` values and `shapes` in bytes, each by the same marker, which tells neither length nor prefix."""

    def __init__(self, known: Iterable[str], shapes: Iterable[RedactionShape]) -> None:
        self._known_strings = frozenset(known)
        self._known = KnownValues(self._known_strings)
        self._shapes = tuple(shapes)
        self._widened: tuple[frozenset[str], Redactor] | None = None
        """What `knowing` was last asked for: an entry's tests ask for the same again and again."""
        words = {word for shape in self._shapes for word in shape.words}
        self._roots = _roots(words)
        hints = {shape.hint.pattern for shape in self._shapes if shape.hint is not None}
        self._any = re.compile(b"|".join((*map(re.escape, sorted(words)), *sorted(hints))), re.IGNORECASE)

    def knowing(self, values: Iterable[str]) -> Redactor:
        """One that knows these values too; itself where it knows them already."""
        more = frozenset(values) - self._known_strings
        if not more:
            return self
        if self._widened is None or self._widened[0] != more:
            self._widened = more, Redactor(self._known_strings | more, self._shapes)
        return self._widened[1]

    def redact(self, data: bytes) -> tuple[bytes, int]:
        """The masked text and how many spans were masked in it."""
        data, by_value = _mask(data, self._known.spans(data))
        data, by_shape = _mask(data, self._shaped(data))
        return data, by_value + by_shape

    def redact_text(self, text: str) -> str:
        """The masked text."""
        return self.redact(text.encode("utf-8", "surrogateescape"))[0].decode("utf-8", "surrogateescape")

    def _shaped(self, data: bytes) -> Iterator[Span]:
        if not self._shapes or (len(data) < _BRIEF and self._any.search(data) is None):
            return
        text = _Searched(data, self._roots)
        for shape in self._shapes:
            for start, end in text.where(shape):
                for match in shape.pattern.finditer(data, start, end):
                    span = match.span("secret")
                    if span[0] < span[1] and data[slice(*span)] != MARKER:
                        yield span


class _Searched:
    """A text, and which of its lines hold which words, each looked for once."""

    def __init__(self, data: bytes, roots: Mapping[bytes, bytes]) -> None:
        self._data = data
        self._lower = data.lower()
        self._roots = roots
        self._lines: dict[bytes, list[_Line]] = {}
        self._where: dict[object, list[_Line]] = {}

    def where(self, shape: RedactionShape) -> list[Span]:
        """The stretches in which a shape's pattern is to be searched for."""
        key = shape.words, shape.hint, shape.near
        if key not in self._where:
            lines = sorted({line for word in shape.words for line in self._lines_of(word)})
            if shape.near is not None:
                lines = [line for line in lines if self._is_near(shape.near, shape.words, line)]
            if shape.hint is not None:
                lines += self._hinted(shape.hint)
            self._where[key] = lines
        lines = self._where[key]
        if shape.reach is not None:
            return merged((max(start, at - shape.reach), end) for start, end, at in lines)
        if shape.pattern.flags & re.DOTALL:
            return merged((max(0, start - _BLOCK), end + _BLOCK) for start, end, _ in lines)
        return list(dict.fromkeys((start, end) for start, end, _ in lines))

    def _is_near(self, near: re.Pattern[bytes], words: tuple[bytes, ...], line: _Line) -> bool:
        _, end, first = line
        for word in words:
            at = self._lower.find(word, first, end)
            while at >= 0:
                if near.match(self._lower, at, end):
                    return True
                at = self._lower.find(word, at + 1, end)
        return False

    def _lines_of(self, word: bytes) -> list[_Line]:
        if word not in self._lines:
            root = self._roots.get(word)
            if root is None:
                self._lines[word] = list(self._found(word))
            else:
                inside = ((start, end, self._lower.find(word, start, end)) for start, end, _ in self._lines_of(root))
                self._lines[word] = [line for line in inside if line[2] >= 0]
        return self._lines[word]

    def _found(self, word: bytes) -> Iterator[_Line]:
        at = self._lower.find(word)
        while at >= 0:
            line = self._line(at)
            yield line
            at = self._lower.find(word, line[1])

    def _hinted(self, hint: re.Pattern[bytes]) -> Iterator[_Line]:
        end = -1
        for match in hint.finditer(self._data):
            if match.start() > end:
                line = self._line(match.start())
                end = line[1]
                yield line

    def _line(self, at: int) -> _Line:
        end = self._data.find(b"\n", at)
        return self._data.rfind(b"\n", 0, at) + 1, len(self._data) if end < 0 else end, at


def _roots(words: Iterable[bytes]) -> dict[bytes, bytes]:
    """Word → the shortest word that it holds: where that isn't, the longer one needn't be looked for."""
    known = sorted(set(words), key=len)
    found = {}
    for word in known:
        root = next((short for short in known if short != word and short in word), None)
        if root is not None:
            found[word] = root
    return found


def _mask(data: bytes, spans: Iterable[Span]) -> tuple[bytes, int]:
    parts: list[bytes] = []
    position = masked = 0
    for start, end in merged(spans):
        parts += (data[position:start], MARKER)
        position = end
        masked += 1
    if not masked:
        return data, 0
    return b"".join((*parts, data[position:])), masked
