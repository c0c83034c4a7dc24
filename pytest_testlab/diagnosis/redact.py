"""Masks secrets before a bundle leaves the worker: the values that the lab knows, and well-known shapes of others.

Known values are found as they are and in the encodings that logs show them in. Shapes are searched for by literal words
first and by pattern only on the lines that hold one, which keeps it several times faster than one large pattern.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

from pytest_testlab.protocols import RedactionShape

MARKER = b"[redacted]"
SHORT = 6
"""Known values with fewer characters are masked only where they stand alone, or a log would be shredded."""
SHORTEST = 4
"""Known values with fewer characters are left to the shapes (`password=…`)."""
_LINE_OF_MANY = 16
"""A line of a value with several lines counts from this length on: `"type": "x",` must not be masked everywhere."""
_BRIEF = 4_096
"""A text with fewer bytes is first searched for all words at once; in longer ones, word by word is faster."""
_CUT = 8
"""How much of a known value's end is recognised at the very start of a text, where the tail bound may have cut it."""
_BLOCK = 16_384
"""A pattern that may cross lines (`re.DOTALL`) sees this many bytes before and behind the line that holds its word."""
_ALONE = rb"(?<![A-Za-z0-9_])%s(?![A-Za-z0-9_])"
Span = tuple[int, int]


class Redactor:
    """Masks `known` values and `shapes` in bytes, each by the same marker, which tells neither length nor prefix."""

    def __init__(self, known: Iterable[str], shapes: Iterable[RedactionShape]) -> None:
        parts = _parts(known)
        self._needles = sorted({form for part in parts if len(part) >= SHORT for form in encodings(part)}, key=len)
        self._alone = [re.compile(_ALONE % re.escape(part.encode())) for part in parts if len(part) < SHORT]
        self._shapes = tuple(shapes)
        words = {re.escape(word) for shape in self._shapes for word in shape.words}
        self._any_word = re.compile(b"|".join(sorted(words)), re.IGNORECASE)

    def redact(self, data: bytes) -> tuple[bytes, int]:
        """The masked text and how many spans were masked in it."""
        data, by_value = _mask(data, self._known(data))
        data, by_shape = _mask(data, self._shaped(data))
        return data, by_value + by_shape

    def redact_text(self, text: str) -> str:
        """The masked text."""
        return self.redact(text.encode("utf-8", "surrogateescape"))[0].decode("utf-8", "surrogateescape")

    def _known(self, data: bytes) -> Iterator[Span]:
        for needle in self._needles:
            start = data.find(needle)
            while start >= 0:
                yield start, start + len(needle)
                # From the next byte: a value may overlap itself, and what is left of it must not survive.
                start = data.find(needle, start + 1)
            yield from _cut_start(data, needle)
        for pattern in self._alone:
            yield from (match.span() for match in pattern.finditer(data))

    def _shaped(self, data: bytes) -> Iterator[Span]:
        if not self._shapes or (len(data) < _BRIEF and self._any_word.search(data) is None):
            return
        lower = data.lower()
        lines_with = functools.cache(lambda words: sorted({line for word in words for line in _lines(lower, word)}))
        for shape in self._shapes:
            where = lines_with(shape.words)
            if shape.pattern.flags & re.DOTALL:
                where = list(_merged((max(0, start - _BLOCK), end + _BLOCK) for start, end in where))
            for start, end in where:
                for match in shape.pattern.finditer(data, start, end):
                    span = match.span("secret")
                    if span[0] < span[1] and data[slice(*span)] != MARKER:
                        yield span


def _lines(lower: bytes, word: bytes) -> Iterator[Span]:
    """Each line that holds the word, once."""
    found = lower.find(word)
    while found >= 0:
        start = lower.rfind(b"\n", 0, found) + 1
        end = lower.find(b"\n", found)
        end = len(lower) if end < 0 else end
        yield start, end
        found = lower.find(word, end)


def _cut_start(data: bytes, needle: bytes) -> Iterator[Span]:
    """Where the text begins with the end of a known value, because the tail bound cut it there."""
    head = data[:_CUT]
    if len(head) < _CUT:
        return
    at = needle.find(head, 1)
    while at >= 0:
        rest = needle[at:]
        if data.startswith(rest):
            yield 0, len(rest)
        at = needle.find(head, at + 1)


def _mask(data: bytes, spans: Iterable[Span]) -> tuple[bytes, int]:
    parts: list[bytes] = []
    position = masked = 0
    for start, end in _merged(spans):
        parts += (data[position:start], MARKER)
        position = end
        masked += 1
    if not masked:
        return data, 0
    return b"".join((*parts, data[position:])), masked


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for start, end in sorted(set(spans)):
        if last is not None and start < last[1]:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last


# --- the faces of a known value --------------------------------------------------------------------------------------


def _parts(known: Iterable[str]) -> set[str]:
    """The values to look for: each whole, and those of several lines by their long lines too."""
    parts: set[str] = set()
    for value in known:
        value = value.strip("\r\n")
        lines = [line.strip() for line in value.splitlines()]
        if len(value) >= SHORTEST and value.strip():
            parts.add(value)
        if len(lines) > 1:
            parts |= {line for line in lines if len(line) >= _LINE_OF_MANY and not line.startswith("-----")}
    return parts


def encodings(value: str) -> set[bytes]:
    """The faces that a value has in logs: as it is, quoted for URLs, JSON, HTML, Python and the shell, hex, base64."""
    raw = value.encode("utf-8", "surrogateescape")
    forms = {raw, raw.hex().encode(), raw.hex().upper().encode()}
    forms |= {face(value).encode("utf-8", "surrogateescape") for face in _FACES}
    forms |= {form.replace(b"/", b"\\/") for form in tuple(forms)}
    forms |= set(_base64_forms(raw))
    return {form for form in forms if len(form) >= SHORT}


def _lower_percent(value: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quote(value, safe="", errors="surrogateescape"))


def _twice_json(value: str) -> str:
    return json.dumps(json.dumps(value)[1:-1])[1:-1]


_FACES: tuple[Callable[[str], str], ...] = (
    lambda value: quote(value, safe="", errors="surrogateescape"),
    lambda value: quote(value, errors="surrogateescape"),
    lambda value: quote_plus(value, errors="surrogateescape"),
    _lower_percent,
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    _twice_json,
    html.escape,
    lambda value: html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    lambda value: repr(value)[1:-1],
    lambda value: repr(value.encode("utf-8", "surrogateescape"))[2:-1],
    lambda value: shlex.quote(value)[1:-1] if shlex.quote(value) != value else value,
)


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The characters of base64 that the value alone decides, at its three alignments, and as lines of 64 and 76."""
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            encoded = alphabet(b"\0" * offset + raw)
            first = -(-offset * 8 // 6)
            yield encoded[first : (offset + len(raw)) * 8 // 6]
        whole = alphabet(raw)
        for width in (64, 76):
            if len(whole) > width:
                lines = (whole[start : start + width] for start in range(0, len(whole), width))
                yield from (line for line in lines if len(line) >= _LINE_OF_MANY)
