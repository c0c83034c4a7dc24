"""Masks secrets before a bundle leaves the worker: the values that the lab knows, and well-known shapes of others.

Known values are found in whatever face logs show them. Shapes are searched for by literal words first and by pattern
only on the lines that hold one, which keeps it several times faster than one large pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pytest_testlab.diagnosis.known import KnownValues, Span, merged
from pytest_testlab.protocols import RedactionShape

MARKER = b"[redacted]"
_BLOCK = 16_384
"""A pattern that may cross lines (`re.DOTALL`) sees this many bytes before and behind the line that holds its word."""
_Line = tuple[int, int, int]
"""Where a line begins and ends, and where a word or a hint first stands in it."""
_Hint = tuple[re.Pattern[bytes], bool]
"""A hint, and whether it is for the text in lower case."""


class Redactor:
    """Masks `known` values and `shapes` in bytes, each by the same marker, which tells neither length nor prefix."""

    def __init__(self, known: Iterable[str], shapes: Iterable[RedactionShape]) -> None:
        self._known_strings = frozenset(known)
        self._known = KnownValues(self._known_strings)
        self._shapes = tuple(shapes)
        self._widened: tuple[frozenset[str], Redactor] | None = None
        """What `knowing` was last asked for: an entry's tests ask for the same again and again."""
        groups: dict[tuple[tuple[bytes, ...], tuple[re.Pattern[bytes], ...]], list[RedactionShape]] = {}
        for shape in self._shapes:
            groups.setdefault((shape.words, shape.hints), []).append(shape)
        self._groups = [(words, tuple(map(_eased, hints)), shapes) for (words, hints), shapes in groups.items()]
        """What is looked for, once, and the shapes that are to be found where it stands."""

    def knowing(self, values: Iterable[str]) -> Redactor:
        """One that knows these values too; itself where it knows them already."""
        more = frozenset(values) - self._known_strings
        if not more:
            return self
        widened = self._widened  # another thread may ask meanwhile, for others
        if widened is None or widened[0] != more:
            widened = self._widened = more, Redactor(self._known_strings | more, self._shapes)
        return widened[1]

    def by_line(self) -> Redactor:
        """One for text that is seen a line at a time: of a value with several lines it knows each."""
        many = (value for value in self._known_strings if "\n" in value.strip())
        return self.knowing(line.strip() for value in many for line in value.splitlines() if line.strip())

    def redact(self, data: bytes) -> tuple[bytes, int]:
        """The masked text and how many spans were masked in it."""
        data, by_value = _mask(data, self._known.spans(data))
        data, by_shape = _mask(data, self._shaped(data))
        return data, by_value + by_shape

    def redact_text(self, text: str) -> str:
        """The masked text."""
        return self.redact(text.encode("utf-8", "surrogateescape"))[0].decode("utf-8", "surrogateescape")

    def _shaped(self, data: bytes) -> Iterator[Span]:
        text = _Searched(data)
        for words, hints, shapes in self._groups:
            lines = text.lines(words, hints)
            for shape in shapes if lines else ():
                for start, end in _stretches(shape, lines):
                    for match in shape.pattern.finditer(data, start, end):
                        span = match.span("secret")
                        if span[0] < span[1] and data[slice(*span)] != MARKER:
                            yield span


class _Searched:
    """A text whose lines are asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lower = data.lower()

    def lines(self, words: Iterable[bytes], hints: Iterable[_Hint]) -> list[_Line]:
        """The lines that hold one of the words, or that one of the hints fits."""
        found: list[_Line] = []
        for word in words:
            found += self._with(word)
        for hint in hints:
            found += self._fit_by(hint)
        return sorted(set(found)) if found else found

    def _with(self, word: bytes) -> Iterator[_Line]:
        at = self._lower.find(word)
        while at >= 0:
            line = self._line(at)
            yield line
            at = self._lower.find(word, line[1])

    def _fit_by(self, hint: _Hint) -> Iterator[_Line]:
        pattern, any_case = hint
        end = -1
        for match in pattern.finditer(self._lower if any_case else self._data):
            if match.start() > end:
                line = self._line(match.start())
                end = line[1]
                yield line

    def _line(self, at: int) -> _Line:
        end = self._data.find(b"\n", at)
        return self._data.rfind(b"\n", 0, at) + 1, len(self._data) if end < 0 else end, at


def _eased(hint: re.Pattern[bytes]) -> _Hint:
    """In a text of lower case a hint is searched for by its first letter, and several times faster."""
    any_case = bool(hint.flags & re.IGNORECASE)
    return (re.compile(hint.pattern, hint.flags & ~re.IGNORECASE) if any_case else hint), any_case


def _stretches(shape: RedactionShape, lines: Iterable[_Line]) -> list[Span]:
    """Where a shape's pattern is to be searched for."""
    if shape.reach is not None:
        return merged((max(start, at - shape.reach), end) for start, end, at in lines)
    if shape.pattern.flags & re.DOTALL:
        return merged((max(0, start - _BLOCK), end + _BLOCK) for start, end, _ in lines)
    return list(dict.fromkeys((start, end) for start, end, _ in lines))


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
