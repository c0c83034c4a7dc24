"""How things are written for people: signs, colours that degrade, durations, and text that fits so many columns.

Nothing that a terminal would obey gets through `fit`, and whatever is cut is cut by columns and not by characters.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pytest_testlab.errors import one_line

STATUS = {
    "passed": ("✓", "+", {"green": True}),
    "flaky": ("≈", "~", {"yellow": True}),
    "failed": ("✗", "x", {"red": True, "bold": True}),
    "error": ("⚡", "!", {"purple": True, "bold": True}),
    "blocked": ("⊘", "#", {"yellow": True}),
    "skipped": ("–", "-", {"light": True}),
    "shed": ("↓", "v", {"light": True}),
    "not_run": ("·", ".", {"light": True}),
}
"""Status → its sign, the sign where there is only ASCII, and pytest's names of its colours."""
WORDS = {"not_run": "not run", "error": "infrastructure error"}
CODES = {"bold": 1, "light": 2, "red": 31, "green": 32, "yellow": 33, "purple": 35, "cyan": 36}
ASCII = str.maketrans({"·": "-", "…": "~", "━": "#", "─": "-", "│": "|", "–": "-", "×": "x"})
STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
"""What colours a log, or moves about in it."""
Span = tuple[str, str]
"""Text, and the names of its colours with blanks between them."""


@dataclass(frozen=True)
class Style:
    """What a terminal can show."""

    colour: bool = True
    fancy: bool = True
    """More than ASCII."""

    @classmethod
    def of(cls, writer: Any) -> Style:
        """That of pytest's terminal writer, which heeds `--color`, NO_COLOR and TERM."""
        encoding = getattr(writer, "encoding", None) or getattr(getattr(writer, "_file", None), "encoding", None)
        fancy = (encoding or "").lower().replace("-", "") == "utf8"
        return cls(colour=bool(getattr(writer, "hasmarkup", False)), fancy=fancy)

    def sign(self, status: str) -> str:
        """A status in one column."""
        fancy, plain, _ = STATUS[status]
        return fancy if self.fancy else plain

    def plain(self, text: str) -> str:
        """A text as one line that can be shown as it is."""
        text = one_line(text)
        if self.fancy or text.isascii():
            return text
        return text.translate(ASCII).encode("ascii", "backslashreplace").decode()

    def render(self, spans: Iterable[Span], width: int) -> str:
        """Spans as one line of at most `width` columns."""
        left, parts = width, []
        for text, colours in spans:
            shown = fit(self.plain(text), left, self.cut)
            left -= columns(shown)
            parts.append(self._painted(shown, colours))
        return "".join(parts)

    @property
    def cut(self) -> str:
        """What stands where something was cut off."""
        return "…" if self.fancy else "~"

    def _painted(self, text: str, colours: str) -> str:
        if not (self.colour and colours and text.strip()):
            return text
        return f"\x1b[{';'.join(str(CODES[name]) for name in colours.split())}m{text}\x1b[0m"


@lru_cache(maxsize=4096)
def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("F", "W") else 1


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def fit(text: str, width: int, cut: str = "…") -> str:
    """A text, or as much of its beginning as `width` columns allow, with a mark of one column."""
    if columns(text) <= width:
        return text
    if width < 1:
        return ""
    kept, room = [], width - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + cut


def pad(text: str, width: int, cut: str = "…") -> str:
    """A text in just so many columns."""
    text = fit(text, width, cut)
    return text + " " * (width - columns(text))


def uncoloured(text: str) -> str:
    """Without the colours that logs are full of; whatever else would steer a terminal is for `Style.plain`."""
    return STEERING.sub("", text)


def human(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def roughly(seconds: float) -> str:
    """`12 s`, `4 min`, `2 h 05 min`: what is only expected is not told to the tenth."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return human(seconds) if seconds >= 3600 else f"{round(seconds / 60)} min"


def clock(seconds_from_now: float) -> str:
    """The time of day then: `04:12`, or `Tue 04:12` when that is another day."""
    now = time.time()
    then = time.localtime(now + seconds_from_now)
    same_day = time.localtime(now)[:3] == then[:3]
    return time.strftime("%H:%M" if same_day else "%a %H:%M", then)
