"""The faces that a known value has in logs: as it is, quoted in the ways of many languages, in hex, in base64."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORT = 6
"""Known values with fewer characters are masked only where they stand alone, or a log would be shredded."""
SHORTEST = 4
"""Known values with fewer characters are left to the shapes (`password=…`)."""
_LINE_OF_MANY = 16
"""A line of a value with several lines counts from this length on: `"type": "x",` must not be masked everywhere."""


@dataclass(frozen=True)
class Face:
    """One way in which a value, or a line of it, may be written."""

    text: bytes
    encoded: bool
    """Hex or base64: even a part of it, if it is long enough, can't be there by chance."""


def parts(known: Iterable[str]) -> tuple[frozenset[Face], frozenset[bytes]]:
    """The faces to look for, and the short values that count only where they stand alone."""
    faces: set[Face] = set()
    alone: set[bytes] = set()
    for value in known:
        value = value.strip("\r\n")
        if len(value) < SHORTEST or not value.strip():
            continue
        if len(value) < SHORT:
            alone.add(_bytes(value))
        else:
            faces |= _faces(value)
    return frozenset(faces), frozenset(alone)


@functools.lru_cache(maxsize=512)
def _faces(value: str) -> frozenset[Face]:
    """Those of a value, and of its long lines if it has several: a log may print it a line at a time."""
    faces = {Face(form, encoded=False) for form in _quoted(value)} | {
        Face(form, encoded=True) for form in _coded(value)
    }
    lines = {line.strip() for line in value.splitlines()} - {value}
    for line in lines:
        if len(line) >= _LINE_OF_MANY and not line.startswith("-----"):
            faces |= {Face(form, encoded=False) for form in _quoted(line)}
    return frozenset(faces)


def encodings(value: str) -> set[bytes]:
    """Every form of a value that is searched for."""
    return {*_quoted(value), *_coded(value)}


def _quoted(value: str) -> set[bytes]:
    forms = {_bytes(value), *(_bytes(face(value)) for face in _QUOTINGS)}
    return {form for form in forms | {form.replace(b"/", b"\\/") for form in forms} if len(form) >= SHORT}


def _coded(value: str) -> set[bytes]:
    raw = _bytes(value)
    forms = {raw.hex().encode(), raw.hex().upper().encode(), *_base64_forms(raw)}
    return {form for form in forms if len(form) >= SHORT}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lower_percent(value: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quote(value, safe="", errors="surrogateescape"))


def _twice_json(value: str) -> str:
    return json.dumps(json.dumps(value)[1:-1])[1:-1]


_QUOTINGS: tuple[Callable[[str], str], ...] = (
    lambda value: quote(value, safe="", errors="surrogateescape"),
    lambda value: quote(value, errors="surrogateescape"),
    lambda value: quote_plus(value, errors="surrogateescape"),
    lambda value: value.replace(" ", "+"),
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
    """The characters of base64 that the value alone decides, at its three alignments."""
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            encoded = alphabet(b"\0" * offset + raw)
            first = -(-offset * 8 // 6)
            yield encoded[first : (offset + len(raw)) * 8 // 6]
