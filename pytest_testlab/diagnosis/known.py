"""Finds known values in a text, whatever their number, in one pass over it.

Of every value's faces the words of eight bytes are known; a text is read as words of eight bytes, of which one must be
known wherever fifteen bytes of a face stand. What takes more than a set's look-up happens only there. Blanks and line
ends are left out of the comparison, so that a value which was wrapped over lines is found too.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator

from pytest_testlab.diagnosis.faces import Face, parts
from pytest_testlab.diagnosis.unescape import Escapes

Span = tuple[int, int]
WORD = 8
SURE = 2 * WORD - 1
"""From this length on a face can't stand in a text without one of its words being read."""
_ALL_WORDS = 2_048
"""Of a longer face only the words at its beginning are known: enough to find it whole."""
_PART = 16
"""This much of an encoded face is masked wherever it stands: a line of a wrapped text, each with a prefix."""
_PLAIN_PART = 12
"""And this much of any other, if it is half of it or more."""
_CUT = 4
"""This much of a face's end is recognised where a text was cut before it, of its beginning where one was cut after."""
_PROBES = 2_000
"""Places at which parts are looked for, in one text: what repeats a word of its secret for ever must not cost more."""
_BLANKS = b" \t\r\n"
_GAP = re.compile(rb"[ \t\r\n]+")
_WRAP = re.compile(rb"[ \t]*[\r\n]+[ \t]*")
CUT_MARK = "…".encode()
"""Stands wherever the lab itself shortens a text."""
_MARKS = 500
_OPENING = re.compile(rb"[\] \r\n]{0,8}")
_NEXT_LINE = 256


class KnownValues:
    """The values to look for, in all their faces."""

    def __init__(self, values: Iterable[str]) -> None:
        values = list(values)
        faces, self._alone = parts(values)
        self._escapes = Escapes(value.encode("utf-8", "surrogateescape") for value in values)
        self._needles: list[bytes] = []
        self._encoded: list[bool] = []
        self._lined: list[bool] = []
        """Of several lines: a log may put them on one, with blanks between."""
        self._wanted: list[set[bytes]] = []
        """What a place must read as, without line ends, to be this needle and no accident."""
        self._add(faces)
        self._words: dict[int, list[tuple[int, int]]] = {}
        """Word → (needle, where it stands in it)."""
        self._short: list[int] = []
        for index, needle in enumerate(self._needles):
            if len(needle) < SURE:
                self._short.append(index)
                continue
            for at in range(len(needle) - WORD + 1 if len(needle) <= _ALL_WORDS else WORD):
                self._words.setdefault(int.from_bytes(needle[at : at + WORD], "little"), []).append((index, at))
        self._known_words = frozenset(self._words)
        self._all = b"\0" + b"".join(face.text + b"\0" for face in faces)

    def _add(self, faces: Iterable[Face]) -> None:
        by_needle: dict[bytes, int] = {}
        for face in sorted(faces, key=lambda face: face.text):
            needle = face.text.translate(None, _BLANKS)
            if needle not in by_needle:
                by_needle[needle] = len(self._needles)
                self._needles.append(needle)
                self._encoded.append(True)
                self._lined.append(False)
                self._wanted.append(set())
            index = by_needle[needle]
            self._encoded[index] &= face.encoded
            self._lined[index] |= b"\n" in face.text
            self._wanted[index].add(_even(face.text).strip(_BLANKS))

    def spans(self, text: bytes) -> Iterator[Span]:
        """Where values stand, as they are, wrapped, cut, or under one or two layers of escapes; may overlap."""
        yield from self._cut(text)
        yield from self._plain(text)
        for once in self._escapes.undone(text):
            yield from (once.origin(*span) for span in self._plain(once.text))
            for twice in self._escapes.undone(once.text):
                yield from (once.origin(*twice.origin(*span)) for span in self._plain(twice.text))

    def _plain(self, text: bytes) -> Iterator[Span]:
        for value in self._alone:
            yield from _standing_alone(text, value)
        if not self._needles:
            return
        squeezed = text.translate(None, _BLANKS)
        words = memoryview(squeezed)[: len(squeezed) // WORD * WORD].cast("Q")
        hits = self._known_words.intersection(words)
        there = {index for word in hits for index, _ in self._words[word]}
        there.update(index for index in self._short if self._needles[index] in squeezed)
        if there:
            yield from self._found(text, squeezed, there, hits)

    def _found(self, text: bytes, squeezed: bytes, there: set[int], hits: Iterable[int]) -> Iterator[Span]:
        place = _Places(text)
        whole: list[Span] = []
        for index in there:
            needle = self._needles[index]
            for start in _occurrences(squeezed, needle):
                span = place.original(start, start + len(needle))
                if self._lined[index] or _even(text[slice(*span)]) in self._wanted[index]:
                    whole.append((start, start + len(needle)))
                    yield span
        for start, end, rest in self._parts(squeezed, hits, merged(whole)):
            yield from _with_the_rest(text, place.original(start, end), *rest)

    def _parts(
        self, squeezed: bytes, hits: Iterable[int], whole: list[Span]
    ) -> Iterator[tuple[int, int, tuple[bytes, bytes]]]:
        """(start, end, what is missing before and after) of parts that are too long for an accident."""
        tried: set[tuple[int, int]] = set()
        for word in hits:
            for at in _occurrences(squeezed, word.to_bytes(WORD, "little")):
                if _inside(at, at + WORD, whole):
                    continue
                for index, offset in self._words[word]:
                    if (index, at - offset) in tried:
                        continue
                    tried.add((index, at - offset))
                    if len(tried) > _PROBES:
                        return
                    needle = self._needles[index]
                    before, after = _grown(squeezed, at, needle, offset)
                    if self._is_part(index, after - before):
                        missing = needle[: before + offset - at], needle[after + offset - at :]
                        yield before, after, missing

    def _is_part(self, index: int, length: int) -> bool:
        least = _PART if self._encoded[index] else max(_PLAIN_PART, len(self._needles[index]) // 2)
        return least <= length

    def _cut(self, text: bytes) -> Iterator[Span]:
        """Ends of faces where the text begins or goes on after a cut, beginnings where it ends or was cut."""
        marks = [] if text.isascii() else list(itertools.islice(_occurrences(text, CUT_MARK), _MARKS))
        for after in [0, *(mark + len(CUT_MARK) for mark in marks)]:
            yield from self._end_at(text, after + len(_OPENING.match(text, after)[0]) if after else 0)  # type: ignore[index]
        for before in [*marks, len(text)]:
            yield from self._beginning_before(text, before)

    def _end_at(self, text: bytes, start: int) -> Iterator[Span]:
        found = _occurrences(self._all, text[start : start + _CUT]) if start + _CUT <= len(text) else ()
        for at in found:
            rest = self._all[at : self._all.index(b"\0", at)]
            if text.startswith(rest, start):
                yield start, start + len(rest)

    def _beginning_before(self, text: bytes, end: int) -> Iterator[Span]:
        end -= len(text[max(0, end - 8) : end]) - len(text[max(0, end - 8) : end].rstrip(b" |[\r\n"))
        found = _occurrences(self._all, text[end - _CUT : end]) if end >= _CUT else ()
        for at in found:
            beginning = self._all[self._all.rindex(b"\0", 0, at) + 1 : at + _CUT]
            if text.endswith(beginning, 0, end):
                yield end - len(beginning), end


class _Places:
    """Where the bytes of a squeezed text stood before."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at: list[int] | None = None
        self._gone: list[int] = []

    def original(self, start: int, end: int) -> Span:
        """The span of the text that a span of the squeezed one came from."""
        return self._one(start), self._one(end - 1) + 1

    def _one(self, position: int) -> int:
        if self._at is None:
            self._at, gone = [], 0
            for match in _GAP.finditer(self._text):
                self._at.append(match.start() - gone)
                gone += match.end() - match.start()
                self._gone.append(gone)
        index = bisect.bisect_right(self._at, position) - 1
        return position + (self._gone[index] if index >= 0 else 0)


def _even(text: bytes) -> bytes:
    """A text as it was before it was wrapped; its own line ends are left out."""
    return _WRAP.sub(b"", text)


def _occurrences(text: bytes, needle: bytes) -> Iterator[int]:
    """Also those that overlap: a value may overlap itself, and what is left of it must not survive."""
    start = text.find(needle)
    while start >= 0:
        yield start
        start = text.find(needle, start + 1)


def _grown(text: bytes, at: int, needle: bytes, offset: int) -> Span:
    """How far a text agrees with a needle around a place where they are known to."""
    before = 0
    while before < min(at, offset) and text[at - before - 1] == needle[offset - before - 1]:
        before += 1
    after, most = 0, min(len(text) - at, len(needle) - offset)
    while after < most and text[at + after] == needle[offset + after]:
        after += 1
    return at - before, at + after


def _with_the_rest(text: bytes, span: Span, before: bytes, after: bytes) -> Iterator[Span]:
    """A part, and what is missing of it, where the line before ends with that, or in the line after.

    Up to three letters beyond the end of a line are taken for an accident: `N` may be the next letter, or of "Nov".
    """
    start, end = span
    first, last = text.find(b"\n", start, end), text.rfind(b"\n", start, end)
    if last >= 0 and end - last <= _CUT:
        after, end = text[last + 1 : end] + after, last
    if 0 <= first - start < _CUT and first < end:
        before, start = before + text[start:first], first + 1
    yield start, end
    line = text.rfind(b"\n", 0, start)
    if before and line > 0:
        ending = text[max(0, line - len(before)) : line].rstrip()
        for length in range(min(len(before), len(ending)), 2, -1):
            if ending.endswith(before[-length:]):
                yield line - length, line
                break
    line = text.find(b"\n", end, end + _NEXT_LINE)
    if after and line >= 0:
        probe = after[:_CUT]
        at = text.find(probe, line, line + _NEXT_LINE)
        if at >= 0 and len(probe) > 2:
            yield at, _grown(text, at, after, 0)[1]


def _standing_alone(text: bytes, value: bytes) -> Iterator[Span]:
    for start in _occurrences(text, value):
        around = text[max(0, start - 1) : start] + text[start + len(value) : start + len(value) + 1]
        if not any(letter == ord(b"_") or (chr(letter).isascii() and chr(letter).isalnum()) for letter in around):
            yield start, start + len(value)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, with those that overlap made one."""
    found: list[Span] = []
    for start, end in sorted(set(spans)):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _inside(start: int, end: int, spans: list[Span]) -> bool:
    index = bisect.bisect_right(spans, start, key=lambda span: span[0]) - 1
    return index >= 0 and end <= spans[index][1]
