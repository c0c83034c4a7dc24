"""Log text as safe HTML: escaped, colours as classes, everything else that a terminal would act on shown or dropped.

Logs are hostile. Of the escape sequences only SGR (colours, weight) counts, and becomes a span with classes, because
the pages allow no inline style; the rest is dropped, and an unfinished sequence ends with its line, so that no log can
hide the lines after it. Control characters and those that reorder text are shown as what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from markupsafe import Markup, escape

_LINE_END = re.compile(r"\r\n|\n|\r")
"""A lone carriage return would let a log overwrite what it said before; here it begins a line."""
_SEQUENCE = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"  # SGR
    r"|\x1b\[[0-?]*[ -/]*[@-~]?"  # any other CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC, to their end or the line's
    r"|\x1b[ -/]*[0-~]?"  # the rest
)
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]")
_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_RGB = (
    *((0, 0, 0), (205, 49, 49), (13, 188, 121), (229, 229, 16), (36, 114, 200), (188, 63, 188), (17, 168, 205)),
    *((229, 229, 229), (102, 102, 102), (241, 76, 76), (35, 209, 139), (245, 245, 67), (59, 142, 234)),
    *((214, 112, 214), (41, 184, 219), (255, 255, 255)),
)
"""The sixteen colours, to find the nearest of them for one out of 256 or 16 million."""
_LEVELS = (0, 95, 135, 175, 215, 255)
_FLAGS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}


@dataclass(frozen=True)
class _Style:
    """What the SGR sequences so far add up to."""

    foreground: int | None = None
    background: int | None = None
    flags: frozenset[str] = field(default_factory=frozenset)

    @property
    def classes(self) -> str:
        colours = (("fg", self.foreground), ("bg", self.background))
        named = [f"{kind}-{_name(number)}" for kind, number in colours if number is not None]
        return " ".join(named + sorted(f"sgr-{flag}" for flag in self.flags))


def text_of(raw: bytes) -> str:
    """Bytes of a log as text; what isn't UTF-8 is replaced."""
    return raw.decode("utf-8", errors="replace")


def plain(text: str) -> str:
    """Text without escape sequences, its unsafe characters shown; for headlines, and to compare lines."""
    return _shown(_SEQUENCE.sub("", text))


def render_lines(text: str, *, last: int | None = None) -> list[Markup]:
    """Each line as safe HTML; `last` keeps only so many from the end, in the colours that those before set."""
    lines = split_lines(text)
    skip = max(0, len(lines) - last) if last is not None else 0
    style = _Style()
    for line in lines[:skip]:
        style = _style_after(line, style)
    rendered = []
    for line in lines[skip:]:
        markup, style = _render(line, style)
        rendered.append(markup)
    return rendered


def split_lines(text: str) -> list[str]:
    """The lines of a log; one that ends the text doesn't begin another."""
    lines = _LINE_END.split(text)
    if lines and not lines[-1]:
        lines.pop()
    return lines


def _render(line: str, style: _Style) -> tuple[Markup, _Style]:
    """A line, and the style that it leaves to the next."""
    parts, at = [], 0
    for match in _SEQUENCE.finditer(line):
        parts.append(_span(line[at : match.start()], style))
        if match["sgr"] is not None:
            style = _applied(style, match["sgr"])
        at = match.end()
    parts.append(_span(line[at:], style))
    return Markup("").join(parts), style


def _span(text: str, style: _Style) -> Markup:
    shown = escape(_shown(text))
    return Markup('<span class="{}">{}</span>').format(style.classes, shown) if text and style.classes else shown


def _style_after(line: str, style: _Style) -> _Style:
    for match in _SEQUENCE.finditer(line):
        if match["sgr"] is not None:
            style = _applied(style, match["sgr"])
    return style


def _applied(style: _Style, parameters: str) -> _Style:
    codes = iter([int(code[:4]) if code else 0 for code in re.split("[;:]", parameters)[:64]])
    for code in codes:
        style = _one_code(style, code, codes)
    return style


def _one_code(style: _Style, code: int, rest: Iterator[int]) -> _Style:
    if code == 0:
        return _Style()
    if code in _FLAGS:
        return replace(style, flags=style.flags | {_FLAGS[code]})
    if code in _OFF:
        return replace(style, flags=style.flags - set(_OFF[code]))
    if code in (38, 48):
        number = _extended(rest)
        return replace(style, foreground=number) if code == 38 else replace(style, background=number)
    if code in (39, 49):
        return replace(style, foreground=None) if code == 39 else replace(style, background=None)
    for start, base in ((30, 0), (90, 8)):
        if start <= code < start + 8:
            return replace(style, foreground=base + code - start)
        if start + 10 <= code < start + 18:
            return replace(style, background=base + code - start - 10)
    return style


def _extended(rest: Iterator[int]) -> int | None:
    """The nearest of the sixteen colours for `5;n` or `2;r;g;b`."""
    kind = next(rest, None)
    if kind == 5:
        number = next(rest, 0)
        return number if number < 16 else _nearest(_rgb_of(min(number, 255)))
    if kind == 2:
        return _nearest((next(rest, 0), next(rest, 0), next(rest, 0)))
    return None


def _rgb_of(number: int) -> tuple[int, int, int]:
    if number >= 232:
        grey = 8 + (number - 232) * 10
        return grey, grey, grey
    cube = number - 16
    return _LEVELS[cube // 36], _LEVELS[cube // 6 % 6], _LEVELS[cube % 6]


def _nearest(rgb: tuple[int, int, int]) -> int:
    return min(range(16), key=lambda n: sum((a - b) ** 2 for a, b in zip(rgb, _RGB[n], strict=True)))


def _name(number: int) -> str:
    return _NAMES[number] if number < 8 else f"bright-{_NAMES[number - 8]}"


def _shown(text: str) -> str:
    return _UNSAFE.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    """A number that every font can show; the symbols for control characters are missing from many."""
    return f"\u27e8U+{ord(match[0]):04X}\u27e9"
