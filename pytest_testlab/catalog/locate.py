"""Finds the line of a key in a TOML text. The parser gives no positions, so this runs once there is an error to report.

The text is one that the parser has accepted, so this reads leniently: it has to find keys, not to judge them.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping

from pytest_testlab.catalog.readers import KeyPath

MOST_PARTS = 32
"""Parts of a dotted key."""
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")  # in runs: the engine notes a way back for each turn, 120 bytes a time
_SPACE = re.compile(r"[ \t]*")
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}"),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of the key at `path`, else of the nearest table around it, else 1."""
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 1)


def deep_key_line(text: str) -> int | None:
    """The line of the first key of more than `MOST_PARTS` parts, for which the parser might need minutes; else None."""
    try:
        _Scanner(text).document()
    except _TooDeep as deep:
        return deep.line
    except (IndexError, RecursionError):  # no TOML from here on, so the parser stops here too
        return None
    return None


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key and list item of a valid TOML text."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    # Where the scanner loses its way, what it found up to there still helps: callers fall back to the table around.
    with contextlib.suppress(IndexError, RecursionError, _TooDeep):
        scanner.document()
    return scanner.lines


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._items: dict[KeyPath, int] = {}
        """Array of tables → the index of its last table."""

    def document(self) -> None:
        """Scan all of it."""
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        line, keys = self._current_line(), self._key()
        self._at += 2 if is_array else 1
        table: KeyPath = ()
        for key in keys[:-1]:
            table = self._into((*table, key), line)
        table = (*table, keys[-1])
        if is_array:
            self._items[table] = self._items.get(table, -1) + 1
            self.lines.setdefault(table, line)
            table = (*table, self._items[table])
        elif table in self._items:
            table = (*table, self._items[table])
        self.lines[table] = line
        return table

    def _into(self, table: KeyPath, line: int) -> KeyPath:
        self.lines.setdefault(table, line)
        return (*table, self._items[table]) if table in self._items else table

    def _pair(self, table: KeyPath) -> None:
        line = self._current_line()
        path = table
        for key in self._key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            keys.append(self._key_part())
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            if len(keys) == MOST_PARTS:
                raise _TooDeep(self._current_line())
            self._at += 1

    def _key_part(self) -> str:
        quote = self._text[self._at]
        if quote in "\"'":
            raw = self._string()
            return raw[1:-1] if quote == "'" else _unescape(raw)
        match = _BARE_KEY.match(self._text, self._at)
        if match is None:
            raise IndexError(self._at)
        self._at = match.end()
        return match[0]

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._more("]"):
            self.lines[(*path, index)] = self._current_line()
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        """Step over blanks and commas; False once the closing bracket was stepped over."""
        self._skip(_BLANK)
        while self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != end:
            return True
        self._at += 1
        return False

    def _string(self) -> str:
        for pattern in _STRINGS:
            match = pattern.match(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return match[0]
        raise IndexError(self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _current_line(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unescape(raw: str) -> str:
    """A quoted key; TOML's escapes are JSON's but for the long one."""
    long = re.sub(r"\\U([0-9A-Fa-f]{8})", lambda match: chr(int(match[1], 16)), raw)
    try:
        return str(json.loads(long, strict=False))
    except ValueError:
        return raw[1:-1]
